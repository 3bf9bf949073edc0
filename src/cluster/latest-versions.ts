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
 *  3. latest is at least all that were raised for the same hash, below the floor too.
 */

/** A power of two. Two writes a few milliseconds apart then seldom share a slot by chance. */
const SLOT_COUNT = 1 << 18
/** Slots that get their memory together, with the first write to one of them. */
const PAGE_BITS = 8
const PAGE_SLOTS = 1 << PAGE_BITS

interface Page {
  readonly times: Float64Array
  readonly counters: Uint16Array
}

export class LatestVersions {
  readonly #pages = new Array<Page | undefined>(SLOT_COUNT / PAGE_SLOTS).fill(undefined)
  readonly #floorMs: number

  /** Everything up to `floorMs` may have been used before. */
  constructor(floorMs: number) {
    this.#floorMs = floorMs
  }

  isLatest(hash: number, timeMs: number, counter: number): boolean {
    return timeMs > this.#floorMs && this.#isAboveSlot(hash, timeMs, counter)
  }

  #isAboveSlot(hash: number, timeMs: number, counter: number): boolean {
    const page = this.#pages[pageOf(hash)]
    if (page === undefined) return true
    const slot = hash & (PAGE_SLOTS - 1)
    const slotMs = page.times[slot]!
    return timeMs > slotMs || (timeMs === slotMs && counter > page.counters[slot]!)
  }

  /** The greatest version that was raised for the hash, as far as this process knows. */
  latest(hash: number): { readonly timeMs: number; readonly counter: number } {
    const page = this.#pages[pageOf(hash)]
    const slot = hash & (PAGE_SLOTS - 1)
    return { timeMs: page?.times[slot] ?? 0, counter: page?.counters[slot] ?? 0 }
  }

  /** Takes note of a write. Its writer does not count: of equals none is the latest. */
  raise(hash: number, timeMs: number, counter: number): void {
    // Not the floor: what comes below it must be found here all the same, to be overwritten.
    if (!this.#isAboveSlot(hash, timeMs, counter)) return
    const index = pageOf(hash)
    let page = this.#pages[index]
    if (page === undefined) {
      page = { times: new Float64Array(PAGE_SLOTS), counters: new Uint16Array(PAGE_SLOTS) }
      this.#pages[index] = page
    }
    const slot = hash & (PAGE_SLOTS - 1)
    page.times[slot] = timeMs
    page.counters[slot] = counter
  }
}

function pageOf(hash: number): number {
  return (hash & (SLOT_COUNT - 1)) >>> PAGE_BITS
}
