/** CONFIG GET and SET: settings under the names that clients of Redis know. */
import { fromLatin1 } from './characters.ts'
import { syntaxError } from './command.ts'
import { type Command, container, type RunCall, type RunCommand } from './command-table.ts'
import { Glob } from './glob.ts'
import { INT64_MAX, parseInt64 } from './numbers.ts'
import { CommandError, OK, type Reply, ReplyMap } from './reply.ts'
import type { SlowLogSettings } from './slow-log.ts'

const MS_PER_S = 1000

/** What can be set while the server runs. It is forgotten with the process. */
interface Changeable {
  readonly setting: keyof SlowLogSettings
  readonly min: number
  readonly max: number | bigint
}

const CHANGEABLE: ReadonlyMap<string, Changeable> = new Map([
  ['latency-monitor-threshold', { setting: 'spikeMs', min: 0, max: INT64_MAX }],
  ['slowlog-log-slower-than', { setting: 'slowerThanUs', min: -1, max: INT64_MAX }],
  ['slowlog-max-len', { setting: 'lengthMax', min: 0, max: 10_000 }],
])

/** What clients and benchmarks ask for, with the names of Redis. */
function settings({ context, door }: RunCall): ReadonlyMap<string, string> {
  const { limits, doorkeeper } = context
  const changeable = [...CHANGEABLE].map(([name, { setting }]) => {
    return [name, String(door.slowLog.settings[setting])] as const
  })
  return new Map([
    ['appendfsync', 'always'],
    ['appendonly', 'yes'],
    ['databases', '1'],
    ['maxclients', String(limits.connectionsMax)],
    ['maxmemory', '0'],
    ['maxmemory-policy', 'noeviction'],
    ['proto-max-bulk-len', String(limits.valueSizeMax)],
    ['requirepass', doorkeeper.asksForPassword ? '(set)' : ''],
    ['save', ''],
    ['tcp-keepalive', String(Math.floor(limits.keepAliveMs / MS_PER_S))],
    ['timeout', '0'],
    ...changeable,
  ])
}

function get(call: RunCall): Reply {
  const { args } = call
  const all = settings(call)
  const found = new Map<string, string>()
  for (let index = 2; index < args.count; index++) {
    const text = args.text(index)
    const pattern = text.toLowerCase()
    const value = all.get(pattern)
    // A name that is no pattern comes back as it was written.
    if (value !== undefined && !found.has(pattern)) found.set(text, value)
    const glob = new Glob(fromLatin1(pattern))
    for (const [name, other] of all) {
      if (name !== pattern && glob.matches(fromLatin1(name))) found.set(name, other)
    }
  }
  return new ReplyMap([...found])
}

/** All of them or none. */
function set(call: RunCall): Reply {
  const { args, door } = call
  if (args.count % 2 !== 0) throw syntaxError()
  const present = settings(call)
  const wanted = new Map<keyof SlowLogSettings, number>()
  const names = new Set<string>()
  for (let index = 2; index < args.count; index += 2) {
    const name = args.text(index).toLowerCase()
    const changeable = CHANGEABLE.get(name)
    const value = present.get(name)
    if (value === undefined) {
      throw new CommandError(
        `ERR Unknown option or number of arguments for CONFIG SET - '${args.text(index)}'`,
      )
    }
    if (names.has(name)) throw failed(name, 'duplicate parameter')
    names.add(name)
    if (changeable !== undefined) wanted.set(changeable.setting, settingAt(call, index, changeable))
    // To ask for what is the case changes nothing.
    else if (args.text(index + 1).toLowerCase() !== value) {
      throw failed(name, "can't set immutable config")
    }
  }
  door.slowLog.change(Object.fromEntries(wanted))
  return OK
}

function settingAt({ args }: RunCall, index: number, { min, max }: Changeable): number {
  const value = parseInt64(args.at(index + 1))
  const name = args.text(index).toLowerCase()
  if (value === undefined) throw failed(name, "argument couldn't be parsed into an integer")
  if (value >= min && value <= max) return Number(value)
  throw failed(name, `argument must be between ${min} and ${max} inclusive`)
}

function failed(name: string, why: string): CommandError {
  return new CommandError(`ERR CONFIG SET failed (possibly related to argument '${name}') - ${why}`)
}

const config = { group: 'server', isInstant: true } as const
const FLAGS = ['admin', 'noscript', 'loading', 'stale'] as const

export const CONFIG_COMMANDS: readonly Command[] = [
  container('config', '2.0.0', 'server', 'Commands about settings'),
  {
    ...{ name: 'config|get', arity: -3, since: '2.0.0', ...config, flags: FLAGS },
    summary: 'Settings whose names match patterns',
    run: get,
  } satisfies RunCommand,
  {
    ...{ name: 'config|set', arity: -4, since: '2.0.0', ...config, flags: FLAGS },
    summary: 'Changes settings until the server ends, those that can be changed',
    run: set,
  } satisfies RunCommand,
]
