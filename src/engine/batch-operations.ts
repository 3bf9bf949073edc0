/** The operations of a batch as the door takes them, and their limits. */
import {
  checkMembers,
  checkObject,
  describe,
  describeNoBytes,
  keyBytes,
  keyInterval,
  valueBytes,
} from '../arguments.ts'
import { compareBytes, isBytes } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import {
  BATCH_COUNT_MAX,
  BATCH_SIZE_MAX,
  type BatchOperation,
  KEY_SIZE_MAX,
  type KeyRange,
} from '../key-value-store.ts'
import { OPERATION_MEMBERS } from '../option-names.ts'
import { type EngineOperation, OPERATION_OVERHEAD, operationSize } from './write-group.ts'

/** Deletes a range: what only an embedded store can do in a batch. */
export interface DeleteRangeOperation extends KeyRange {
  readonly type: 'del-range'
}

export type EmbeddedOperation = BatchOperation | DeleteRangeOperation

/** Ranges that one batch may delete: together they must fit a memtable's list of fragments. */
export const BATCH_RANGES_MAX = 10_000

/**
 * Operations that are converted, checked and encoded at once: they take up to half a millisecond,
 * strings most. See large-batch.ts for more of them.
 */
export const SLICE_OPERATIONS = 500

const RANGE_BOUNDS: readonly string[] = ['gt', 'gte', 'lt', 'lte']

/**
 * What would be taken for no bound deletes more than was meant: a wrong name, a bound without a
 * value. Throws InvalidArgumentError.
 */
function checkBounds(range: KeyRange, others: readonly string[]): void {
  for (const [name, bound] of Object.entries(range)) {
    if (others.includes(name)) continue
    if (!RANGE_BOUNDS.includes(name)) {
      throw new InvalidArgumentError(`a range to delete takes gt, gte, lt and lte, not '${name}'`)
    }
    if (bound !== undefined) continue
    throw new InvalidArgumentError(`${name} of a range to delete is undefined: leave it out`)
  }
}

/**
 * The range as an operation. Throws InvalidArgumentError unless it is a plain object of bounds;
 * one without any is every key.
 */
export function rangeOperation(range: KeyRange): DeleteRangeOperation {
  checkObject(range, 'a range to delete')
  const prototype: unknown = Object.getPrototypeOf(range)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new InvalidArgumentError(
      `a range to delete must be a plain object, got ${describe(range)}`,
    )
  }
  checkBounds(range, [])
  return { type: 'del-range', ...range }
}

/** What the engine writes for operations of the caller: ranges without a key come to nothing. */
export function toEngineOperations(
  operations: readonly EmbeddedOperation[],
  expiryMs: (ttlMs: number) => number,
): EngineOperation[] {
  const converted: EngineOperation[] = []
  // Not flatMap(), which passes over holes.
  for (const operation of operations) {
    const one = toEngineOperation(operation, expiryMs)
    if (one !== undefined) converted.push(one)
  }
  return converted
}

function toEngineOperation(
  operation: EmbeddedOperation,
  expiryMs: (ttlMs: number) => number,
): EngineOperation | undefined {
  switch (operation?.type) {
    case 'put': {
      checkMembers(operation, 'a batch operation', OPERATION_MEMBERS)
      const { ttlMs } = operation
      return {
        type: 'put',
        key: keyBytes(operation.key),
        value: valueBytes(operation.value),
        expiryMs: ttlMs === undefined ? 0 : expiryMs(ttlMs),
      }
    }
    case 'del':
      checkMembers(operation, 'a batch operation', OPERATION_MEMBERS)
      return { type: 'del', key: keyBytes(operation.key) }
    case 'del-range': {
      checkBounds(operation, ['type'])
      const interval = keyInterval(operation)
      return interval && { type: 'del-range', key: interval.start, end: interval.end }
    }
    default:
      throw wrongType(operation)
  }
}

function wrongType(operation: unknown): Error {
  const got =
    typeof operation === 'object' && operation !== null && 'type' in operation
      ? describe(operation.type)
      : `${describe(operation)} for an operation`
  return new InvalidArgumentError(
    `a batch operation's type must be 'put', 'del' or 'del-range', got ${got}`,
  )
}

/** Expiries beyond are no safe integers once the steps of the clock are added. */
const EXPIRY_MS_MAX = Number.MAX_SAFE_INTEGER / 2

/** An absolute expiry, in milliseconds. Throws InvalidArgumentError for what is no time. */
export function checkExpiry(expiryMs: number): void {
  if (typeof expiryMs === 'number' && expiryMs >= 0 && expiryMs <= EXPIRY_MS_MAX) return
  throw new InvalidArgumentError(
    `expiryMs must be 0 or milliseconds since the Unix epoch, got ${describe(expiryMs)}`,
  )
}

