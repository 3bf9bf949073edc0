/**
 * Batches that would keep the event loop longer than a millisecond: converted, checked and encoded
 * in slices, with a turn of the loop between two. A batch has its place in the queue, and a frame
 * of its own, from the moment of the call, so it stays atomic and in order however long that takes.
 *
 * The operations and their bytes must not change until the batch has resolved.
 */
import { checkArray } from '../arguments.ts'
import { yieldToEventLoop } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import { type BatchLeast, BatchTally, leastOf, SLICE_OPERATIONS } from './batch-operations.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import type { WalFrameBuilder } from './wal-frame.ts'
import { addOperation, beginOperations, type EngineOperation } from './write-group.ts'

/** Bytes of keys and values between two turns. */
const SLICE_BYTES = 512 * 1024

/**
 * Operations that are converted without a look at what they take, which is known only then: strings
 * become bytes. Divides SLICE_OPERATIONS.
 */
const STEP_OPERATIONS = 20

/** The operations of a batch, which may have to be made first. */
export interface OperationSource {
  /** An upper bound: some may come to nothing. */
  readonly count: number
  /** Those from `from` on and before `to`. Throws InvalidArgumentError. */
  slice(from: number, to: number): readonly EngineOperation[]
  /** What those come to at least, without converting them. */
  least(from: number, to: number): BatchLeast
}

/**
 * The operations, each slice of which is converted when its turn comes. Throws InvalidArgumentError
 * unless they are an array.
 */
export function sourceOf<T>(
  operations: readonly T[],
  convert: (some: readonly T[]) => readonly EngineOperation[],
): OperationSource {
  const count = checkArray(operations, 'operations').length
  return {
    count,
    slice(from, to) {
      if (operations.length === count) return convert(operations.slice(from, to))
      const what = `${count} operations became ${operations.length}`
      throw new InvalidArgumentError(`${what} before the batch was read: leave the list alone`)
    },
    least: (from, to) => leastOf(operations.slice(from, to)),
  }
}

/** A batch that was converted and found to be within the limits. */
export interface GatheredBatch {
  readonly operations: readonly EngineOperation[]
  readonly logData: Uint8Array | undefined
  readonly tally: BatchTally
}

/**
 * Converts and checks. Throws InvalidArgumentError when they are too many or too large, and what
 * `admit` throws: it is told, every STEP_OPERATIONS and at the end, how many bytes of a frame those
 * so far take.
 */
export async function gatherBatch(
  source: OperationSource,
  logData: Uint8Array | undefined,
  admit: (bytes: number) => void,
): Promise<GatheredBatch> {
  const tally = new BatchTally(logData)
  const operations: EngineOperation[] = []
  let [count, size] = [0, 0]
  for (let from = 0; from < source.count; from += STEP_OPERATIONS) {
    if (from - count >= SLICE_OPERATIONS || tally.frameSize - size >= SLICE_BYTES) {
      await yieldToEventLoop()
      count = from
      size = tally.frameSize
    }
    admit(tally.frameSize)
    for (const operation of source.slice(from, from + STEP_OPERATIONS)) {
      tally.add(operation)
      operations.push(operation)
    }
  }
  admit(tally.frameSize)
  return { operations, logData, tally }
}

/** Adds the operations to the empty frame, as one batch. */
export async function encodeBatch(
  builder: WalFrameBuilder,
  { operations, logData, tally }: GatheredBatch,
  expiry: ExpiryClock,
): Promise<void> {
  builder.reserve(tally.frameSize)
  beginOperations(builder, operations.length, logData)
  let count = 0
  let size = builder.size
  for (const operation of operations) {
    if (count === SLICE_OPERATIONS || builder.size - size >= SLICE_BYTES) {
      await yieldToEventLoop()
      count = 0
      size = builder.size
    }
    count++
    if (operation.type === 'put' && operation.value.length > SLICE_BYTES) {
      const { key, value, expiryMs } = operation
      await builder.addPutInSlices(key, value, expiryMs ? expiry.fromWall(expiryMs) : 0)
    } else addOperation(builder, operation, expiry)
  }
}
