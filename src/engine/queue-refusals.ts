/**
 * Why a write is not taken beside those that wait, in words that say what to do. Nothing of it was
 * written, and most of them fit a moment later; what never will is told that it will not.
 */
import { yieldToEventLoop } from '../clock.ts'
import { KvError, OverloadedError } from '../errors.ts'
import { checkBatchLeast } from './batch-operations.ts'
import type { OperationSource } from './large-batch.ts'

const RETRY_AFTER_MS = 50

/** Operations that are looked at between two turns of the event loop: nothing is converted. */
const MEASURED_OPERATIONS = 10_000

export interface RefusedWrite {
  /** Bytes that it takes, as far as they are known: at least so many if `isPart`. */
  readonly size: number
  readonly isPart: boolean
  /** Bytes of others that wait, and with how many of them it would have been taken. */
  readonly waiting: number
  readonly max: number
}

export function tooManyBytes({ size, isPart, waiting, max }: RefusedWrite): OverloadedError {
  const what = size === 0 ? 'a batch' : `a write of ${isPart ? 'at least ' : ''}${size} bytes`
  const beside = `${waiting} bytes of others wait for the disk, and ${max} may wait together`
  const action =
    size > max
      ? 'it is taken only while no other waits: await those before it, or split it'
      : 'await writes before sending more'
  return new OverloadedError(`${what} was refused: ${beside}; ${action}`, RETRY_AFTER_MS)
}

export function tooManyBatches(count: number): OverloadedError {
  const message = `a batch was refused: ${count} others wait, which is the most that may`
  return new OverloadedError(`${message}; await batches before sending more`, RETRY_AFTER_MS)
}

/**
 * What the caller of a large batch is told that was refused so: InvalidArgumentError when no queue
 * would ever take it, which is not known before, since it is not converted. Never rejects.
 */
export async function finalRefusal(
  refusal: Error,
  source: OperationSource,
  logData: Uint8Array | undefined,
): Promise<Error> {
  if (!(refusal instanceof OverloadedError)) return refusal
  const least = { count: 0, size: logData?.length ?? 0 }
  try {
    for (let from = 0; from < source.count; from += MEASURED_OPERATIONS) {
      if (from > 0) await yieldToEventLoop()
      const { count, size } = source.least(from, from + MEASURED_OPERATIONS)
      least.count += count
      least.size += size
      checkBatchLeast(least)
    }
    return refusal
  } catch (error) {
    return error instanceof KvError ? error : refusal
  }
}
