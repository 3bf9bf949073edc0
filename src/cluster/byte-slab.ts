/**
 * One allocation for many small byte strings that live and die together, as those of a batch: an
 * array with memory of its own costs ten times a view, and the collector counts each.
 */
import { assert } from '../assert.ts'

/** A new array of so many zero bytes. */
export type Allocate = (size: number) => Uint8Array

export function allocateAlone(size: number): Uint8Array {
  return new Uint8Array(size)
}

/** Room for `capacity` bytes, handed out from the front; never more. */
export function slabAllocator(capacity: number): Allocate {
  const slab = new Uint8Array(capacity)
  let used = 0
  return size => {
    assert(used + size <= capacity, 'the slab was made large enough')
    used += size
    return slab.subarray(used - size, used)
  }
}

/** As allocateAlone, but small arrays are cut from shared ones of `chunkSize` bytes. */
export function chunkAllocator(chunkSize: number): Allocate {
  let chunk = new Uint8Array(0)
  let used = 0
  return size => {
    if (size > chunkSize / 4) return new Uint8Array(size)
    if (used + size > chunk.length) {
      chunk = new Uint8Array(chunkSize)
      used = 0
    }
    used += size
    return chunk.subarray(used - size, used)
  }
}
