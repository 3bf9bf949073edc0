/**
 * How far a read over a range has come, and how a cursor of a later slice goes on there: a slice
 * may pass any number of deleted, expired and old entries without showing one.
 */
import { compareRanges, equalBytes } from '../bytes.ts'
import type { CursorPlace, VisibleCursor } from './visible-cursor.ts'

/** How far a read has come, over all of its slices. */
export class RangeProgress {
  /** Where it goes on; undefined: from where it was to begin. */
  place: CursorPlace | undefined
  /** How often it got on. */
  advances = 0

  /** Keeps where the slice came to, unless that is where it began. */
  advanceTo(place: CursorPlace | undefined): void {
    const before = this.place
    if (place === undefined) return
    if (before?.isDone === place.isDone && equalBytes(before.key, place.key)) return
    this.place = place
    this.advances++
  }

  /** The reader has been shown an entry, and says itself where it goes on. */
  arrived(): void {
    this.place = undefined
    this.advances++
  }
}

/** Puts the cursor on the first visible key from the place on, in the direction of the read. */
export function seekPlace(
  cursor: VisibleCursor,
  { key, isDone }: CursorPlace,
  reverse: boolean,
): void {
  if (reverse) {
    if (isDone) cursor.seekBefore(key, 0, key.length)
    else cursor.seekAtOrBefore(key, 0, key.length)
    return
  }
  if (isDone) cursor.seekBehind(key, 0, key.length)
  else cursor.seek(key, 0, key.length)
}

/** How the cursor's key compares to another one. Requires valid. */
export function compareKey(cursor: VisibleCursor, key: Uint8Array): number {
  return compareRanges(cursor.keyBytes, cursor.keyStart, cursor.keyEnd, key, 0, key.length)
}
