/**
 * The chunk of a range read while it is gathered: what it holds so far, when it is full, and where
 * its next slice goes on.
 */
import type { CopyPool } from './copy-pool.ts'
import { compareKey, RangeProgress, seekPlace } from './range-progress.ts'
import type { RangeChunk, RangeRead } from './range-read.ts'
import { copyInSlices, LARGE_SIZE_MIN, uninitialized } from './slices.ts'
import type { CursorPlace, VisibleCursor } from './visible-cursor.ts'

/** A value that is copied later: bytes[start, end). */
interface LargeValue {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/**
 * The entries gathered so far, and where to go on. The range is taken apart once: ranges come in
 * many shapes, and looking up their properties for each entry took a tenth of a scan.
 */
export class Chunk implements RangeChunk {
  readonly keys: Uint8Array[] = []
  readonly values: Uint8Array[] = []
  size = 0
  done = false
  readonly reverse: boolean
  readonly #first: Uint8Array | undefined
  readonly #isFirstWanted: boolean
  readonly #last: Uint8Array | undefined
  readonly #isLastWanted: boolean
  readonly #keysOnly: boolean
  readonly #countMax: number
  readonly #bytesMax: number
  readonly #keyCopies: CopyPool
  readonly #valueCopies: CopyPool
  #count = 0
  /** The last value, if that is a large one: its copy has still to be filled. */
  #large: LargeValue | undefined
  readonly #progress = new RangeProgress()

  /** Keys and values have a pool each: a key between two values would part them. */
  constructor(range: RangeRead, keyCopies: CopyPool, valueCopies: CopyPool) {
    const { gt, gte, lt, lte } = range
    this.reverse = range.reverse
    this.#first = gt ?? gte
    this.#isFirstWanted = gt === undefined
    this.#last = lt ?? lte
    this.#isLastWanted = lt === undefined
    this.#keysOnly = range.keysOnly
    this.#countMax = range.countMax
    this.#bytesMax = range.bytesMax
    this.#keyCopies = keyCopies
    this.#valueCopies = valueCopies
  }

  /** How often it got on. */
  get advances(): number {
    return this.#progress.advances
  }

  /** The memory of the large value with which the slice ended, for copyLarge(). */
  get largeIn(): ArrayBufferLike | undefined {
    return this.#large?.bytes.buffer
  }

  /** Requires largeIn, which must stay as it is until this resolves. */
  async copyLarge(): Promise<void> {
    const { bytes, start, end } = this.#large!
    await copyInSlices(bytes, start, end, this.values.at(-1)!, 0)
    this.#large = undefined
  }

  /** Whether it takes no more. */
  get isFull(): boolean {
    const count = this.#count
    return count >= this.#countMax || (this.size >= this.#bytesMax && count > 0)
  }

  /** The next slice goes on there; undefined: nothing was passed in this one. */
  advanceTo(place: CursorPlace | undefined): void {
    this.#progress.advanceTo(place)
  }

  /** No wanted key is smaller; undefined when there is no bound. */
  get smallest(): Uint8Array | undefined {
    return (this.reverse ? undefined : this.#progress.place?.key) ?? this.#first
  }

  /** No wanted key is larger; undefined when there is no bound. */
  get largest(): Uint8Array | undefined {
    return (this.reverse ? this.#progress.place?.key : undefined) ?? this.#last
  }

  /** Puts the cursor on the first entry that is wanted and not yet passed. */
  seek(cursor: VisibleCursor): void {
    const { reverse } = this
    const { place } = this.#progress
    const start = reverse ? this.#last : this.#first
    const isWanted = reverse ? this.#isLastWanted : this.#isFirstWanted
    if (place !== undefined) seekPlace(cursor, place, reverse)
    else if (start !== undefined) seekPlace(cursor, { key: start, isDone: !isWanted }, reverse)
    else if (reverse) cursor.seekToLast()
    else cursor.seekToFirst()
  }

  /**
   * Takes the cursor's entry. Returns false when the chunk is complete, or a large value is to be
   * copied (largeIn): its place does not outlive the slice, and copying it takes turns of its own.
   * What an entry before was borrowed from is unchanged if `borrow` is.
   */
  take(cursor: VisibleCursor, borrow: number): boolean {
    if (!cursor.valid || this.#isPastEnd(cursor)) {
      this.done = true
      return false
    }
    if (this.isFull) return false
    const count = this.#count
    const { keyStart, keyEnd, valueStart, valueEnd } = cursor
    // Not push(): these arrays begin as arrays of numbers for the compiler, which then calls it.
    this.keys[count] = this.#keyCopies.copy(cursor.keyBytes, keyStart, keyEnd)
    this.#count = count + 1
    this.size += keyEnd - keyStart
    if (this.#keysOnly) return true
    const size = valueEnd - valueStart
    this.size += size
    if (size > LARGE_SIZE_MIN) {
      this.values[count] = uninitialized(size)
      this.#large = { bytes: cursor.valueBytes, start: valueStart, end: valueEnd }
      this.#progress.advanceTo({ key: this.keys[count], isDone: true })
      return false
    }
    this.values[count] = this.#valueCopies.copyNext(cursor.valueBytes, valueStart, valueEnd, borrow)
    return true
  }

  #isPastEnd(cursor: VisibleCursor): boolean {
    if (this.reverse) {
      const first = this.#first
      if (first === undefined) return false
      const order = compareKey(cursor, first)
      return order < 0 || (order === 0 && !this.#isFirstWanted)
    }
    const last = this.#last
    if (last === undefined) return false
    const order = compareKey(cursor, last)
    return order > 0 || (order === 0 && !this.#isLastWanted)
  }
}
