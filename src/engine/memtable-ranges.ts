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
 *  3. A list that was handed out never changes: the next tombstone goes into a copy of it. Until
 *     then tombstones go into the same list, in place. (A batch of 10,000 that nest took 8 s with a
 *     copy for each: from 16,384 fragments on an array has a page of its own for V8.)
 */
import { compareBytes } from '../bytes.ts'
import {
  coveringSequence,
  findFragment,
  fragmentsMemorySize,
  type RangeFragment,
  type RangeFragments,
} from './range-fragment.ts'
import { append } from './range-fragmenter.ts'
import { newestOfStripes } from './snapshot-stripes.ts'

/** More fragments than are passed to one call as arguments. */
const SPLICED_AT_ONCE = 1024

export class MemtableRanges {
  #fragments: RangeFragment[] = []
  /** Whether somebody may keep the list. */
  #isHandedOut = false
  #count = 0

  /** The list of now, for whoever keeps it. */
  get fragments(): RangeFragments {
    this.#isHandedOut = true
    return this.#fragments
  }

  /** coveringSequence of the list of now. */
  covering(key: Uint8Array, keyStart: number, keyEnd: number, maxSequence: number): number {
    return coveringSequence(this.#fragments, key, keyStart, keyEnd, maxSequence)
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
    this.#replace(from, to, changed)
  }

  /** Puts `changed` where the fragments [from, to) are. */
  #replace(from: number, to: number, changed: readonly RangeFragment[]): void {
    if (changed.length > SPLICED_AT_ONCE) {
      this.#fragments = this.#fragments.slice(0, from).concat(changed, this.#fragments.slice(to))
    } else {
      if (this.#isHandedOut) this.#fragments = this.#fragments.slice()
      this.#fragments.splice(from, to - from, ...changed)
    }
    this.#isHandedOut = false
  }
}
