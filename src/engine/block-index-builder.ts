/** Collects the index of a table while it is written (format: block-index.ts). */
import { assert } from '../assert.ts'
import { varintSize, writeVarint } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import type { BufferPool } from './buffer-pool.ts'

const COUNT_SIZE = 4

/**
 * Writes to `target` a short separator that is at least `last[0, lastEnd)` and less than
 * `next[nextStart, nextEnd)`, or `last` itself when both are the same key. Returns its length.
 */
export function writeSeparator(
  last: Uint8Array,
  lastEnd: number,
  next: Uint8Array,
  nextStart: number,
  nextEnd: number,
  target: Uint8Array,
): number {
  assert(target.length >= lastEnd, 'a separator is never longer than the last key')
  const nextLength = nextEnd - nextStart
  let shared = 0
  while (shared < lastEnd && shared < nextLength && last[shared] === next[nextStart + shared]) {
    shared++
  }
  for (let index = 0; index < lastEnd; index++) target[index] = last[index]!
  // Raising a byte behind the first difference, or the differing byte itself while it stays below
  // that of `next`, gives a greater key that can end there.
  for (let index = shared; index < lastEnd - 1; index++) {
    const limit = index === shared ? next[nextStart + shared]! : 0x100
    if (last[index]! + 1 < limit) {
      target[index] = last[index]! + 1
      return index + 1
    }
  }
  return lastEnd
}

/** Keeps what it collects in lent buffers. */
export class BlockIndexBuilder {
  readonly #buffers: BufferPool
  #bytes: Uint8Array<ArrayBuffer>
  #size = COUNT_SIZE
  #previous: Uint8Array<ArrayBuffer>
  #previousLength = 0
  count = 0

  constructor(buffers: BufferPool) {
    this.#buffers = buffers
    this.#bytes = buffers.take(COUNT_SIZE)
    this.#previous = buffers.take(KEY_SIZE_MAX)
  }

  /** The separator is at most KEY_SIZE_MAX bytes long. */
  add(storedSize: number, separator: Uint8Array): void {
    const previous = this.#previous
    let shared = 0
    const limit = Math.min(this.#previousLength, separator.length)
    while (shared < limit && previous[shared] === separator[shared]) shared++
    const rest = separator.length - shared
    const sizeMax = this.#size + varintSize(storedSize) + 2 * varintSize(KEY_SIZE_MAX) + rest
    if (sizeMax > this.#bytes.length) this.#bytes = this.#buffers.enlarge(this.#bytes, sizeMax)
    const bytes = this.#bytes
    let at = writeVarint(bytes, this.#size, storedSize)
    at = writeVarint(bytes, at, shared)
    at = writeVarint(bytes, at, rest)
    bytes.set(separator.subarray(shared), at)
    this.#size = at + rest
    previous.set(separator)
    this.#previousLength = separator.length
    this.count++
  }

  /** Borrowed until the buffers go back. */
  finish(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#size)
    new DataView(bytes.buffer).setUint32(0, this.count, true)
    return bytes
  }

  /** Nothing is called after it. */
  giveBuffersBack(): void {
    this.#buffers.giveBack(this.#bytes)
    this.#buffers.giveBack(this.#previous)
  }
}
