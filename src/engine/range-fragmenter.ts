/**
 * Makes one list of fragments (range-fragment.ts) of tombstones that overlap: those of a memtable,
 * or the fragments of several tables. Runs in jobs, over all of them at once; memtables keep their
 * own lists up to date one tombstone at a time (memtable-ranges.ts).
 */
import { assert } from '../assert.ts'
import { compareBytes } from '../bytes.ts'
import { type RangeFragment, type RangeFragments, sameSequences } from './range-fragment.ts'
import { newestOfStripes } from './snapshot-stripes.ts'

/**
 * The fragments of all `tombstones`, which may overlap and stand in any order. Of the sequences
 * over a key the newest of each stripe stays: no reader can tell the others from it.
 */
export function fragmentTombstones(
  tombstones: RangeFragments,
  snapshots: Float64Array,
): RangeFragments {
  const byStart = [...tombstones].sort((a, b) => compareBytes(a.start, b.start))
  const byEnd = [...tombstones].sort((a, b) => compareBytes(a.end, b.end))
  const fragments: RangeFragment[] = []
  /** Of the tombstones over the stretch at hand; they fall. */
  const active: number[] = []
  let started = 0
  let ended = 0
  while (ended < byEnd.length) {
    const at = nextBoundary(byStart[started]?.start, byEnd[ended]!.end)
    for (; ended < byEnd.length && compareBytes(byEnd[ended]!.end, at) === 0; ended++) {
      for (const sequence of byEnd[ended]!.sequences) remove(active, sequence)
    }
    for (; started < byStart.length && compareBytes(byStart[started]!.start, at) === 0; started++) {
      for (const sequence of byStart[started]!.sequences) insert(active, sequence)
    }
    if (active.length === 0) continue
    const end = nextBoundary(byStart[started]?.start, byEnd[ended]!.end)
    append(fragments, { start: at, end, sequences: newestOfStripes(active, snapshots) })
  }
  return fragments
}

function nextBoundary(start: Uint8Array | undefined, end: Uint8Array): Uint8Array {
  return start !== undefined && compareBytes(start, end) < 0 ? start : end
}

/** Adds a fragment behind the last one, or to it when nothing tells them apart. */
export function append(fragments: RangeFragment[], fragment: RangeFragment): void {
  const last = fragments.at(-1)
  const joins =
    last !== undefined &&
    sameSequences(last.sequences, fragment.sequences) &&
    compareBytes(last.end, fragment.start) === 0
  if (joins) fragments[fragments.length - 1] = { ...last, end: fragment.end }
  else fragments.push(fragment)
}

function insert(falling: number[], sequence: number): void {
  falling.splice(placeOf(falling, sequence), 0, sequence)
}

function remove(falling: number[], sequence: number): void {
  const place = placeOf(falling, sequence)
  assert(falling[place] === sequence, 'what ends has begun')
  falling.splice(place, 1)
}

/** The first place with a sequence of at most `sequence`. */
function placeOf(falling: readonly number[], sequence: number): number {
  let low = 0
  let high = falling.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (falling[middle]! > sequence) low = middle + 1
    else high = middle
  }
  return low
}
