/**
 * The bytes that leave a connection next, gathered from everything that one tick has to say.
 *
 * Codecs reserve what they need and write at the offsets they got: `bytes` and `view` are public,
 * and replaced when the buffer grows, so they are read again after every reservation. Keys and
 * values are copied in, so that one buffer goes out in one write; a copy of a hundred bytes is
 * cheaper than an entry in a vectored write.
 */
import { assert } from '../assert.ts'

/** What a buffer has from the first byte on, and goes back to after a burst. */
const CAPACITY_MIN = 16 * 1024
/** A larger buffer is not kept once it is empty. */
const CAPACITY_KEPT_MAX = 256 * 1024
const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/** Has no memory before something is said: of connections that are begun, many come to nothing. */
export class OutputBuffer {
  bytes: Uint8Array<ArrayBuffer> = NO_BYTES
  view: DataView = NO_VIEW
  /** Bytes written so far. */
  length = 0
  readonly #capacityMin: number

  constructor(capacity = CAPACITY_MIN) {
    this.#capacityMin = capacity
  }

  /** Makes room for `size` bytes at the end and returns where they begin. */
  reserve(size: number): number {
    const at = this.length
    const needed = at + size
    if (needed > this.bytes.length) this.#grow(needed)
    this.length = needed
    return at
  }

  /** Forgets everything from `length` on: a message that could not be completed. */
  truncate(length: number): void {
    assert(length <= this.length, 'only written bytes are taken back')
    this.length = length
  }

  /** The bytes written so far, borrowed until the next call. */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** The same, as what a socket would wrap it into. */
  get writtenBuffer(): Buffer {
    return Buffer.from(this.bytes.buffer, 0, this.length)
  }

  /** Starts again in the same memory. Requires that nobody holds `written` any more. */
  reset(): void {
    this.length = 0
    if (this.bytes.length > CAPACITY_KEPT_MAX) this.release()
  }

  /** Starts again in new memory: `written` now belongs to whoever holds it. */
  release(): void {
    this.length = 0
    this.bytes = NO_BYTES
    this.view = NO_VIEW
  }

  #grow(needed: number): void {
    const previous = this.bytes
    this.bytes = new Uint8Array(Math.max(needed, previous.length * 2, this.#capacityMin))
    this.view = new DataView(this.bytes.buffer)
    this.bytes.set(previous.subarray(0, this.length))
  }
}
