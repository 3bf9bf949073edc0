/** CLIENT LIST, INFO and KILL: the connections of this door, as lines of text. */
import { syntaxError } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { RunCall, RunCommand } from './command-table.ts'
import { parseInt64 } from './numbers.ts'
import { CommandError, OK, type Reply, Verbatim } from './reply.ts'
import type { RespSession } from './resp-session.ts'

const MS_PER_S = 1000

function lineOf(session: RespSession, nowMs: number): string {
  const { id, sink, clientName, connectedMs, lastRequestMs, transaction, driver, access } = session
  const fields: readonly (readonly [string, string | number])[] = [
    ['id', id],
    ['addr', sink.remoteAddress],
    ['laddr', ''],
    ['fd', -1],
    ['name', clientName],
    ['age', Math.floor((nowMs - connectedMs) / MS_PER_S)],
    ['idle', Math.floor((nowMs - lastRequestMs) / MS_PER_S)],
    ['flags', transaction === undefined ? 'N' : 'x'],
    ['db', 0],
    ['sub', 0],
    ['psub', 0],
    ['ssub', 0],
    ['multi', transaction === undefined ? -1 : transaction.commands.length],
    ['omem', session.backlogBytes],
    ['cmd', session.lastCommand],
    ['user', access.user],
    ['resp', session.version],
    ['lib-name', driver.name],
    ['lib-ver', driver.version],
  ]
  return `${fields.map(([name, value]) => `${name}=${value}`).join(' ')}\n`
}

function list({ args, door, context }: RunCall): Reply {
  let wanted = [...door.sessions.values()]
  if (args.count > 2) {
    const word = args.word(2)
    if (word === 'TYPE' && args.count === 4) {
      const type = args.word(3)
      if (!['NORMAL', 'MASTER', 'REPLICA', 'SLAVE', 'PUBSUB'].includes(type)) {
        throw new CommandError(`ERR Unknown client type '${args.text(3)}'`)
      }
      if (type !== 'NORMAL') wanted = []
    } else if (word === 'ID' && args.count > 3) {
      const ids = new Set(args.list(3).map(requireId))
      wanted = wanted.filter(({ id }) => ids.has(id))
    } else throw syntaxError()
  }
  const nowMs = context.clock.monotonicMs()
  return new Verbatim(wanted.map(session => lineOf(session, nowMs)).join(''))
}

function requireId(bytes: Uint8Array): number {
  const id = parseInt64(bytes)
  if (typeof id === 'number' && id > 0) return id
  throw new CommandError('ERR Invalid client ID')
}

type Filter = (session: RespSession) => boolean

/** What CLIENT KILL names, and whether its own connection is spared. */
function filtersOf(args: CommandArguments, self: RespSession): Filter[] {
  const filters: Filter[] = []
  let sparesSelf = true
  for (let index = 2; index < args.count; index += 2) {
    if (index + 1 >= args.count) throw syntaxError()
    const word = args.word(index)
    const value = args.text(index + 1)
    if (word === 'ID') {
      const id = parseInt64(args.at(index + 1))
      if (typeof id !== 'number' || id <= 0) {
        throw new CommandError('ERR client-id should be greater than 0')
      }
      filters.push(session => session.id === id)
    } else if (word === 'ADDR') filters.push(session => session.sink.remoteAddress === value)
    else if (word === 'LADDR') filters.push(() => false)
    else if (word === 'USER') filters.push(session => session.access.user === value)
    else if (word === 'TYPE') filters.push(() => value.toLowerCase() === 'normal')
    else if (word === 'SKIPME' && /^(?:yes|no)$/i.test(value)) sparesSelf = /^yes$/i.test(value)
    else throw syntaxError()
  }
  if (sparesSelf) filters.push(session => session !== self)
  return filters
}

function kill({ args, door, session }: RunCall): Reply {
  if (args.count === 3) {
    const address = args.text(2)
    const found = [...door.sessions.values()].find(other => other.sink.remoteAddress === address)
    if (found === undefined) throw new CommandError('ERR No such client')
    end(found, session)
    return OK
  }
  const filters = filtersOf(args, session)
  const found = [...door.sessions.values()].filter(other => filters.every(filter => filter(other)))
  for (const other of found) end(other, session)
  return found.length
}

/** The own connection hears the answer first. */
function end(session: RespSession, self: RespSession): void {
  if (session === self) session.end()
  else session.sink.destroy()
}

const connection = { group: 'connection', isInstant: true } as const

export const CLIENT_LIST_COMMANDS: readonly RunCommand[] = [
  {
    ...{ name: 'client|list', arity: -2, since: '2.4.0', ...connection },
    flags: ['admin', 'noscript', 'loading', 'stale'],
    summary: 'The connections of Redis clients to this node',
    run: list,
  },
  {
    ...{ name: 'client|info', arity: 2, since: '6.2.0', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'What CLIENT LIST says of this connection',
    run: ({ session, context }) => new Verbatim(lineOf(session, context.clock.monotonicMs())),
  },
  {
    ...{ name: 'client|kill', arity: -3, since: '2.4.0', ...connection },
    flags: ['admin', 'noscript', 'loading', 'stale'],
    summary: 'Closes connections',
    run: kill,
  },
]
