/**
 * What a reader sees of internal entries: of each key the newest version that its snapshot knows,
 * unless that is a tombstone or has expired.
 *
 * Invariants:
 *  1. Each key is shown at most once, in both directions, and with its user's value alone.
 *  2. After an error of the source, BlockMiss included, the cursor is not valid until a seek.
 *  3. So it is once it has taken `stepsMax` steps over entries, shown or hidden: it is paused.
 *     After both, `place` tells where a seek of another cursor goes on.
 *  4. However many versions a key has, few of them are stepped over.
 *  5. Of what is hidden beyond the end of the reader's range, no more than one key is passed; what
 *     is shown may lie beyond it.
 */
import { AssertionError, assert } from '../assert.ts'
import { compareRanges } from '../bytes.ts'
import type { Cursor } from './cursor.ts'
import { EntryKind, EXPIRY_SIZE, NO_SEQUENCE, readExpiry } from './internal-key.ts'
import { LARGE_SIZE_MIN } from './slices.ts'

/** No version of a key stands before this sequence. */
const NEWEST = Number.MAX_SAFE_INTEGER
/** Arrays of up to 64 bytes are cheap to make; a cursor is made for every scan. */
const KEY_SIZE_START = 64
const VALUE_SIZE_START = 4096
/** Versions of a key passed one by one before a seek passes the others. */
const VERSIONS_BEFORE_SEEK = 16
/** What a seek costs, in steps. */
const SEEK_STEPS = 8
/** A small integer to the compiler, as all numbers of steps are. */
const NO_LIMIT = 2 ** 30
const NOTHING: Uint8Array = new Uint8Array(0)

/** How far a cursor has come: no visible key before this one is left, in its direction. */
export interface CursorPlace {
  readonly key: Uint8Array
  /** Whether the key itself is done with, too. */
  readonly isDone: boolean
}

export class VisibleCursor {
  /** False before the first seek, past either end, after an error, and when paused. */
  valid = false
  /** True once the steps are used up and there is more to look at. */
  paused = false
  /** Key: keyBytes[keyStart, keyEnd). Borrowed until the next call. */
  keyBytes = NOTHING
  keyStart = 0
  keyEnd = 0
  sequence = NO_SEQUENCE
  /** Value, as the user gave it: valueBytes[valueStart, valueEnd). Borrowed until the next call. */
  valueBytes = NOTHING
  valueStart = 0
  valueEnd = 0
  readonly #source: Cursor
  readonly #maxSequence: number
  readonly #wallMs: number
  readonly #end: Uint8Array | undefined
  /**
   * In forward direction the source stands on the shown entry. In reverse it stands before all
   * versions of the shown key, or is not valid; the entry is in the copies below. Only a large
   * value stays where it was: its memory is that of a memtable, or its block's alone.
   */
  #isReverse = false
  /** A copy of the key at hand; in reverse that is the shown one. */
  #key = new Uint8Array(KEY_SIZE_START)
  #keyLength = 0
  #valueCopy = NOTHING
  /** The value in reverse: #value[#valueStart, #valueEnd). */
  #value = NOTHING
  #valueStart = 0
  #valueEnd = 0
  #stepsLeft: number
  /** What is known of the key at hand since the last seek; see `place`. */
  #progress: 'none' | 'reached' | 'done' = 'none'

  /**
   * Shows what a snapshot at `maxSequence` sees when the wall clock says `wallMs`, in about
   * `stepsMax` steps. Who reads wants nothing beyond `end`, in his direction.
   */
  constructor(
    source: Cursor,
    maxSequence: number,
    wallMs: number,
    stepsMax = NO_LIMIT,
    end?: Uint8Array,
  ) {
    this.#source = source
    this.#maxSequence = maxSequence
    this.#wallMs = wallMs
    this.#stepsLeft = stepsMax
    this.#end = end
  }

