/**
 * Range tombstones as fragments: stretches of keys, each with the sequences of all tombstones that
 * cover it. Tombstones overlap as they please; fragments of one list ascend and do not overlap, so
 * a binary search tells what covers a key. (The idea is RocksDB's and Pebble's.)
 *
 *   tombstones   a-----------f @5        c-----h @9
 *   fragments    a--c @5   c-----f @9,5   f--h @9
 *
 * A tombstone hides the entries of its keys with smaller sequences from all readers that know it.
 *
 * Invariants of a list:
 *  1. Fragments ascend; start < end <= start of the next one. Neighbours may touch.
 *  2. The sequences of a fragment fall, and there is at least one.
 *  3. Starts are keys. Ends are keys, or END_OF_KEYS.
 */
import { compareBytes, compareRanges, keyAfter } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'

export interface RangeFragment {
  /** The first key. */
  readonly start: Uint8Array
  /** The first key after it. */
  readonly end: Uint8Array
  /** Of the tombstones that cover it, newest first. */
  readonly sequences: readonly number[]
}

export type RangeFragments = readonly RangeFragment[]

export const NO_FRAGMENTS: RangeFragments = []

/** The end of a range that has none: behind every key. */
export const END_OF_KEYS: Uint8Array = new Uint8Array(KEY_SIZE_MAX + 1).fill(0xff)

/** Bytes of memory that a fragment takes besides its keys, roughly. */
const FRAGMENT_OVERHEAD = 320

/** The index of the first fragment that ends behind the key; the length when none does. */
export function findFragment(
  fragments: RangeFragments,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): number {
  let low = 0
  let high = fragments.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const { end } = fragments[middle]!
    if (compareRanges(end, 0, end.length, key, keyStart, keyEnd) <= 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Whether the fragment begins at or before the key. */
export function beginsAtOrBefore(
  { start }: RangeFragment,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): boolean {
  return compareRanges(start, 0, start.length, key, keyStart, keyEnd) <= 0
}

/**
 * The sequence of the newest tombstone over the key that a reader at `maxSequence` knows; 0 when
 * there is none.
 */
export function coveringSequence(
  fragments: RangeFragments,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  maxSequence: number,
): number {
  const fragment = fragments[findFragment(fragments, key, keyStart, keyEnd)]
  if (fragment === undefined || !beginsAtOrBefore(fragment, key, keyStart, keyEnd)) return 0
  return newestKnown(fragment, maxSequence)
}

/** The newest of the fragment's sequences that is at most `maxSequence`; 0 when none is. */
export function newestKnown({ sequences }: RangeFragment, maxSequence: number): number {
  for (const sequence of sequences) if (sequence <= maxSequence) return sequence
  return 0
}

/** The end of a range whose last key is `key`. */
export function endAfter(key: Uint8Array): Uint8Array {
  return keyAfter(key, KEY_SIZE_MAX) ?? END_OF_KEYS
}

/** The larger of two keys of which either may be missing. */
export function largerKey(
  a: Uint8Array | undefined,
  b: Uint8Array | undefined,
): Uint8Array | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return compareBytes(a, b) < 0 ? b : a
}

/** A key that no key below `end` exceeds: the last one before it where that can be named. */
export function lastKeyBefore(end: Uint8Array): Uint8Array {
  if (end.length > KEY_SIZE_MAX || end.at(-1) === 0) return end.subarray(0, end.length - 1)
  return end
}

/** What of the fragments lies before `end`. */
export function fragmentsBefore(fragments: RangeFragments, end: Uint8Array): RangeFragments {
  const count = findFragment(fragments, end, 0, end.length)
  const last = fragments[count]
  const before = fragments.slice(0, count)
  if (last === undefined || compareBytes(last.start, end) >= 0) return before
  return [...before, { ...last, end }]
}

/** Bytes of memory that a list takes, roughly. */
export function fragmentsMemorySize(fragments: RangeFragments): number {
  let size = fragments.length * FRAGMENT_OVERHEAD
  for (const { start, end, sequences } of fragments) {
    size += start.length + (end === END_OF_KEYS ? 0 : end.length) + sequences.length * 8
  }
  return size
}

export function sameSequences(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((sequence, index) => sequence === b[index]))
}
