/**
 * How many keys there are, for DBSIZE: counted by reading them, for nothing that could be kept up
 * to date tells a new key from one that was there, short of a read before each write.
 *
 * Whoever polls it must not keep the store busy: of many keys, a count that took long is given
 * again for a time in proportion, so that counting takes a twentieth of the time at most.
 */
import type { Clock } from '../../clock.ts'

/** Of so many keys each count is exact. */
const EXACT_COUNT = 100_000
/** A count of more that took no longer is never given twice. */
const EXACT_MS = 100
/** A longer one is given again for so many times what it took. */
const REUSE_TIMES = 20

export class DbSize {
  #last: { readonly count: number; readonly untilMs: number } | undefined

  /** The count of `read`, or one that is not too old. */
  async count(clock: Clock, read: () => number | Promise<number>): Promise<number> {
    const startMs = clock.monotonicMs()
    if (this.#last !== undefined && startMs < this.#last.untilMs) return this.#last.count
    const count = await read()
    const endMs = clock.monotonicMs()
    const tookMs = endMs - startMs
    const isLong = count > EXACT_COUNT && tookMs > EXACT_MS
    this.#last = isLong ? { count, untilMs: endMs + tookMs * REUSE_TIMES } : undefined
    return count
  }

  /** All keys are about to go. */
  forget(): void {
    this.#last = undefined
  }
}
