/** Commands that read and write values. Their semantics and error texts are those of t_string.c. */

import type { HandlerPut } from '../request-handler.ts'
import {
  type Apply,
  DECLINED,
  KEY_PLACES,
  type KeyedCommand,
  type QuickCall,
  type QuickResult,
  tooLarge,
  wrongArity,
} from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { KeyView } from './key-view.ts'
import { requireNumber } from './numbers.ts'
import { CommandError, OK, type Reply } from './reply.ts'
import { expiryOf, getexOptions, setOptions } from './set-options.ts'

const { ONE_KEY, ALL_KEYS, PAIRS } = KEY_PLACES
const EMPTY = new Uint8Array(0)

function bulkOf(entry: { readonly value: Uint8Array } | undefined): Reply {
  return entry === undefined ? null : entry.value
}

function putOfSet(args: CommandArguments, nowMs: number): HandlerPut | typeof DECLINED {
  let expiryMs = 0
  if (args.count > 3) {
    const options = setOptions(args)
    const { condition, get, keepTtl } = options
    if (condition !== undefined || get || keepTtl) return DECLINED
    expiryMs = expiryOf(options, nowMs, 'set')
  }
  return { type: 'put', key: args.at(1), value: args.at(2), ttlMs: 0, expiryMs }
}

const set: Apply = (view, args) => {
  const key = args.at(1)
  const options = setOptions(args)
  const before = view.get(key)
  const expiryMs = options.keepTtl ? (before?.expiryMs ?? 0) : expiryOf(options, view.nowMs, 'set')
  const { condition, get } = options
  const isRefused =
    (condition === 'NX' && before !== undefined) || (condition === 'XX' && before === undefined)
  if (!isRefused) view.set(key, args.at(2), expiryMs)
  if (get) return bulkOf(before)
  return isRefused ? null : OK
}

/** SETEX and PSETEX. */
function spanExpiry(args: CommandArguments, nowMs: number): number {
  const name = args.text(0).toLowerCase()
  const unit = name === 'setex' ? 'EX' : 'PX'
  return expiryOf({ expiry: { unit, bytes: args.at(2) } }, nowMs, name)
}

function putOfSetex(args: CommandArguments, nowMs: number): HandlerPut {
  const expiryMs = spanExpiry(args, nowMs)
  return { type: 'put', key: args.at(1), value: args.at(3), ttlMs: 0, expiryMs }
}

const getex: Apply = (view, args) => {
  const key = args.at(1)
  const options = getexOptions(args)
  const entry = view.get(key)
  if (entry === undefined) return null
  if (options.expiry !== undefined) {
    view.set(key, entry.value, expiryOf(options, view.nowMs, 'getex'))
  } else if (options.persist && entry.expiryMs !== 0) view.set(key, entry.value, 0)
  return entry.value
}

function checkPairs(args: CommandArguments): void {
  if (args.count % 2 === 0) throw wrongArity(args.text(0).toLowerCase())
}

function quickMset({ handler, args, request }: QuickCall): QuickResult {
  checkPairs(args)
  // A batch keeps its buffers until it is answered.
  const own = args.detached()
  request.reply = OK
  const operations = own.list(1, 2).map((key, index) => {
    return { type: 'put', key, value: own.at(2 + 2 * index), ttlMs: 0 } as const
  })
  return handler.batch(operations, request)
}

function setAll(view: KeyView, args: CommandArguments): void {
  for (let index = 1; index < args.count; index += 2) {
    view.set(args.at(index), args.at(index + 1), 0)
  }
}

function checkLength(view: KeyView, length: number): void {
  if (length > view.valueSizeMax) throw tooLarge()
}

const append: Apply = (view, args) => {
  const key = args.at(1)
  const tail = args.at(2)
  const before = view.get(key)?.value ?? EMPTY
  checkLength(view, before.length + tail.length)
  const value = new Uint8Array(before.length + tail.length)
  value.set(before)
  value.set(tail, before.length)
  view.setValue(key, value)
  return value.length
}

const setrange: Apply = (view, args) => {
  const key = args.at(1)
  const offset = requireNumber(args.at(2))
  const part = args.at(3)
  if (offset < 0) throw new CommandError('ERR offset is out of range')
  const before = view.get(key)?.value
  if (part.length === 0) return before?.length ?? 0
  checkLength(view, offset + part.length)
  const value = new Uint8Array(Math.max(before?.length ?? 0, offset + part.length))
  if (before !== undefined) value.set(before)
  value.set(part, offset)
  view.setValue(key, value)
  return value.length
}

