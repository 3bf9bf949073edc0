/**
 * What a reader sees of internal entries: of each key the newest version that its snapshot knows,
 * unless that is a tombstone or has expired.
 *
 * Invariants:
 *  1. Each key is shown at most once, in both directions, and with its user's value alone.
 *  2. After an error of the source, BlockMiss included, the cursor is not valid until a seek.
 */
import { AssertionError, assert } from '../assert.ts'
import type { Cursor } from './cursor.ts'
import { EntryKind, EXPIRY_SIZE, NO_SEQUENCE, readExpiry } from './internal-key.ts'

/** No version of a key stands before this sequence. */
const NEWEST = Number.MAX_SAFE_INTEGER
/** Arrays of up to 64 bytes are cheap to make; a cursor is made for every scan. */
const KEY_SIZE_START = 64
const VALUE_SIZE_START = 4096
const NOTHING: Uint8Array = new Uint8Array(0)

export class VisibleCursor {
  /** False before the first seek, past either end, and after an error. */
  valid = false
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
  /**
   * In forward direction the source stands on the shown entry. In reverse it stands before all
   * versions of the shown key, or is not valid; the entry is in the copies below.
   */
  #isReverse = false
  /** A copy of the key at hand; in reverse that is the shown one. */
  #key = new Uint8Array(KEY_SIZE_START)
  #keyLength = 0
  #value = NOTHING
  #valueLength = 0

  /** Shows what a snapshot at `maxSequence` sees when the wall clock says `wallMs`. */
  constructor(source: Cursor, maxSequence: number, wallMs: number) {
    this.#source = source
    this.#maxSequence = maxSequence
    this.#wallMs = wallMs
  }

  seekToFirst(): void {
    this.valid = false
    this.#source.seekToFirst()
    this.#findForward()
  }

  seekToLast(): void {
    this.valid = false
    this.#source.seekToLast()
    this.#findReverse()
  }

  /** Moves to the first visible key at or after the given one. */
  seek(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.valid = false
    this.#source.seek(key, keyStart, keyEnd, this.#maxSequence)
    this.#findForward()
  }

  /** seek() to behind the shown key, and behind where every seek before went. Requires valid. */
  seekOnward(key: Uint8Array, keyStart: number, keyEnd: number): void {
    assert(this.valid && !this.#isReverse, 'a cursor moves onward from an entry')
    this.valid = false
    this.#source.seekOnward(key, keyStart, keyEnd, this.#maxSequence)
    this.#findForward()
  }

  /** Moves to the last visible key before the given one. */
  seekBefore(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.valid = false
    // The first entry of the key stands behind everything that comes before the key.
    this.#seekSourceBefore(key, keyStart, keyEnd, NEWEST)
    this.#findReverse()
  }

  /** Moves to the last visible key at or before the given one. */
  seekAtOrBefore(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.valid = false
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
    const source = this.#source
    if (this.#isReverse) {
      source.seek(this.#key, 0, this.#keyLength, 0)
      if (source.valid && isKey(source, this.#key, 0, this.#keyLength)) source.next()
    } else {
      this.#copyKey()
      this.#skipKey()
    }
    this.#findForward()
  }

  /** Requires valid. */
  prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    if (!this.#isReverse) {
      this.#copyKey()
      this.#seekSourceBefore(this.#key, 0, this.#keyLength, NEWEST)
    }
    this.#findReverse()
  }

  /** Shows the first visible entry at or behind the source's, whose key is not half done. */
  #findForward(): void {
    this.#isReverse = false
    const source = this.#source
    while (source.valid) {
      if (source.sequence > this.#maxSequence) {
        source.next()
        continue
      }
      if (this.#isAlive(source.kind, source.valueBytes, source.valueStart)) {
        this.#showSource()
        return
      }
      this.#copyKey()
      this.#skipKey()
    }
  }

  /** Moves the source behind the versions of the key that was copied. It stands on one of them. */
  #skipKey(): void {
    const source = this.#source
    do source.next()
    while (source.valid && isKey(source, this.#key, 0, this.#keyLength))
  }

  /** Shows the last visible key at or before the source's, with all versions still ahead. */
  #findReverse(): void {
    this.#isReverse = true
    const source = this.#source
    while (source.valid) {
      this.#copyKey()
      // From the oldest version to the newest that is visible.
      let kind = 0
      do {
        if (source.sequence <= this.#maxSequence) {
          kind = source.kind
          this.sequence = source.sequence
          this.#copyValue()
        }
        source.prev()
      } while (source.valid && isKey(source, this.#key, 0, this.#keyLength))
      if (kind !== 0 && this.#isAlive(kind, this.#value, 0)) {
        this.#showCopies(kind)
        return
      }
    }
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
    this.valueStart = kind === EntryKind.putExpiring ? EXPIRY_SIZE : 0
    this.valueEnd = this.#valueLength
    this.valid = true
  }

  /** Puts the source on the last entry before (key, sequence). */
  #seekSourceBefore(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    const source = this.#source
    source.seek(key, keyStart, keyEnd, sequence)
    if (source.valid) source.prev()
    else source.seekToLast()
  }

  #copyKey(): void {
    const { keyBytes, keyStart, keyEnd } = this.#source
    const length = keyEnd - keyStart
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2)
    const copy = this.#key
    for (let index = 0; index < length; index++) copy[index] = keyBytes[keyStart + index]!
    this.#keyLength = length
  }

  #copyValue(): void {
    const { valueBytes, valueStart, valueEnd } = this.#source
    const length = valueEnd - valueStart
    if (length > this.#value.length) this.#value = new Uint8Array(length + VALUE_SIZE_START)
    this.#value.set(valueBytes.subarray(valueStart, valueEnd))
    this.#valueLength = length
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
