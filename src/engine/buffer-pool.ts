/**
 * Large buffers that are used again, by one thread. A buffer that has outlived two small garbage
 * collections is freed by a full one only, and for the sake of such memory alone V8 begins one
 * first when 64 MiB of it are dead. Merging tables with new buffers for each kept a job thread at
 * 60 MiB; with these it stays near what it uses at once.
 *
 * Invariants:
 *  1. A buffer is with the pool or with the one who took it, never with two.
 *  2. Lengths are powers of two, so that buffers fit many uses; their contents are old.
 *  3. What lies here unused stays within `spareBytesMax`.
 */
import { assert } from '../assert.ts'
import { uninitialized } from './slices.ts'

const SIZE_MIN = 4096
/** Log2 of the largest length. */
const ORDER_MAX = 30

export class BufferPool {
  /** By log2 of their length. */
  readonly #spare: Uint8Array<ArrayBuffer>[][] = Array.from({ length: ORDER_MAX + 1 }, () => [])
  readonly #spareBytesMax: number
  #spareBytes = 0

  constructor(spareBytesMax: number) {
    this.#spareBytesMax = spareBytesMax
  }

  get spareBytes(): number {
    return this.#spareBytes
  }

  /** A buffer of at least `size` bytes, with whatever is in it. */
  take(size: number): Uint8Array<ArrayBuffer> {
    const order = orderOf(Math.max(size, SIZE_MIN))
    if (order > ORDER_MAX) return new Uint8Array(size)
    const spare = this.#spare[order]!.pop()
    if (spare === undefined) return uninitialized(2 ** order)
    this.#spareBytes -= spare.length
    return spare
  }

  /** Takes back what take() gave, which nobody may use after it. */
  giveBack(bytes: Uint8Array<ArrayBuffer>): void {
    const order = orderOf(bytes.length)
    if (order > ORDER_MAX || this.#spareBytes + bytes.length > this.#spareBytesMax) return
    assert(bytes.length === 2 ** order && bytes.byteOffset === 0, 'the buffer is of a pool')
    assert(!this.#spare[order]!.includes(bytes), 'a buffer is given back once')
    this.#spareBytes += bytes.length
    this.#spare[order]!.push(bytes)
  }

  /** A buffer of at least `size` bytes that begins with those of `bytes`, which comes back. */
  enlarge(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
    const larger = this.take(size)
    larger.set(bytes)
    this.giveBack(bytes)
    return larger
  }
}

/** The least power of two that is not below `size`, as its exponent. */
function orderOf(size: number): number {
  return size <= 1 ? 0 : 32 - Math.clz32(size - 1)
}
