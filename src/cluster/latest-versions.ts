/**
 * Tells without a look at the store whether a write is the latest of its key.
 *
 * Keys fall into slots by their hash, and a slot keeps the greatest version of all writes to its
 * keys: a write above it is above every earlier one to its own key. Others, retries and writes that
 * overtook each other among them, must be compared with what is stored; so must all until the clock
 * has left behind whatever an earlier process may have accepted. The idea is that of the timestamp
 * cache of CockroachDB, with slots instead of intervals. Without it each write that a client
 * versioned would cost a read.
 *
 * Invariants:
 *  1. A slot never goes down.
 *  2. isLatest is true only for a version greater than all that were raised for the same hash.
 */

/** A power of two. Two writes a few milliseconds apart then seldom share a slot by chance. */
const SLOT_COUNT = 1 << 18

export class LatestVersions {
  readonly #times = new Float64Array(SLOT_COUNT)
  readonly #counters = new Uint16Array(SLOT_COUNT)

  readonly #floorMs: number

  /** Everything up to `floorMs` may have been used before. */
  constructor(floorMs: number) {
    this.#floorMs = floorMs
  }

  isLatest(hash: number, timeMs: number, counter: number): boolean {
    if (timeMs <= this.#floorMs) return false
    const slot = hash & (SLOT_COUNT - 1)
    const slotMs = this.#times[slot]!
    return timeMs > slotMs || (timeMs === slotMs && counter > this.#counters[slot]!)
  }

  /** Takes note of a write. Its writer does not count: of equals none is the latest. */
  raise(hash: number, timeMs: number, counter: number): void {
    if (!this.isLatest(hash, timeMs, counter)) return
    const slot = hash & (SLOT_COUNT - 1)
    this.#times[slot] = timeMs
    this.#counters[slot] = counter
  }
}
