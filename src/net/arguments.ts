/** What callers pass, checked and turned into bytes, before anything is sent. */
import {
  checkArray,
  checkMembers,
  checkObject,
  checkOrder,
  checkTtl,
  describe,
  describeNoBytes,
} from '../arguments.ts'
import { copyBytes, isBytes, utf8Encode } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import {
  BATCH_SIZE_MAX,
  type BatchOperation,
  type BytesInput,
  DURABILITIES,
  type Durability,
  KEY_SIZE_MAX,
  type KeyRange,
  type ScanOptions,
  SERVER_KEY_SIZE_MAX,
  VALUE_SIZE_MAX,
} from '../key-value-store.ts'
import { OPERATION_MEMBERS } from '../option-names.ts'
import type { HandlerOperation, HandlerScan } from './request-handler.ts'

/** One GET_MANY asks for at most so many keys, and bytes of keys; more become several. */
const KEY_GROUP_COUNT_MAX = 1024
const KEY_GROUP_BYTES_MAX = 1024 * 1024

export function toBytes(input: BytesInput, what: string): Uint8Array {
  if (typeof input === 'string') return utf8Encode(input)
  if (isBytes(input)) return input
  throw new InvalidArgumentError(
    `${what} must be a string or a Uint8Array, got ${describeNoBytes(input)}`,
  )
}

/** Throws InvalidArgumentError unless it is an array of keys. */
export function toKeys(keys: readonly BytesInput[]): Uint8Array[] {
  return checkArray(keys, 'keys').map(toKey)
}

export function toKey(input: BytesInput): Uint8Array {
  const key = toBytes(input, 'a key')
  if (key.length >= 1 && key.length <= SERVER_KEY_SIZE_MAX) return key
  throw new InvalidArgumentError(`a key has 1 to ${SERVER_KEY_SIZE_MAX} bytes, got ${key.length}`)
}

export function toValue(input: BytesInput): Uint8Array {
  const value = toBytes(input, 'a value')
  if (value.length <= VALUE_SIZE_MAX) return value
  throw new InvalidArgumentError(
    `the value has ${value.length} bytes, no store takes more than ${VALUE_SIZE_MAX}: ` +
      'store it in parts',
  )
}

/** Whole milliseconds; 0 for never. */
export function toTtl(ttlMs: number | undefined): number {
  return ttlMs === undefined ? 0 : Math.ceil(checkTtl(ttlMs))
}

export function toDurability(durability: Durability | undefined): Durability | undefined {
  if (durability === undefined || DURABILITIES.includes(durability)) return durability
  throw new InvalidArgumentError(
    `durability must be one of ${DURABILITIES.join(', ')}, got ${describe(durability)}`,
  )
}

export function toOperations(operations: readonly BatchOperation[]): HandlerOperation[] {
  let size = 0
  const result = checkArray(operations, 'operations').map((operation): HandlerOperation => {
    checkMembers(operation, 'a batch operation', OPERATION_MEMBERS)
    const key = toKey(operation.key)
    size += key.length
    if (operation.type === 'del') return { type: 'del', key }
    if (operation.type !== 'put') {
      const { type } = operation as { type: unknown }
      throw new InvalidArgumentError(`a batch operation is 'put' or 'del', got ${describe(type)}`)
    }
    const value = toValue(operation.value)
    size += value.length
    return { type: 'put', key, value, ttlMs: toTtl(operation.ttlMs) }
  })
  if (size <= BATCH_SIZE_MAX) return result
  throw new InvalidArgumentError(`a batch has at most ${BATCH_SIZE_MAX} bytes, got ${size}`)
}

/** The range of a scan or count as the protocol has it. */
export function toScan(options: KeyRange & Pick<ScanOptions, 'reverse' | 'order'>): HandlerScan {
  const { gt, gte, lt, lte, reverse = false } = checkObject(options, 'a range')
  const order = checkOrder(options.order) ?? 'ordered'
  if (gt !== undefined && gte !== undefined) {
    throw new InvalidArgumentError('a range has gt or gte, not both')
  }
  if (lt !== undefined && lte !== undefined) {
    throw new InvalidArgumentError('a range has lt or lte, not both')
  }
  if (order === 'unordered' && reverse) {
    throw new InvalidArgumentError('an unordered scan has no direction to reverse')
  }
  return {
    ...(gt === undefined ? {} : { gt: toBound(gt) }),
    ...(gte === undefined ? {} : { gte: toBound(gte) }),
    ...(lt === undefined ? {} : { lt: toBound(lt) }),
    ...(lte === undefined ? {} : { lte: toBound(lte) }),
    reverse,
    order,
    keysOnly: false,
    cursor: undefined,
  }
}

function toBound(input: BytesInput): Uint8Array {
  // A copy: a scan outlives the call, and the caller may use the buffer again.
  const bound = copyBytes(toBytes(input, 'a bound'))
  if (bound.length <= KEY_SIZE_MAX) return bound
  throw new InvalidArgumentError(`a bound has at most ${KEY_SIZE_MAX} bytes, got ${bound.length}`)
}

/** Items that a scan may deliver; Infinity for no limit. */
export function toLimit(limit: number | undefined): number {
  if (limit === undefined || limit === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
  if (Number.isSafeInteger(limit) && limit >= 0) return limit
  throw new InvalidArgumentError(`limit must be a whole number, got ${describe(limit)}`)
}

export function toCount(name: string, value: number | undefined, fallback: number, max: number) {
  if (value === undefined) return fallback
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return value
  throw new InvalidArgumentError(
    `${name} must be an integer from 1 to ${max}, got ${describe(value)}`,
  )
}

/** The keys from `start` that go into one GET_MANY: at least one. */
export function keyGroup(keys: readonly Uint8Array[], start: number): readonly Uint8Array[] {
  let end = start
  let size = 0
  while (end < keys.length && end - start < KEY_GROUP_COUNT_MAX) {
    size += keys[end]!.length
    if (size > KEY_GROUP_BYTES_MAX && end > start) break
    end++
  }
  return start === 0 && end === keys.length ? keys : keys.slice(start, end)
}
