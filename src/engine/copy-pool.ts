/**
 * Copies of values for callers, cheaply. An array of more than 64 bytes costs most of a microsecond
 * to allocate, several times the lookup that found the value (measured: 480 ns for 100 bytes, 110
 * ns from a pool), so small copies are cut from shared buffers, as Node cuts its Buffers.
 *
 * The price: a caller who keeps one small copy keeps its POOL_SIZE bytes, so a copy costs at most
 * that. The shared buffers cannot be transferred to another thread (that would empty the copies of
 * others); posting a copy clones it.
 *
 * A scan takes values that follow one another in a block. Two such in a row, and what comes behind
 * them is copied into the shared buffer as well, as much as it has room for: then the next values
 * are there already, and only a view is made (22 ns instead of 107 for 100 bytes, a fifth of a full
 * scan).
 *
 * Invariant: what was copied ahead is used only while nothing else was copied since, and where it
 * came from has surely not changed.
 */
import { forbidTransfer } from './worker-transfer.ts'

const NOTHING: Uint8Array = new Uint8Array(0)

/** Arrays of up to this many bytes are cheap without a pool. */
const HEAP_SIZE_MAX = 64
/** Longer copies have a buffer of their own. */
const POOLED_SIZE_MAX = 512
const POOL_SIZE = 4096

export class CopyPool {
  #buffer = new ArrayBuffer(0)
  #used = 0
  /** Where the copy before was taken from, and where it ended. */
  #source: Uint8Array = NOTHING
  #sourceEnd = 0
  /** Up to there the source was copied to the buffer from #used on; 0: nothing was. */
  #aheadEnd = 0
  #borrow = 0

  /** What was copied before this call says nothing of what its sources hold now. */
  forget(): void {
    this.#source = NOTHING
  }

  /**
   * copy() for one that is likely to follow the one before. Since a call with the same number
   * `borrow`, unless forget() came between, what its source held has stayed where it is.
   */
  copyNext(source: Uint8Array, start: number, end: number, borrow: number): Uint8Array {
    const length = end - start
    const follows = source === this.#source && start === this.#sourceEnd && borrow === this.#borrow
    this.#source = source
    this.#sourceEnd = end
    this.#borrow = borrow
    if (!follows || length <= HEAP_SIZE_MAX || length > POOLED_SIZE_MAX) {
      return this.copy(source, start, end)
    }
    if (end > this.#aheadEnd) this.#copyAhead(source, start, length)
    const at = this.#used
    this.#used = at + length
    return new Uint8Array(this.#buffer, at, length)
  }

  /** Copies what the buffer at hand has room for; where that is less than `length`, a new one. */
  #copyAhead(source: Uint8Array, start: number, length: number): void {
    if (this.#used + length > this.#buffer.byteLength) this.#renew()
    const room = this.#buffer.byteLength - this.#used
    this.#aheadEnd = Math.min(start + room, source.length)
    new Uint8Array(this.#buffer).set(source.subarray(start, this.#aheadEnd), this.#used)
  }

  /** `source[start, end)` in an array that belongs to the caller. */
  copy(source: Uint8Array, start: number, end: number): Uint8Array {
    this.#aheadEnd = 0
    const length = end - start
    if (length <= HEAP_SIZE_MAX || length > POOLED_SIZE_MAX) return source.slice(start, end)
    if (this.#used + length > this.#buffer.byteLength) this.#renew()
    const at = this.#used
    this.#used = at + length
    const copy = new Uint8Array(this.#buffer, at, length)
    // Quicker than a loop from here on, though it makes a view: 83 ns against 185 for 100 bytes.
    copy.set(source.subarray(start, end))
    return copy
  }

  #renew(): void {
    this.#buffer = new ArrayBuffer(POOL_SIZE)
    forbidTransfer(this.#buffer)
    this.#used = 0
  }
}
