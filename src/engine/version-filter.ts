/**
 * Which versions of a key a flush or compaction keeps. Asked for each entry, in internal order.
 *
 * A reader sees of a key the newest version in its stripe (snapshot-stripes.ts) or below, so of
 * each stripe the newest one survives, unless a range tombstone of the same stripe hides it.
 *
 * A tombstone or an expired entry that survives so far still hides what is older. It can go when
 *  - it is in the oldest stripe: all that is older in the inputs goes with it;
 *  - no table below the output can hold its key;
 *  - its sequence is below the purge bound, which the layer above sets.
 */
import { assert } from '../assert.ts'
import { compareBytes, compareRanges } from '../bytes.ts'
import type { Cursor } from './cursor.ts'
import { EntryKind, readExpiry } from './internal-key.ts'
import { beginsAtOrBefore, type RangeFragments } from './range-fragment.ts'
import { stripeOf } from './snapshot-stripes.ts'

const KEY_SIZE_START = 256

export interface KeySpan {
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
}

/** When tombstones and expired entries may go. */
export interface PurgeRule {
  /** Tables below the output, ascending by smallest key. */
  readonly deeper: readonly KeySpan[]
  readonly bound: number
  readonly wallMs: number
}

export class VersionFilter {
  /** Whether the last entry asked for begins another key than the one before. */
  isNewKey = false
  /** How the last entry's key compares with the one before: never positive in an intact run. */
  order = -1
  readonly #snapshots: Float64Array
  readonly #purge: PurgeRule | undefined
  readonly #ranges: RangeFragments
  /** The first of #ranges that ends behind the key at hand. */
  #range = 0
  #key = new Uint8Array(KEY_SIZE_START)
  #keyLength = 0
  /** Sequence and stripe of the version before, of the same key. */
  #sequence = 0
  #stripe = -1
  #started = false
  /** Tables of `deeper` that begin at or before the key at hand, and the farthest end of them. */
  #passedCount = 0
  #passedEnd: Uint8Array | undefined

  /**
   * `snapshots` ascend. Without a purge rule tombstones and expired entries stay. `ranges` are the
   * range tombstones of all inputs together, also those that the outputs will lack.
   */
  constructor(snapshots: Float64Array, purge: PurgeRule | undefined, ranges: RangeFragments) {
    for (let index = 1; index < snapshots.length; index++) {
      assert(snapshots[index - 1]! <= snapshots[index]!, 'snapshots ascend')
    }
    this.#snapshots = snapshots
    this.#purge = purge
    this.#ranges = ranges
  }

  /** Whether the cursor's entry is still needed. Sets isNewKey and order. */
  keeps(cursor: Cursor): boolean {
    const { keyBytes, keyStart, keyEnd, sequence } = cursor
    this.#compare(keyBytes, keyStart, keyEnd, sequence)
    if (this.isNewKey) {
      this.#copyKey(keyBytes, keyStart, keyEnd)
      this.#stripe = -1
    }
    this.#sequence = sequence
    const stripe = stripeOf(this.#snapshots, sequence)
    if (stripe === this.#stripe) return false
    this.#stripe = stripe
    if (this.#range < this.#ranges.length && this.#isCovered(cursor, stripe)) return false
    return stripe > 0 || !this.#canPurge(cursor)
  }

  #compare(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    if (!this.#started) {
      this.#started = true
      this.isNewKey = true
      return
    }
    const order = compareRanges(this.#key, 0, this.#keyLength, key, keyStart, keyEnd)
    this.isNewKey = order !== 0
    this.order = order !== 0 ? order : sequence < this.#sequence ? -1 : 1
  }

  /** Whether whoever knows the entry also knows a range tombstone that hides it. */
  #isCovered({ keyBytes, keyStart, keyEnd, sequence }: Cursor, stripe: number): boolean {
    const ranges = this.#ranges
    for (; this.#range < ranges.length; this.#range++) {
      const range = ranges[this.#range]!
      if (compareRanges(range.end, 0, range.end.length, keyBytes, keyStart, keyEnd) <= 0) continue
      if (!beginsAtOrBefore(range, keyBytes, keyStart, keyEnd)) return false
      return range.sequences.some(
        other => other > sequence && stripeOf(this.#snapshots, other) === stripe,
      )
    }
    return false
  }

  #canPurge(cursor: Cursor): boolean {
    const purge = this.#purge
    if (purge === undefined || cursor.kind === EntryKind.put) return false
    if (cursor.sequence >= purge.bound) return false
    if (
      cursor.kind === EntryKind.putExpiring &&
      readExpiry(cursor.valueBytes, cursor.valueStart) > purge.wallMs
    ) {
      return false
    }
    return !this.#mayBeDeeper(purge.deeper)
  }

  /** Whether a deeper table spans the key at hand. Keys ascend, so tables are passed once. */
  #mayBeDeeper(deeper: readonly KeySpan[]): boolean {
    const key = this.#key
    const length = this.#keyLength
    for (; this.#passedCount < deeper.length; this.#passedCount++) {
      const { smallestKey, largestKey } = deeper[this.#passedCount]!
      if (compareRanges(smallestKey, 0, smallestKey.length, key, 0, length) > 0) break
      if (this.#passedEnd === undefined || compareBytes(this.#passedEnd, largestKey) < 0) {
        this.#passedEnd = largestKey
      }
    }
    const end = this.#passedEnd
    return end !== undefined && compareRanges(end, 0, end.length, key, 0, length) >= 0
  }

  #copyKey(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2)
    const copy = this.#key
    for (let index = 0; index < length; index++) copy[index] = bytes[start + index]!
    this.#keyLength = length
  }
}