  /** Undefined when it has not come beyond where the last seek went. */
  get place(): CursorPlace | undefined {
    if (this.#progress === 'none') return undefined
    return { key: this.#key.slice(0, this.#keyLength), isDone: this.#progress === 'done' }
  }

  seekToFirst(): void {
    this.#begin()
    this.#source.seekToFirst()
    this.#findForward()
  }

  seekToLast(): void {
    this.#begin()
    this.#source.seekToLast()
    this.#findReverse()
  }

  /** Moves to the first visible key at or after the given one. */
  seek(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.#begin()
    this.#source.seek(key, keyStart, keyEnd, this.#maxSequence)
    this.#findForward()
  }

  /** Moves to the first visible key behind the given one. */
  seekBehind(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.#begin()
    this.#seekSourceBehind(key, keyStart, keyEnd)
    this.#findForward()
  }

  /** seek() to behind the shown key, and behind where every seek before went. Requires valid. */
  seekOnward(key: Uint8Array, keyStart: number, keyEnd: number): void {
    assert(this.valid && !this.#isReverse, 'a cursor moves onward from an entry')
    this.#begin()
    this.#source.seekOnward(key, keyStart, keyEnd, this.#maxSequence)
    this.#findForward()
  }

  /** Moves to the last visible key before the given one. */
  seekBefore(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.#begin()
    // The first entry of the key stands behind everything that comes before the key.
    this.#seekSourceBefore(key, keyStart, keyEnd, NEWEST)
    this.#findReverse()
  }

  /** Moves to the last visible key at or before the given one. */
  seekAtOrBefore(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.#begin()
    const source = this.#source
    source.seek(key, keyStart, keyEnd, 0)
    // A version with sequence 0 is the key's own last one; anything else lies behind the key.
    if (!source.valid) source.seekToLast()
    else if (!isKey(source, key, keyStart, keyEnd)) source.prev()
    this.#findReverse()
  }

  /** Requires valid. */
  next(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    if (this.#isReverse) {
      this.#seekSourceBehind(this.#key, 0, this.#keyLength)
    } else {
      this.#copyKey('done')
      this.#skipKey()
    }
    this.#findForward()
  }

  /** Requires valid. */
  prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    if (!this.#isReverse) {
      this.#copyKey('done')
      this.#seekSourceBefore(this.#key, 0, this.#keyLength, NEWEST)
    }
    this.#findReverse()
  }

  /** Shows the first visible entry at or behind the source's, whose key is not half done. */
  #findForward(): void {
    this.#isReverse = false
    const source = this.#source
    while (source.valid) {
      if (this.#pauses()) return
      if (source.sequence > this.#maxSequence) {
        this.#copyKey('reached')
        this.#skipUnknown()
        if (this.#isBeyondEnd()) return
        continue
      }
      if (this.#isAlive(source.kind, source.valueBytes, source.valueStart)) {
        this.#showSource()
        return
      }
      this.#copyKey('done')
      this.#skipKey()
      if (this.#isBeyondEnd()) return
    }
  }

  /** Whether the key that was passed last, which was not shown, lies beyond the reader's end. */
  #isBeyondEnd(): boolean {
    const end = this.#end
    if (end === undefined) return false
    const order = compareRanges(this.#key, 0, this.#keyLength, end, 0, end.length)
    return this.#isReverse ? order < 0 : order > 0
  }

  /** Moves the source behind the versions of the key that was copied. It stands on one of them. */
  #skipKey(): void {
    const source = this.#source
    for (let steps = 0; steps < VERSIONS_BEFORE_SEEK; steps++) {
      this.#stepsLeft--
      source.next()
      if (!source.valid || !isKey(source, this.#key, 0, this.#keyLength)) return
    }
    this.#stepsLeft -= SEEK_STEPS
    this.#seekSourceBehind(this.#key, 0, this.#keyLength)
  }

  /** Moves the source behind the versions of the copied key that are too new to be seen. */
  #skipUnknown(): void {
    const source = this.#source
    for (let steps = 0; steps < VERSIONS_BEFORE_SEEK; steps++) {
      this.#stepsLeft--
      source.next()
      if (!source.valid || source.sequence <= this.#maxSequence) return
      if (!isKey(source, this.#key, 0, this.#keyLength)) return
    }
    this.#stepsLeft -= SEEK_STEPS
    source.seek(this.#key, 0, this.#keyLength, this.#maxSequence)
  }

  /** Shows the last visible key at or before the source's, with all versions still ahead. */
  #findReverse(): void {
    this.#isReverse = true
    const source = this.#source
    while (source.valid) {
      if (this.#pauses()) return
      this.#copyKey('reached')
      const kind = this.#takeVersions()
      this.#progress = 'done'
      if (kind !== 0 && this.#isAlive(kind, this.#value, this.#valueStart)) {
        this.#showCopies(kind)
        return
      }
      if (this.#isBeyondEnd()) return
    }
  }

  /**
   * Copies the newest visible version of the key that was copied, on whose oldest the source
   * stands, and moves the source before them all. Returns its kind, 0 when none is visible.
   */
  #takeVersions(): number {
    const source = this.#source
    let kind = 0
    for (let steps = 0; steps < VERSIONS_BEFORE_SEEK; steps++) {
      if (source.sequence <= this.#maxSequence) kind = this.#takeVersion()
      this.#stepsLeft--
      source.prev()
      if (!source.valid || !isKey(source, this.#key, 0, this.#keyLength)) return kind
    }
    this.#stepsLeft -= 2 * SEEK_STEPS
    source.seek(this.#key, 0, this.#keyLength, this.#maxSequence)
    if (source.valid && isKey(source, this.#key, 0, this.#keyLength)) kind = this.#takeVersion()
    this.#seekSourceBefore(this.#key, 0, this.#keyLength, NEWEST)
    return kind
  }

  #takeVersion(): number {
    const { kind, sequence } = this.#source
    this.sequence = sequence
    this.#keepValue()
    return kind
  }

  #begin(): void {
    this.valid = false
    this.paused = false
    this.#progress = 'none'
  }

  /** Whether the steps are used up; then it is paused. */
  #pauses(): boolean {
    this.paused = this.#stepsLeft <= 0
    return this.paused
  }

  #isAlive(kind: number, valueBytes: Uint8Array, valueStart: number): boolean {
    if (kind === EntryKind.put) return true
    if (kind === EntryKind.delete) return false
    if (kind === EntryKind.putExpiring) return readExpiry(valueBytes, valueStart) > this.#wallMs
    throw new AssertionError(`memtables and tables hold no entries of kind ${kind}`)
  }

  #showSource(): void {
    const source = this.#source
    this.keyBytes = source.keyBytes
    this.keyStart = source.keyStart
    this.keyEnd = source.keyEnd
    this.sequence = source.sequence
    this.valueBytes = source.valueBytes
    this.valueStart = source.valueStart + (source.kind === EntryKind.putExpiring ? EXPIRY_SIZE : 0)
    this.valueEnd = source.valueEnd
    this.valid = true
  }

  #showCopies(kind: number): void {
    this.keyBytes = this.#key
    this.keyStart = 0
    this.keyEnd = this.#keyLength
    this.valueBytes = this.#value
    this.valueStart = this.#valueStart + (kind === EntryKind.putExpiring ? EXPIRY_SIZE : 0)
    this.valueEnd = this.#valueEnd
    this.valid = true
  }

  /** Puts the source on the first entry of a later key. */
  #seekSourceBehind(key: Uint8Array, keyStart: number, keyEnd: number): void {
    const source = this.#source
    source.seek(key, keyStart, keyEnd, 0)
    if (source.valid && isKey(source, key, keyStart, keyEnd)) source.next()
  }

  /** Puts the source on the last entry before (key, sequence). */
  #seekSourceBefore(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    const source = this.#source
    source.seek(key, keyStart, keyEnd, sequence)
    if (source.valid) source.prev()
    else source.seekToLast()
  }

  /** Copies the source's key, of which so much is known. */
  #copyKey(progress: 'reached' | 'done'): void {
    this.#progress = progress
    const { keyBytes, keyStart, keyEnd } = this.#source
    const length = keyEnd - keyStart
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2)
    const copy = this.#key
    for (let index = 0; index < length; index++) copy[index] = keyBytes[keyStart + index]!
    this.#keyLength = length
  }

  #keepValue(): void {
    const { valueBytes, valueStart, valueEnd } = this.#source
    const length = valueEnd - valueStart
    if (length > LARGE_SIZE_MIN) {
      this.#value = valueBytes
      this.#valueStart = valueStart
      this.#valueEnd = valueEnd
      return
    }
    if (length > this.#valueCopy.length) this.#valueCopy = new Uint8Array(length + VALUE_SIZE_START)
    this.#valueCopy.set(valueBytes.subarray(valueStart, valueEnd))
    this.#value = this.#valueCopy
    this.#valueStart = 0
    this.#valueEnd = length
  }
}

/** Whether the cursor stands on a version of the key. Neighbours differ at the end, if anywhere. */
function isKey(cursor: Cursor, key: Uint8Array, keyStart: number, keyEnd: number): boolean {
  const { keyBytes } = cursor
  let at = cursor.keyEnd
  let from = keyEnd
  if (at - cursor.keyStart !== from - keyStart) return false
  while (from > keyStart) {
    if (keyBytes[--at] !== key[--from]) return false
  }
  return true
}
