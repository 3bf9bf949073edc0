/** COMMAND: what the server offers, for clients that ask. */
import { type CommandDescription, hasArity, keysOf, syntaxError } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { argumentsOf } from './command-syntax.ts'
import type { Command, CommandTable, RunCall, RunCommand } from './command-table.ts'
import { Glob } from './glob.ts'
import { CommandError, NilArray, type Reply, ReplyMap, ReplySet, Status } from './reply.ts'

/** Access categories, as ACL names them. */
function categoriesOf({ flags, group, keys }: CommandDescription): string[] {
  const categories: string[] = []
  if (group === 'generic') categories.push('@keyspace')
  if (flags.includes('readonly') && (keys !== undefined || group === 'generic')) {
    categories.push('@read')
  }
  if (flags.includes('write')) categories.push('@write')
  if (group === 'string') categories.push('@string')
  categories.push(flags.includes('fast') ? '@fast' : '@slow')
  if (group === 'connection') categories.push('@connection')
  if (group === 'transactions') categories.push('@transaction')
  if (flags.includes('admin')) categories.push('@admin', '@dangerous')
  return categories
}

/** Whoever asks for the same a thousand times gets it a thousand times, and it is there once. */
function remembered<T>(known: Map<Command, T>, command: Command, make: () => T): T {
  const found = known.get(command)
  if (found !== undefined) return found
  const made = make()
  known.set(command, made)
  return made
}

function infoOf(command: Command, table: CommandTable): Reply {
  return remembered(table.infos, command, () => describe(command, table))
}

/** The ten fields of COMMAND INFO. */
function describe(command: Command, table: CommandTable): Reply {
  const { name, arity, flags, keys } = command
  const { first, last, step } = keys ?? { first: 0, last: 0, step: 0 }
  return [
    name,
    arity,
    new ReplySet(flags.map(flag => new Status(flag))),
    first,
    last,
    step,
    new ReplySet(categoriesOf(command).map(category => new Status(category))),
    [],
    keys === undefined ? [] : [keySpecOf(command)],
    table.subcommands(name).map(sub => infoOf(sub, table)),
  ]
}

/** Where keys are, in the words of COMMAND INFO. */
function keySpecOf({ flags, keys }: CommandDescription): Reply {
  const { first, last, step } = keys!
  const access = flags.includes('readonly') ? ['RO', 'access'] : ['RW', 'access', 'update']
  const lastKey = last < 0 ? last : last - first
  return new ReplyMap([
    ['flags', new ReplySet(access.map(flag => new Status(flag)))],
    [
      'begin_search',
      new ReplyMap([
        ['type', 'index'],
        ['spec', new ReplyMap([['index', first]])],
      ]),
    ],
    [
      'find_keys',
      new ReplyMap([
        ['type', 'range'],
        [
          'spec',
          new ReplyMap([
            ['lastkey', lastKey],
            ['keystep', step],
            ['limit', 0],
          ]),
        ],
      ]),
    ],
  ])
}

function docsOf(command: Command, table: CommandTable): readonly [Reply, Reply] {
  return remembered(table.docs, command, () => document(command, table))
}

function document(command: Command, table: CommandTable): readonly [Reply, Reply] {
  const { name, summary, since, group } = command
  const subcommands = table.subcommands(name)
  const pairs: (readonly [Reply, Reply])[] = [
    ['summary', summary],
    ['since', since],
    ['group', group],
  ]
  const args = argumentsOf(name)
  if (args !== undefined) pairs.push(['arguments', args])
  if (subcommands.length > 0) {
    pairs.push(['subcommands', new ReplyMap(subcommands.map(sub => docsOf(sub, table)))])
  }
  return [name, new ReplyMap(pairs)]
}

function named(args: CommandArguments, first: number, table: CommandTable) {
  return args.list(first).map((_, index) => table.named(args.text(first + index).toLowerCase()))
}

function info({ args, door: { table } }: RunCall): Reply {
  if (args.count === 2) return table.roots.map(command => infoOf(command, table))
  return named(args, 2, table).map(command => {
    return command === undefined ? new NilArray() : infoOf(command, table)
  })
}

function docs({ args, door: { table } }: RunCall): Reply {
  const wanted = args.count === 2 ? table.roots : named(args, 2, table)
  const known = wanted.filter(command => command !== undefined)
  return new ReplyMap(known.map(command => docsOf(command, table)))
}

function list({ args, door: { table } }: RunCall): Reply {
  const names = table.roots.map(({ name }) => name)
  if (args.count === 2) return names
  if (args.count !== 5 || args.word(2) !== 'FILTERBY') throw syntaxError()
  const kind = args.word(3)
  const value = args.text(4)
  if (kind === 'MODULE') return []
  if (kind === 'PATTERN') {
    const glob = new Glob(args.at(4))
    return names.filter(name => glob.matches(Buffer.from(name)))
  }
  if (kind !== 'ACLCAT') throw syntaxError()
  const isOf = (command: Command) => categoriesOf(command).includes(`@${value.toLowerCase()}`)
  return table.roots.filter(isOf).map(({ name }) => name)
}

function getKeys({ args, door: { table } }: RunCall): Reply {
  const asked = args.detached().from(2)
  const command = table.named(asked.text(0).toLowerCase())
  if (command === undefined) throw new CommandError('ERR Invalid command specified')
  if (command.keys === undefined) {
    throw new CommandError('ERR The command has no key arguments')
  }
  if (!hasArity(command, asked.count)) {
    throw new CommandError('ERR Invalid number of arguments specified for command')
  }
  return keysOf(command.keys, asked)
}

const server = { group: 'server', flags: ['loading', 'stale'], isInstant: true } as const

export const COMMAND_COMMANDS: readonly RunCommand[] = [
  {
    ...{ name: 'command', arity: -1, since: '2.8.13', ...server },
    summary: 'All commands, in detail',
    run: ({ door: { table } }) => table.roots.map(command => infoOf(command, table)),
  },
  {
    ...{ name: 'command|count', arity: 2, since: '2.8.13', ...server },
    summary: 'How many commands there are',
    run: ({ door }) => door.table.roots.length,
  },
  {
    ...{ name: 'command|info', arity: -2, since: '2.8.13', ...server },
    summary: 'Some commands, in detail',
    run: info,
  },
  {
    ...{ name: 'command|docs', arity: -2, since: '7.0.0', ...server },
    summary: 'What commands are for',
    run: docs,
  },
  {
    ...{ name: 'command|list', arity: -2, since: '7.0.0', ...server },
    summary: 'The names of commands',
    run: list,
  },
  {
    ...{ name: 'command|getkeys', arity: -4, since: '2.8.13', ...server },
    summary: 'The keys in a command',
    run: getKeys,
  },
]