/** Throws InvalidArgumentError unless they are bytes that can be a key. */
export function checkKey(key: Uint8Array): void {
  if (isBytes(key) && key.length >= 1 && key.length <= KEY_SIZE_MAX) return
  const got = isBytes(key) ? `${key.length} bytes` : describeNoBytes(key)
  throw new InvalidArgumentError(
    `key must be a Uint8Array of 1 to ${KEY_SIZE_MAX} bytes here, got ${got}`,
  )
}

/** Throws InvalidArgumentError unless they are bytes. */
export function checkBytes(bytes: Uint8Array, name: string): void {
  if (isBytes(bytes)) return
  throw new InvalidArgumentError(`${name} must be a Uint8Array here, got ${describeNoBytes(bytes)}`)
}

/**
 * Throws InvalidArgumentError for an operation that the log could not be read back with. A frame is
 * shared by many writers, so nothing may be added to it before this.
 */
function checkOperation(operation: EngineOperation): void {
  switch (operation?.type) {
    case 'put':
      checkKey(operation.key)
      checkBytes(operation.value, 'value')
      if (operation.expiryMs !== undefined) checkExpiry(operation.expiryMs)
      return
    case 'del':
      checkKey(operation.key)
      return
    case 'del-range':
      checkKey(operation.key)
      checkEnd(operation.key, operation.end)
      return
    default:
      throw wrongType(operation)
  }
}

function checkEnd(key: Uint8Array, end: Uint8Array): void {
  checkBytes(end, 'end')
  if (end.length === 0) return
  if (end.length <= KEY_SIZE_MAX && compareBytes(key, end) < 0) return
  throw new InvalidArgumentError(
    `the end of a range must be greater than its first key, and have at most ${KEY_SIZE_MAX} bytes`,
  )
}

/** What the operations of a batch take together, held against the limits. */
export class BatchTally {
  #count = 0
  #rangeCount = 0
  #size: number

  constructor(logData: Uint8Array | undefined) {
    if (logData !== undefined) checkBytes(logData, 'logData')
    this.#size = logData?.length ?? 0
    checkSize(this.#size)
  }

  /** Bytes that the batch takes in a frame, generously. */
  get frameSize(): number {
    return this.#size + (this.#count + 1) * OPERATION_OVERHEAD
  }

  /**
   * Throws InvalidArgumentError when it is none that can be written, one too many, or too large
   * with the others.
   */
  add(operation: EngineOperation): void {
    checkOperation(operation)
    this.#count++
    this.#size += operationSize(operation)
    if (operation.type === 'del-range') this.#rangeCount++
    checkCount(this.#count)
    if (this.#rangeCount > BATCH_RANGES_MAX) {
      throw new InvalidArgumentError(`a batch deletes at most ${BATCH_RANGES_MAX} ranges: split it`)
    }
    checkSize(this.#size)
  }

  /** Throws InvalidArgumentError when there is only log data. */
  checkNotEmpty(): void {
    if (this.#count > 0) return
    throw new InvalidArgumentError('logData goes with operations: put it in a batch that has some')
  }
}

function checkCount(count: number): void {
  if (count <= BATCH_COUNT_MAX) return
  throw new InvalidArgumentError(`a batch holds at most ${BATCH_COUNT_MAX} operations: split it`)
}

function checkSize(size: number): void {
  if (size <= BATCH_SIZE_MAX) return
  throw new InvalidArgumentError(
    `a batch holds at most ${BATCH_SIZE_MAX} bytes of keys, values and log data: split it`,
  )
}

/** What a batch comes to at least. */
export interface BatchLeast {
  readonly count: number
  /** Bytes of keys and values. */
  readonly size: number
}

/** Throws InvalidArgumentError when no more than that is too much already. */
export function checkBatchLeast({ count, size }: BatchLeast): void {
  checkCount(count)
  checkSize(size)
}

/** Of operations of whatever form, valid or not; of ranges, which may be none, there are none. */
export function leastOf(operations: readonly unknown[]): BatchLeast {
  let [count, size] = [0, 0]
  for (const operation of operations as readonly Partial<EngineOperation & { type: 'put' }>[]) {
    const { type, key, value } = operation ?? {}
    if ((type as string) === 'del-range') continue
    count++
    size += lengthOf(key) + lengthOf(value)
  }
  return { count, size }
}

/** UTF-8 has no fewer bytes than a text has units. */
function lengthOf(input: unknown): number {
  return typeof input === 'string' || input instanceof Uint8Array ? input.length : 0
}

/**
 * Throws InvalidArgumentError when they are none, too large together, or no operations. Batches of
 * more than SLICE_OPERATIONS are checked later, in slices.
 */
export function checkBatchSize(
  operations: readonly EngineOperation[],
  logData: Uint8Array | undefined,
): void {
  if (operations.length > SLICE_OPERATIONS) return
  const tally = new BatchTally(logData)
  for (const operation of operations) tally.add(operation)
  tally.checkNotEmpty()
}
