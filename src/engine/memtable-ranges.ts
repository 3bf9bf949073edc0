/**
 * The range tombstones of a memtable for its readers: one list of fragments, brought up to date
 * with each tombstone, so that a read between two of them pays for a binary search and not for
 * fragmenting anew.
 *
 * Invariants:
 *  1. Tombstones come with rising sequences, so a new one stands first wherever it covers.
 *  2. Of what it covers only sequences stay that some reader can still ask for: a wide tombstone
 *     swallows the narrow ones below it, and a fragment has at most two more sequences than there
 *     are snapshots.
 *  3. A list that was handed out never changes.
 */
import { compareBytes } from '../bytes.ts'
import {
  findFragment,
  fragmentsMemorySize,
  NO_FRAGMENTS,
  type RangeFragment,
  type RangeFragments,
} from './range-fragment.ts'
import { append } from './range-fragmenter.ts'
import { newestOfStripes } from './snapshot-stripes.ts'

export class MemtableRanges {
  #fragments = NO_FRAGMENTS
  #count = 0

  get fragments(): RangeFragments {
    return this.#fragments
  }

  /** Tombstones added. */
  get count(): number {
    return this.#count
  }

  /** Bytes of memory, roughly. */
  get memorySize(): number {
    return fragmentsMemorySize(this.#fragments)
  }

  /**
   * Adds a tombstone over [start, end), which the list keeps. `readers` are the sequences at which
   * somebody reads or may come to read, ascending, besides the newest state.
   */
  add(start: Uint8Array, end: Uint8Array, sequence: number, readers: Float64Array): void {
    this.#count++
    const old = this.#fragments
    const from = findFragment(old, start, 0, start.length)
    const changed: RangeFragment[] = []
    let reached = start
    let to = from
    for (; to < old.length; to++) {
      const fragment = old[to]!
      if (compareBytes(fragment.start, end) >= 0) break
      if (compareBytes(fragment.start, start) < 0) append(changed, { ...fragment, end: start })
      if (compareBytes(reached, fragment.start) < 0) {
        append(changed, { start: reached, end: fragment.start, sequences: [sequence] })
        reached = fragment.start
      }
      const isWhole = compareBytes(fragment.end, end) <= 0
      const sequences = newestOfStripes([sequence, ...fragment.sequences], readers)
      append(changed, { start: reached, end: isWhole ? fragment.end : end, sequences })
      if (!isWhole) append(changed, { ...fragment, start: end })
      reached = isWhole ? fragment.end : end
    }
    if (compareBytes(reached, end) < 0)
      append(changed, { start: reached, end, sequences: [sequence] })
    this.#fragments = old.slice(0, from).concat(changed, old.slice(to))
  }
}
