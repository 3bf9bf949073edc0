/**
 * What is known of a write of which several nodes had a part: it failed as a whole only when nobody
 * can have any of it.
 */
import { KvError, UnavailableError } from '../errors.ts'

/** The same failure, of a write that others may have got. */
export function unknownOutcome(error: unknown): unknown {
  if (!(error instanceof KvError) || error.outcome === 'unknown') return error
  return new UnavailableError(
    `not every replica could write it, others may have it (read to find out): ${error.message}`,
    { cause: error, outcome: 'unknown' },
  )
}

export function isRejected(error: unknown): boolean {
  return error instanceof KvError && error.outcome === 'rejected'
}

/**
 * Resolves when all have. Of several failures the first is reported, as unknown unless every part
 * was rejected: one that succeeded is enough for something to be there.
 */
export async function settleParts(parts: readonly Promise<unknown>[]): Promise<void> {
  const settled = await Promise.allSettled(parts)
  const failures = settled.flatMap(part => (part.status === 'rejected' ? [part.reason] : []))
  if (failures.length === 0) return
  const allRejected = failures.length === parts.length && failures.every(isRejected)
  throw allRejected ? failures[0] : unknownOutcome(failures[0])
}
