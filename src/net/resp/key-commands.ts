/** Commands about keys that they name. Semantics and error texts are those of db.c and object.c. */
import { equalBytes } from '../../bytes.ts'
import { type Apply, KEY_PLACES, type KeyedCommand, syntaxError } from './command.ts'
import { parseInt64, requireNumber } from './numbers.ts'
import { CommandError, OK, Status } from './reply.ts'

const { ONE_KEY, ALL_KEYS, TWO_KEYS } = KEY_PLACES
const STRING = new Status('string')
const NONE = new Status('none')
/** Redis keeps shorter texts inside of the object. */
const EMBEDDED_SIZE_MAX = 44
/** What an entry takes besides its key and value, about. */
const ENTRY_OVERHEAD = 56

const countThere: Apply = (view, args) => {
  return args.list(1).filter(key => view.get(key) !== undefined).length
}

const remove: Apply = (view, args) => args.list(1).filter(key => view.delete(key)).length

const rename: Apply = (view, args) => {
  const [from, to] = [args.at(1), args.at(2)]
  const entry = view.get(from)
  if (entry === undefined) throw new CommandError('ERR no such key')
  if (equalBytes(from, to)) return OK
  view.set(to, entry.value, entry.expiryMs)
  view.delete(from)
  return OK
}

const renamenx: Apply = (view, args) => {
  if (view.get(args.at(1)) === undefined) throw new CommandError('ERR no such key')
  if (view.get(args.at(2)) !== undefined) return 0
  rename(view, args)
  return 1
}

const copy: Apply = (view, args) => {
  const [from, to] = [args.at(1), args.at(2)]
  let replaces = false
  for (let index = 3; index < args.count; index++) {
    const word = args.word(index)
    if (word === 'REPLACE') replaces = true
    else if (word === 'DB' && index + 1 < args.count) requireDatabase(args.at(++index))
    else throw syntaxError()
  }
  if (equalBytes(from, to)) {
    throw new CommandError('ERR source and destination objects are the same')
  }
  const entry = view.get(from)
  if (entry === undefined || (view.get(to) !== undefined && !replaces)) return 0
  view.set(to, entry.value, entry.expiryMs)
  return 1
}

/** There is one database: 0. */
export function requireDatabase(bytes: Uint8Array): void {
  if (requireNumber(bytes) !== 0) throw new CommandError('ERR DB index is out of range')
}

/** How Redis would keep the value. */
export function encodingOf(value: Uint8Array): string {
  if (value.length <= 20 && parseInt64(value) !== undefined) return 'int'
  return value.length <= EMBEDDED_SIZE_MAX ? 'embstr' : 'raw'
}

/** Bytes that an entry takes in memory or on disk, about. */
export function usageOf(key: Uint8Array, value: Uint8Array): number {
  return key.length + value.length + ENTRY_OVERHEAD
}

export const KEY_COMMANDS: readonly KeyedCommand[] = [
  {
    ...{ name: 'del', arity: -2, group: 'generic', since: '1.0.0', keys: ALL_KEYS },
    flags: ['write'],
    summary: 'Deletes keys and returns how many there were',
    apply: remove,
    loose: true,
  },
  {
    ...{ name: 'unlink', arity: -2, group: 'generic', since: '4.0.0', keys: ALL_KEYS },
    flags: ['write', 'fast'],
    summary: 'Deletes keys and returns how many there were',
    apply: remove,
    loose: true,
  },
  {
    ...{ name: 'exists', arity: -2, group: 'generic', since: '1.0.0', keys: ALL_KEYS },
    flags: ['readonly', 'fast'],
    summary: 'How many of the keys there are',
    apply: countThere,
  },
  {
    ...{ name: 'touch', arity: -2, group: 'generic', since: '3.2.1', keys: ALL_KEYS },
    flags: ['readonly', 'fast'],
    summary: 'How many of the keys there are',
    apply: countThere,
  },
  {
    ...{ name: 'type', arity: 2, group: 'generic', since: '1.0.0', keys: ONE_KEY },
    flags: ['readonly', 'fast'],
    summary: 'The type of the value of a key: string, or none',
    apply: (view, args) => (view.get(args.at(1)) === undefined ? NONE : STRING),
  },
  {
    ...{ name: 'rename', arity: 3, group: 'generic', since: '1.0.0', keys: TWO_KEYS },
    flags: ['write'],
    summary: 'Gives a key another name, overwriting what has it',
    apply: rename,
  },
  {
    ...{ name: 'renamenx', arity: 3, group: 'generic', since: '1.0.0', keys: TWO_KEYS },
    flags: ['write', 'fast'],
    summary: 'Gives a key another name, if nothing has it',
    apply: renamenx,
  },
  {
    ...{ name: 'copy', arity: -3, group: 'generic', since: '6.2.0', keys: TWO_KEYS },
    flags: ['write', 'denyoom'],
    summary: 'Copies the value and the expiry of a key to another',
    apply: copy,
  },
]
