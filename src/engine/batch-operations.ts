/** The operations of a batch as the door takes them, and their limits. */
import { keyBytes, keyInterval, valueBytes } from '../arguments.ts'
import { InvalidArgumentError } from '../errors.ts'
import {
  BATCH_COUNT_MAX,
  BATCH_SIZE_MAX,
  type BatchOperation,
  type KeyRange,
} from '../key-value-store.ts'
import { type EngineOperation, operationSize } from './write-group.ts'

/** Deletes a range: what only an embedded store can do in a batch. */
export interface DeleteRangeOperation extends KeyRange {
  readonly type: 'del-range'
}

export type EmbeddedOperation = BatchOperation | DeleteRangeOperation

/** Ranges that one batch may delete: together they must fit a memtable's list of fragments. */
export const BATCH_RANGES_MAX = 10_000

const RANGE_BOUNDS: readonly string[] = ['gt', 'gte', 'lt', 'lte']

/** A bound by a wrong name would be no bound, and more would be deleted than was meant. */
function checkBoundNames(operation: DeleteRangeOperation): void {
  for (const name of Object.keys(operation)) {
    if (name === 'type' || RANGE_BOUNDS.includes(name)) continue
    throw new InvalidArgumentError(`a range to delete takes gt, gte, lt and lte, not '${name}'`)
  }
}

/** What the engine writes for an operation of the caller; undefined when there is nothing to do. */
export function toEngineOperation(
  operation: EmbeddedOperation,
  expiryMs: (ttlMs: number) => number,
): EngineOperation | undefined {
  switch (operation.type) {
    case 'put': {
      const { ttlMs } = operation
      return {
        type: 'put',
        key: keyBytes(operation.key),
        value: valueBytes(operation.value),
        expiryMs: ttlMs === undefined ? 0 : expiryMs(ttlMs),
      }
    }
    case 'del':
      return { type: 'del', key: keyBytes(operation.key) }
    case 'del-range': {
      checkBoundNames(operation)
      const interval = keyInterval(operation)
      return interval && { type: 'del-range', key: interval.start, end: interval.end }
    }
    default:
      throw new InvalidArgumentError(
        "a batch operation's type must be 'put', 'del' or 'del-range', " +
          `got ${JSON.stringify((operation as { type?: unknown }).type)}`,
      )
  }
}

/** Throws InvalidArgumentError when they are too many or too large together. */
export function checkBatchSize(
  operations: readonly EngineOperation[],
  logData: Uint8Array | undefined,
): void {
  if (operations.length === 0) {
    throw new InvalidArgumentError('logData goes with operations: put it in a batch that has some')
  }
  if (operations.length > BATCH_COUNT_MAX) {
    throw new InvalidArgumentError(
      `a batch holds at most ${BATCH_COUNT_MAX} operations, got ${operations.length}: split it`,
    )
  }
  let size = logData?.length ?? 0
  let rangeCount = 0
  for (const operation of operations) {
    size += operationSize(operation)
    if (operation.type === 'del-range') rangeCount++
  }
  if (rangeCount > BATCH_RANGES_MAX) {
    throw new InvalidArgumentError(
      `a batch deletes at most ${BATCH_RANGES_MAX} ranges, got ${rangeCount}: split it`,
    )
  }
  if (size <= BATCH_SIZE_MAX) return
  throw new InvalidArgumentError(
    `a batch holds at most ${BATCH_SIZE_MAX} bytes of keys, values and log data, got ${size}: ` +
      'split it',
  )
}
