/**
 * The hash tree of one partition, one level deep: 256 leaves of 64 bits and a root. Replicas whose
 * roots are the same hold the same; where not, the leaves tell which 256th of the keys to look at.
 *
 *   leaf of a key := low byte of xxh32(user key, seed 1)
 *   entry         := xxh32(head, seed xxh32(user key, seed 1) + size)
 *                  | xxh32(head, seed xxh32(user key, seed 2))
 *   leaf          := sum of the entries' halves, each modulo 2^32
 *   root          := xxh32(leaves, seed 0) | xxh32(leaves, seed 1)
 *
 * `head` is the stored form without the value, `size` that of the whole. A version stands for the
 * value that it came with; nothing here depends on the time, so an entry that expires does not
 * change the tree (P36 of the research). Sums can be built in any order.
 */
import { assert } from '../assert.ts'
import { xxh32 } from '../hash.ts'

export const LEAF_COUNT = 256
export const TREE_SIZE = LEAF_COUNT * 8
/** A bit for each leaf. */
export const LEAF_SET_SIZE = LEAF_COUNT / 8

/** Two halves, unsigned. */
export type TreeRoot = readonly [number, number]

/** What a key's leaf is. */
export function leafOf(bytes: Uint8Array, start: number, end: number): number {
  return xxh32(bytes, start, end, 1) & 0xff
}

export class PartitionTree {
  /** Little-endian, two words a leaf. */
  readonly bytes: Uint8Array
  readonly #view: DataView
  /** Entries that were added. */
  size = 0
  /** The earliest time from which on an entry is nothing but a deletion; see purgeTimeMs. */
  purgeMs = Number.POSITIVE_INFINITY

  /** Without `bytes` it is empty; else the leaves of a peer. */
  constructor(bytes: Uint8Array = new Uint8Array(TREE_SIZE)) {
    assert(bytes.length === TREE_SIZE, 'a tree has 256 leaves')
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** The entry is key[keyStart, keyEnd) and head[headStart, headEnd), of `size` bytes in all. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    head: Uint8Array,
    headStart: number,
    headEnd: number,
    size: number,
  ): void {
    const first = xxh32(key, keyStart, keyEnd, 1)
    const second = xxh32(key, keyStart, keyEnd, 2)
    const at = (first & 0xff) * 8
    const low = xxh32(head, headStart, headEnd, (first + size) | 0)
    const high = xxh32(head, headStart, headEnd, second | 0)
    this.#view.setUint32(at, (this.#view.getUint32(at, true) + low) >>> 0, true)
    this.#view.setUint32(at + 4, (this.#view.getUint32(at + 4, true) + high) >>> 0, true)
    this.size++
  }

  get root(): TreeRoot {
    const { bytes } = this
    return [xxh32(bytes, 0, bytes.length, 0), xxh32(bytes, 0, bytes.length, 1)]
  }

  /** Numbers of the leaves that are not the same, ascending. */
  differences(other: PartitionTree): number[] {
    const found: number[] = []
    for (let leaf = 0; leaf < LEAF_COUNT; leaf++) {
      for (let at = leaf * 8; at < leaf * 8 + 8; at++) {
        if (this.bytes[at] === other.bytes[at]) continue
        found.push(leaf)
        break
      }
    }
    return found
  }
}

export function isSameRoot(a: TreeRoot, b: TreeRoot): boolean {
  return a[0] === b[0] && a[1] === b[1]
}

/** Some of the leaves, as a bitmap, least significant bit first. */
export function leafSet(leaves: Iterable<number>): Uint8Array {
  const bits = new Uint8Array(LEAF_SET_SIZE)
  for (const leaf of leaves) bits[leaf >>> 3]! |= 1 << (leaf & 7)
  return bits
}

export function hasLeaf(bits: Uint8Array, leaf: number): boolean {
  return ((bits[leaf >>> 3]! >>> (leaf & 7)) & 1) === 1
}

export function leavesOf(bits: Uint8Array): number[] {
  return Array.from({ length: LEAF_COUNT }, (_, leaf) => leaf).filter(leaf => hasLeaf(bits, leaf))
}
