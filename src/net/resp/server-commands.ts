/** Commands about the server: INFO, TIME, OBJECT, MEMORY USAGE, DEBUG. */

import { type KeyedCommand, syntaxError } from './command.ts'
import { type Command, container, type RunCall, type RunCommand } from './command-table.ts'
import { infoText } from './info-text.ts'
import { encodingOf, usageOf } from './key-commands.ts'
import { requireNumber } from './numbers.ts'
import { CommandError, type Reply, Verbatim } from './reply.ts'

/** `OBJECT ENCODING key` */
const SECOND_ARGUMENT = { first: 2, last: 2, step: 1 } as const
const MS_PER_S = 1000

async function info(call: RunCall): Promise<Reply> {
  const { args } = call
  const sections = args.list(1).map((_, index) => args.text(index + 1).toLowerCase())
  return new Verbatim(await infoText(call, sections))
}

function time({ context }: RunCall): Reply {
  const nowMs = context.clock.wallMs()
  const seconds = Math.floor(nowMs / MS_PER_S)
  return [String(seconds), String(Math.floor((nowMs - seconds * MS_PER_S) * MS_PER_S))]
}

const object = { group: 'generic', flags: ['readonly'], keys: SECOND_ARGUMENT } as const

const OBJECT_COMMANDS: readonly KeyedCommand[] = [
  {
    ...{ name: 'object|encoding', arity: 3, since: '2.2.3', ...object },
    summary: 'How Redis would keep the value of a key',
    apply: (view, args) => {
      const entry = view.get(args.at(2))
      return entry === undefined ? null : encodingOf(entry.value)
    },
  },
  {
    ...{ name: 'object|refcount', arity: 3, since: '2.2.3', ...object },
    summary: 'Always 1',
    apply: (view, args) => (view.get(args.at(2)) === undefined ? null : 1),
  },
  {
    ...{ name: 'object|idletime', arity: 3, since: '2.2.3', ...object },
    summary: 'Always 0: nobody keeps when keys were read',
    apply: (view, args) => (view.get(args.at(2)) === undefined ? null : 0),
  },
  {
    ...{ name: 'object|freq', arity: 3, since: '4.0.0', ...object },
    summary: 'An error, as of a Redis that does not count accesses',
    apply: (view, args) => {
      if (view.get(args.at(2)) === undefined) return null
      throw new CommandError(
        'ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note ' +
          'that when switching between policies at runtime LRU and LFU data will take some time ' +
          'to adjust.',
      )
    },
  },
  {
    ...{ name: 'memory|usage', arity: -3, since: '4.0.0', group: 'server', flags: ['readonly'] },
    keys: SECOND_ARGUMENT,
    summary: 'The bytes that a key and its value take, about',
    apply: (view, args) => {
      for (let index = 3; index < args.count; index += 2) {
        if (args.word(index) !== 'SAMPLES' || index + 1 >= args.count) throw syntaxError()
        if (requireNumber(args.at(index + 1)) < 0) throw syntaxError()
      }
      const entry = view.get(args.at(2))
      return entry === undefined ? null : usageOf(args.at(2), entry.value)
    },
  },
]

export const SERVER_COMMANDS: readonly Command[] = [
  {
    ...{ name: 'info', arity: -1, since: '1.0.0', group: 'server', flags: ['loading', 'stale'] },
    summary: 'What the server is and does',
    run: info,
  } satisfies RunCommand,
  {
    ...{ name: 'time', arity: 1, since: '2.6.0', group: 'server', isInstant: true },
    flags: ['loading', 'stale', 'fast'],
    summary: 'Seconds since the Unix epoch, and microseconds of the present one',
    run: time,
  } satisfies RunCommand,
  {
    ...{ name: 'debug', arity: -2, since: '1.0.0', group: 'server' },
    flags: ['admin', 'noscript', 'loading', 'stale'],
    summary: 'Refused, as by a Redis that was not told to allow it',
    run: () => {
      throw new CommandError(
        'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", ' +
          'you can run it from a local connection, otherwise you need to set this option in the ' +
          'configuration file, and then restart the server.',
      )
    },
  } satisfies RunCommand,
  container('object', '2.2.3', 'generic', 'Commands about how a value is kept'),
  container('memory', '4.0.0', 'server', 'Commands about memory'),
  ...OBJECT_COMMANDS,
]
