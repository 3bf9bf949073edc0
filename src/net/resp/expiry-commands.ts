/** Commands about when keys expire. Semantics and error texts are those of expire.c. */
import { type Apply, KEY_PLACES, type KeyedCommand } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { INT64_MAX, INT64_MIN, requireInt64 } from './numbers.ts'
import { CommandError, type Reply } from './reply.ts'
import { invalidExpiry } from './set-options.ts'

const { ONE_KEY } = KEY_PLACES

interface Kind {
  readonly name: string
  readonly since: string
  /** Milliseconds in a unit of the argument. */
  readonly unitMs: 1 | 1000
  readonly isAbsolute: boolean
}

/** What must hold of the expiry there is. */
type Conditions = ReadonlySet<string>

function conditionsOf(args: CommandArguments): Conditions {
  const conditions = new Set<string>()
  for (let index = 3; index < args.count; index++) {
    const word = args.word(index)
    if (!['NX', 'XX', 'GT', 'LT'].includes(word)) {
      throw new CommandError(`ERR Unsupported option ${args.text(index)}`)
    }
    conditions.add(word)
  }
  if (conditions.has('NX') && conditions.size > 1) {
    throw new CommandError('ERR NX and XX, GT or LT options at the same time are not compatible')
  }
  if (conditions.has('GT') && conditions.has('LT')) {
    throw new CommandError('ERR GT and LT options at the same time are not compatible')
  }
  return conditions
}

/** `beforeMs` 0 is never, which is later than anything. */
function allows(conditions: Conditions, beforeMs: number, afterMs: number): boolean {
  if (conditions.has('NX') && beforeMs !== 0) return false
  if (conditions.has('XX') && beforeMs === 0) return false
  if (conditions.has('GT') && (beforeMs === 0 || afterMs <= beforeMs)) return false
  return !(conditions.has('LT') && beforeMs !== 0 && afterMs >= beforeMs)
}

function expire(kind: Kind): Apply {
  return (view, args): Reply => {
    const key = args.at(1)
    const conditions = conditionsOf(args)
    const given = BigInt(requireInt64(args.at(2)))
    const unit = BigInt(kind.unitMs)
    const isTooFar = given > INT64_MAX / unit || given < INT64_MIN / unit
    const base = kind.isAbsolute ? 0n : BigInt(view.nowMs)
    if (isTooFar || given * unit > INT64_MAX - base) throw invalidExpiry(kind.name)
    const entry = view.get(key)
    if (entry === undefined) return 0
    const atMs = Number(given * unit + base)
    if (!allows(conditions, entry.expiryMs, atMs)) return 0
    if (atMs <= view.nowMs) view.delete(key)
    else view.set(key, entry.value, atMs)
    return 1
  }
}

const KINDS: readonly Kind[] = [
  { name: 'expire', since: '1.0.0', unitMs: 1000, isAbsolute: false },
  { name: 'pexpire', since: '2.6.0', unitMs: 1, isAbsolute: false },
  { name: 'expireat', since: '1.2.0', unitMs: 1000, isAbsolute: true },
  { name: 'pexpireat', since: '2.6.0', unitMs: 1, isAbsolute: true },
]

/** -2 when there is no key, -1 when it does not expire. */
function told(tell: (expiryMs: number, nowMs: number) => number): Apply {
  return (view, args) => {
    const entry = view.get(args.at(1))
    if (entry === undefined) return -2
    return entry.expiryMs === 0 ? -1 : tell(entry.expiryMs, view.nowMs)
  }
}

const TELLERS: readonly (readonly [name: string, since: string, summary: string, Apply])[] = [
  [
    'ttl',
    '1.0.0',
    'Seconds until a key expires',
    told((expiryMs, nowMs) => Math.floor((Math.max(0, expiryMs - nowMs) + 500) / 1000)),
  ],
  [
    'pttl',
    '2.6.0',
    'Milliseconds until a key expires',
    told((expiryMs, nowMs) => Math.max(0, expiryMs - nowMs)),
  ],
  [
    'expiretime',
    '7.0.0',
    'When a key expires, in seconds since the Unix epoch',
    told(expiryMs => Math.floor((expiryMs + 500) / 1000)),
  ],
  [
    'pexpiretime',
    '7.0.0',
    'When a key expires, in milliseconds since the Unix epoch',
    told(expiryMs => expiryMs),
  ],
]

export const EXPIRY_COMMANDS: readonly KeyedCommand[] = [
  ...KINDS.map((kind): KeyedCommand => {
    const unit = kind.unitMs === 1 ? 'milliseconds' : 'seconds'
    return {
      ...{ name: kind.name, arity: -3, group: 'generic', since: kind.since, keys: ONE_KEY },
      flags: ['write', 'fast'],
      summary: kind.isAbsolute
        ? `Sets when a key expires, in ${unit} since the Unix epoch`
        : `Sets in how many ${unit} a key expires`,
      apply: expire(kind),
    }
  }),
  ...TELLERS.map(([name, since, summary, apply]): KeyedCommand => {
    const flags = ['readonly', 'fast'] as const
    return {
      ...{ name, arity: 2, group: 'generic', since, keys: ONE_KEY, flags, summary, apply },
      needsExpiry: true,
    }
  }),
  {
    ...{ name: 'persist', arity: 2, group: 'generic', since: '2.2.0', keys: ONE_KEY },
    flags: ['write', 'fast'],
    summary: 'Lets a key expire no more',
    apply: (view, args) => {
      const entry = view.get(args.at(1))
      if (entry === undefined || entry.expiryMs === 0) return 0
      view.set(args.at(1), entry.value, 0)
      return 1
    },
  },
]
