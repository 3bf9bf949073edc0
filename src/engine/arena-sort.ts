/**
 * Sorts an arena whose entries stand in the order of their arrival (Skiplist.append), for the flush
 * that ends a recovery. Sorting once takes a quarter of the time of inserting each entry in its
 * place, and it runs on the thread of the flush while the main one replays the next piece of log.
 *
 * Four bytes of the key at a time, as one number with the entry's position behind it, which the
 * runtime sorts natively; entries that are still equal are sorted by the next four bytes.
 *
 *   packed := four bytes of key (32 bits) | position (21 bits)      an exact integer below 2^53
 */
import { assert } from '../assert.ts'
import type { BufferPool } from './buffer-pool.ts'
import { NODE_KEY_OFFSET, type NodeArena } from './node-arena.ts'
import type { Skiplist } from './skiplist.ts'

const POSITION_COUNT = 2 ** 21
/** Entries that one arena may hold to be sorted. */
export const SORTED_COUNT_MAX = POSITION_COUNT
/** Below this many entries comparing whole keys is quicker than another round of packing. */
const INSERTION_COUNT_MAX = 16
/** Bytes of key that a packed number holds. */
const DIGIT_SIZE = 4
/** Keys that agree in so many bytes are compared whole: it bounds the recursion. */
const DEPTH_MAX = 128
/** Bytes of a node's place in the arena. */
const NODE_SIZE = Uint32Array.BYTES_PER_ELEMENT
/** Bytes that the sort needs besides for each node: packed, and where it moves to. */
const SCRATCH_SIZE = Float64Array.BYTES_PER_ELEMENT + NODE_SIZE

/** Puts the list, filled by append() alone, in internal order; with memory of `buffers`, if any. */
export function sortArena(list: Skiplist, buffers?: BufferPool): void {
  const count = list.entryCount
  assert(count <= SORTED_COUNT_MAX, 'positions fit into the packed numbers')
  const lent = buffers?.take(count * NODE_SIZE)
  const nodes = new Uint32Array(lent?.buffer ?? new ArrayBuffer(count * NODE_SIZE), 0, count)
  let index = 0
  for (let node = list.first(); node !== 0; node = list.next(node)) nodes[index++] = node
  sortNodes(list, nodes, buffers)
  list.relink(nodes)
  if (lent !== undefined) buffers?.giveBack(lent)
}

/**
 * Puts nodes of the arena in internal order, at most SORTED_COUNT_MAX; with memory of `buffers`, if
 * given: new arrays for each flush of a thread came to 45 MiB before they were collected.
 */
export function sortNodes(arena: NodeArena, nodes: Uint32Array, buffers?: BufferPool): void {
  const size = nodes.length * SCRATCH_SIZE
  const lent = buffers?.take(size)
  new ArenaSort(arena, nodes, lent?.buffer ?? new ArrayBuffer(size)).sort(0, nodes.length, 0)
  if (lent !== undefined) buffers?.giveBack(lent)
}

class ArenaSort {
  readonly #list: NodeArena
  readonly #nodes: Uint32Array
  readonly #packed: Float64Array
  readonly #moved: Uint32Array

  /** `scratch` has SCRATCH_SIZE bytes for each node. */
  constructor(list: NodeArena, nodes: Uint32Array, scratch: ArrayBuffer) {
    this.#list = list
    this.#nodes = nodes
    this.#packed = new Float64Array(scratch, 0, nodes.length)
    this.#moved = new Uint32Array(scratch, this.#packed.byteLength, nodes.length)
  }

  /** Sorts nodes[from, to), whose keys agree in their first `depth` bytes. */
  sort(from: number, to: number, depth: number): void {
    if (to - from <= INSERTION_COUNT_MAX) this.#insertionSort(from, to)
    else if (depth >= DEPTH_MAX || !this.#anyLongerThan(depth, from, to)) this.#mergeSort(from, to)
    else {
      const runs = this.#sortByDigit(from, to, depth)
      for (let run = 0; run < runs.length; run += 2) {
        this.sort(runs[run]!, runs[run + 1]!, depth + DIGIT_SIZE)
      }
    }
  }

  /** Returns where runs of equal digits begin and end, one after another. */
  #sortByDigit(from: number, to: number, depth: number): number[] {
    const packed = this.#pack(from, to, depth)
    const moved = this.#moved.subarray(0, packed.length)
    for (let index = 0; index < packed.length; index++) {
      moved[index] = this.#nodes[from + (packed[index]! % POSITION_COUNT)]!
    }
    this.#nodes.set(moved, from)
    const runs: number[] = []
    for (let start = 0; start < packed.length; ) {
      const digit = this.#digit(packed[start]!)
      let end = start + 1
      while (end < packed.length && this.#digit(packed[end]!) === digit) end++
      if (end - start > 1) runs.push(from + start, from + end)
      start = end
    }
    return runs
  }

  #digit(packed: number): number {
    return Math.floor(packed / POSITION_COUNT)
  }

  /** The digits of the entries at `depth`, sorted, with their positions relative to `from`. */
  #pack(from: number, to: number, depth: number): Float64Array {
    const { bytes } = this.#list
    const packed = this.#packed.subarray(0, to - from)
    for (let index = from; index < to; index++) {
      const node = this.#nodes[index]!
      const start = node + NODE_KEY_OFFSET + depth
      const end = node + NODE_KEY_OFFSET + this.#list.keyLength(node)
      let digit = 0
      for (let at = start; at < start + DIGIT_SIZE; at++) {
        digit = digit * 256 + (at < end ? bytes[at]! : 0)
      }
      packed[index - from] = digit * POSITION_COUNT + index - from
    }
    return packed.sort()
  }

  #anyLongerThan(length: number, from: number, to: number): boolean {
    for (let index = from; index < to; index++) {
      if (this.#list.keyLength(this.#nodes[index]!) > length) return true
    }
    return false
  }

  /** For what digits do not tell apart: keys that end, up to zeros, or agree far. */
  #mergeSort(from: number, to: number): void {
    this.#nodes.subarray(from, to).sort((a, b) => this.#compare(a, b))
  }

  #insertionSort(from: number, to: number): void {
    const nodes = this.#nodes
    for (let index = from + 1; index < to; index++) {
      const node = nodes[index]!
      let at = index
      for (; at > from && this.#compare(nodes[at - 1]!, node) > 0; at--) nodes[at] = nodes[at - 1]!
      nodes[at] = node
    }
  }

  /** Internal order: by key, then the newest first. */
  #compare(a: number, b: number): number {
    const list = this.#list
    const { bytes } = list
    const aLength = list.keyLength(a)
    const bLength = list.keyLength(b)
    const shared = Math.min(aLength, bLength)
    for (let index = 0; index < shared; index++) {
      const difference = bytes[a + NODE_KEY_OFFSET + index]! - bytes[b + NODE_KEY_OFFSET + index]!
      if (difference !== 0) return difference
    }
    return aLength - bLength || list.sequence(b) - list.sequence(a)
  }
}