const getrange: Apply = (view, args) => {
  let start = requireNumber(args.at(2))
  let end = requireNumber(args.at(3))
  const value = view.get(args.at(1))?.value ?? EMPTY
  const { length } = value
  if (start < 0 && end < 0 && start > end) return EMPTY
  if (start < 0) start = Math.max(0, length + start)
  if (end < 0) end = Math.max(0, length + end)
  end = Math.min(end, length - 1)
  return start > end || length === 0 ? EMPTY : value.subarray(start, end + 1)
}

const commands: KeyedCommand[] = [
  {
    ...{ name: 'get', arity: 2, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['readonly', 'fast'],
    summary: 'The value of a key',
    quick: ({ handler, args, request }) => handler.get(args.at(1), request),
    apply: (view, args) => bulkOf(view.get(args.at(1))),
  },
  {
    ...{ name: 'set', arity: -3, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom'],
    summary: 'Sets the value of a key, with an expiry and conditions',
    put: putOfSet,
    apply: set,
  },
  {
    ...{ name: 'setnx', arity: 3, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Sets the value of a key that does not exist',
    apply: (view, args) => {
      if (view.get(args.at(1)) !== undefined) return 0
      view.set(args.at(1), args.at(2), 0)
      return 1
    },
  },
  ...(['setex', 'psetex'] as const).map((name): KeyedCommand => {
    const since = name === 'setex' ? '2.0.0' : '2.6.0'
    const unit = name === 'setex' ? 'seconds' : 'milliseconds'
    return {
      ...{ name, arity: 4, group: 'string', since, keys: ONE_KEY, flags: ['write', 'denyoom'] },
      summary: `Sets the value of a key, and in how many ${unit} it expires`,
      put: putOfSetex,
      apply: (view, args) => {
        view.set(args.at(1), args.at(3), spanExpiry(args, view.nowMs))
        return OK
      },
    }
  }),
  {
    ...{ name: 'getset', arity: 3, group: 'string', since: '1.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Sets the value of a key and returns the one before',
    apply: (view, args) => {
      const before = bulkOf(view.get(args.at(1)))
      view.set(args.at(1), args.at(2), 0)
      return before
    },
  },
  {
    ...{ name: 'getdel', arity: 2, group: 'string', since: '6.2.0', keys: ONE_KEY },
    flags: ['write', 'fast'],
    summary: 'The value of a key, which is deleted',
    apply: (view, args) => {
      const before = bulkOf(view.get(args.at(1)))
      view.delete(args.at(1))
      return before
    },
  },
  {
    ...{ name: 'getex', arity: -2, group: 'string', since: '6.2.0', keys: ONE_KEY },
    flags: ['write', 'fast'],
    summary: 'The value of a key, whose expiry is changed',
    apply: getex,
  },
  {
    ...{ name: 'mget', arity: -2, group: 'string', since: '1.0.0', keys: ALL_KEYS },
    flags: ['readonly', 'fast'],
    summary: 'The values of several keys',
    apply: (view, args) => args.list(1).map(key => bulkOf(view.get(key))),
  },
  {
    ...{ name: 'mset', arity: -3, group: 'string', since: '1.0.1', keys: PAIRS },
    flags: ['write', 'denyoom'],
    summary: 'Sets the values of several keys at once',
    quick: quickMset,
    apply: (view, args) => {
      checkPairs(args)
      setAll(view, args)
      return OK
    },
  },
  {
    ...{ name: 'msetnx', arity: -3, group: 'string', since: '1.0.1', keys: PAIRS },
    flags: ['write', 'denyoom'],
    summary: 'Sets the values of several keys at once, if none of them exists',
    apply: (view, args) => {
      checkPairs(args)
      if (args.list(1, 2).some(key => view.get(key) !== undefined)) return 0
      setAll(view, args)
      return 1
    },
  },
  {
    ...{ name: 'append', arity: 3, group: 'string', since: '2.0.0', keys: ONE_KEY },
    flags: ['write', 'denyoom', 'fast'],
    summary: 'Appends to the value of a key',
    apply: append,
  },
  {
    ...{ name: 'strlen', arity: 2, group: 'string', since: '2.2.0', keys: ONE_KEY },
    flags: ['readonly', 'fast'],
    summary: 'The length of the value of a key',
    apply: (view, args) => view.get(args.at(1))?.value.length ?? 0,
  },
  ...(['getrange', 'substr'] as const).map((name): KeyedCommand => {
    const since = name === 'substr' ? '1.0.0' : '2.4.0'
    return {
      ...{ name, arity: 4, group: 'string', since, keys: ONE_KEY, flags: ['readonly'] },
      summary: 'A part of the value of a key',
      apply: getrange,
    }
  }),
  {
    ...{ name: 'setrange', arity: 4, group: 'string', since: '2.2.0', keys: ONE_KEY },
    flags: ['write', 'denyoom'],
    summary: 'Overwrites a part of the value of a key',
    apply: setrange,
  },
]

export const STRING_COMMANDS: readonly KeyedCommand[] = commands
