/** Commands that count. Whole numbers have 64 bits, fractions 80 (extended-float.ts). */

import { fromLatin1, latin1 } from './characters.ts'
import { type Apply, KEY_PLACES, type KeyedCommand } from './command.ts'
import { addExtended, formatExtended, parseExtended } from './extended-float.ts'
import type { KeyView } from './key-view.ts'
import { addInt64, INT64_MIN, notAnInteger, parseInt64, requireInt64 } from './numbers.ts'
import { CommandError, type Reply } from './reply.ts'

const { ONE_KEY } = KEY_PLACES

function increase(view: KeyView, key: Uint8Array, by: number | bigint): Reply {
  const entry = view.get(key)
  const before = entry === undefined ? 0 : parseInt64(entry.value)
  if (before === undefined) throw notAnInteger()
  const after = addInt64(before, by)
  if (after === undefined) throw new CommandError('ERR increment or decrement would overflow')
  view.set(key, fromLatin1(String(after)), entry?.expiryMs ?? 0)
  return after
}

const decrby: Apply = (view, args) => {
  const by = requireInt64(args.at(2))
  if (by === INT64_MIN) throw new CommandError('ERR decrement would overflow')
  return increase(view, args.at(1), -by)
}

const incrbyfloat: Apply = (view, args) => {
  const key = args.at(1)
  const entry = view.get(key)
  const before = parseExtended(entry === undefined ? '0' : latin1(entry.value))
  const by = parseExtended(args.text(2))
  if (before === undefined || by === undefined) {
    throw new CommandError('ERR value is not a valid float')
  }
  const after = addExtended(before, by)
  if (after === undefined) throw new CommandError('ERR increment would produce NaN or Infinity')
  const text = fromLatin1(formatExtended(after))
  view.set(key, text, entry?.expiryMs ?? 0)
  return text
}

export const COUNTER_COMMANDS: readonly KeyedCommand[] = [
  {
    ...{ name: 'incr', arity: 2, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Adds 1 to the number that is the value of a key',
    apply: (view, args) => increase(view, args.at(1), 1),
  },
  {
    ...{ name: 'decr', arity: 2, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Subtracts 1 from the number that is the value of a key',
    apply: (view, args) => increase(view, args.at(1), -1),
  },
  {
    ...{ name: 'incrby', arity: 3, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Adds to the number that is the value of a key',
    apply: (view, args) => increase(view, args.at(1), requireInt64(args.at(2))),
  },
  {
    ...{ name: 'decrby', arity: 3, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Subtracts from the number that is the value of a key',
    apply: decrby,
  },
  {
    ...{ name: 'incrbyfloat', arity: 3, group: 'string', since: '2.6.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Adds to the fraction that is the value of a key',
    apply: incrbyfloat,
  },
]
