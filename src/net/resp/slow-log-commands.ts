/** SLOWLOG and LATENCY: what took long. Semantics and error texts are those of Redis. */
import { type Command, container, type RunCall, type RunCommand } from './command-table.ts'
import { parseInt64 } from './numbers.ts'
import { CommandError, OK, type Reply } from './reply.ts'

const COUNT_DEFAULT = 10
const US_PER_MS = 1000
const MS_PER_S = 1000
/** The one event that is watched. */
const EVENT = 'command'

function get({ args, door }: RunCall): Reply {
  const count = args.count > 2 ? parseInt64(args.at(2)) : COUNT_DEFAULT
  if (count === undefined || count < -1)
    throw new CommandError('ERR count should be greater than or equal to -1')
  const { entries } = door.slowLog
  return entries
    .slice(0, count === -1 ? entries.length : Number(count))
    .map(({ id, timeMs, tookMs, words, address, clientName }) => [
      id,
      Math.floor(timeMs / MS_PER_S),
      Math.floor(tookMs * US_PER_MS),
      words,
      address,
      clientName,
    ])
}

function latest({ door }: RunCall): Reply {
  const last = door.slowLog.spikes.at(-1)
  if (last === undefined) return []
  return [[EVENT, last.timeS, Math.floor(last.tookMs), Math.floor(door.slowLog.worstMs)]]
}

function history({ args, door }: RunCall): Reply {
  if (args.text(2) !== EVENT) return []
  return door.slowLog.spikes.map(({ timeS, tookMs }) => [timeS, Math.floor(tookMs)])
}

function reset({ args, door }: RunCall): Reply {
  const events = args.list(2).map((_, index) => args.text(index + 2))
  if (events.length > 0 && !events.includes(EVENT)) return 0
  return door.slowLog.clearSpikes() ? 1 : 0
}

const server = { group: 'server', isInstant: true } as const
const FLAGS = ['admin', 'loading', 'stale'] as const
const LATENCY_FLAGS = ['admin', 'noscript', 'loading', 'stale'] as const

export const SLOW_LOG_COMMANDS: readonly Command[] = [
  container('slowlog', '2.2.12', 'server', 'Commands about what took long'),
  {
    ...{ name: 'slowlog|get', arity: -2, since: '2.2.12', ...server, flags: FLAGS },
    summary: 'The last commands that took long, the newest first',
    run: get,
  } satisfies RunCommand,
  {
    ...{ name: 'slowlog|len', arity: 2, since: '2.2.12', ...server, flags: FLAGS },
    summary: 'How many there are',
    run: ({ door }) => door.slowLog.entries.length,
  } satisfies RunCommand,
  {
    ...{ name: 'slowlog|reset', arity: 2, since: '2.2.12', ...server, flags: FLAGS },
    summary: 'Forgets them',
    run: ({ door }) => {
      door.slowLog.clear()
      return OK
    },
  } satisfies RunCommand,
  container('latency', '2.8.13', 'server', 'Commands about times beyond a threshold'),
  {
    ...{ name: 'latency|latest', arity: 2, since: '2.8.13', ...server, flags: LATENCY_FLAGS },
    summary: 'The last time of each event',
    run: latest,
  } satisfies RunCommand,
  {
    ...{ name: 'latency|history', arity: 3, since: '2.8.13', ...server, flags: LATENCY_FLAGS },
    summary: 'The times of an event, by the second',
    run: history,
  } satisfies RunCommand,
  {
    ...{ name: 'latency|reset', arity: -2, since: '2.8.13', ...server, flags: LATENCY_FLAGS },
    summary: 'Forgets the times of events',
    run: reset,
  } satisfies RunCommand,
]
