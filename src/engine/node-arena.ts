/**
 * Internal entries in one SharedArrayBuffer, as nodes that know their successors: what the skiplist
 * (skiplist.ts) is built on (the arena layout follows the idea of LevelDB's and Pebble's arena
 * skiplists).
 *
 * Nothing in it is a JavaScript object, so the garbage collector never sees the entries (an object
 * skiplist cost 11 to 29 us an insert here, this one 1 to 3), and a worker thread can read a frozen
 * one without a copy.
 *
 *   arena := header | head tower | nodes…        all fields u32 in host order, 4-byte aligned
 *   header (words) := unused, used bytes, entry count, height, key and value bytes, first range,
 *                     last range, range count
 *   node   := next[height-1] … next[0] | hash | key prefix | sequence low
 *             | sequence high (21 bits) + kind << 24 | key length + height << 16 | value length
 *             | key | value | padding to 4
 *
 * Range tombstones are nodes of height 1 in a chain of their own, in the order in which they came:
 * only their next[0], sequence, lengths, key (the first) and value (the first after it) count.
 *
 * A node's address is the byte offset of its `hash` word; 0 is no node. Its tower stands before
 * that address, so that the key is at a fixed distance after it.
 *
 * Invariants:
 *  1. Nodes are only added, never changed but for their tower, never moved or removed.
 *  2. One thread writes. Another may read only after the arena was frozen and handed over.
 */
import { assert } from '../assert.ts'
import { copyWords } from './copy-words.ts'

const HEADER_WORDS = 8
export const USED_WORD = 1
const COUNT_WORD = 2
export const HEIGHT_WORD = 3
const DATA_SIZE_WORD = 4
const FIRST_RANGE_WORD = 5
const LAST_RANGE_WORD = 6
const RANGE_COUNT_WORD = 7

/** With one node in four rising a level, twelve levels serve 4^12 = 16 million entries. */
export const HEIGHT_MAX = 12
/** Words between a node's address and its key. */
const NODE_WORDS = 6
export const HASH = 0
export const PREFIX = 1
const SEQUENCE_LOW = 2
const SEQUENCE_HIGH = 3
export const KEY_LENGTH = 4
const VALUE_LENGTH = 5
export const NODE_KEY_OFFSET = NODE_WORDS * 4

export const HEAD = (HEADER_WORDS + HEIGHT_MAX) * 4
export const FIRST_FREE = HEAD + NODE_KEY_OFFSET

/** Bytes that an entry takes at most, tower and padding included. */
export function nodeSizeMax(keyLength: number, valueLength: number): number {
  return (HEIGHT_MAX + NODE_WORDS) * 4 + keyLength + valueLength + 3
}

/** Bytes of arena that hold no entries. */
export const ARENA_OVERHEAD = FIRST_FREE

/** Arenas are addressed with signed 32-bit arithmetic. */
export const ARENA_SIZE_MAX = 0x7fff_fff0

/** The first four bytes of a key as a big-endian number, short keys padded with zeros. */
export function keyPrefix(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length >= 4) {
    return (
      ((bytes[start]! << 24) |
        (bytes[start + 1]! << 16) |
        (bytes[start + 2]! << 8) |
        bytes[start + 3]!) >>>
      0
    )
  }
  let prefix = 0
  for (let index = 0; index < 4; index++) {
    prefix = (prefix << 8) | (index < length ? bytes[start + index]! : 0)
  }
  return prefix >>> 0
}

export class NodeArena {
  readonly arena: SharedArrayBuffer
  readonly bytes: Uint8Array
  protected readonly words: Uint32Array

  /** What is in `arena` stays as it is. */
  constructor(arena: SharedArrayBuffer) {
    this.arena = arena
    this.bytes = new Uint8Array(arena)
    this.words = new Uint32Array(arena, 0, arena.byteLength >>> 2)
  }

  get entryCount(): number {
    return this.words[COUNT_WORD]!
  }

  get rangeCount(): number {
    return this.words[RANGE_COUNT_WORD]!
  }

  /** The first range tombstone, or 0; `next` leads to the others. */
  get firstRange(): number {
    return this.words[FIRST_RANGE_WORD]!
  }

  /** Bytes of keys and values. */
  get dataSize(): number {
    return this.words[DATA_SIZE_WORD]!
  }

  /** Bytes of arena in use. */
  get usedSize(): number {
    return this.words[USED_WORD]!
  }

  get freeSize(): number {
    return this.bytes.length - this.words[USED_WORD]!
  }

  hash(node: number): number {
    return this.words[(node >>> 2) + HASH]!
  }

  sequence(node: number): number {
    const word = node >>> 2
    const words = this.words
    return (words[word + SEQUENCE_HIGH]! & 0x1f_ffff) * 0x1_0000_0000 + words[word + SEQUENCE_LOW]!
  }

  kind(node: number): number {
    return this.words[(node >>> 2) + SEQUENCE_HIGH]! >>> 24
  }

  keyLength(node: number): number {
    return this.words[(node >>> 2) + KEY_LENGTH]! & 0xffff
  }

  valueLength(node: number): number {
    return this.words[(node >>> 2) + VALUE_LENGTH]!
  }

  /** The node after `node` in internal order, or 0. */
  next(node: number): number {
    return this.words[(node >>> 2) - 1]!
  }

  /** True when the node's key equals `key[start, end)`. */
  keyEquals(node: number, key: Uint8Array, start: number, end: number): boolean {
    const length = end - start
    if ((this.words[(node >>> 2) + KEY_LENGTH]! & 0xffff) !== length) return false
    const bytes = this.bytes
    const at = node + NODE_KEY_OFFSET
    for (let index = 0; index < length; index++) {
      if (bytes[at + index] !== key[start + index]) return false
    }
    return true
  }

  /** Adds a range tombstone. Requires room (nodeSizeMax). */
  insertRange(
    start: Uint8Array,
    startFrom: number,
    startTo: number,
    sequence: number,
    end: Uint8Array,
    endFrom: number,
    endTo: number,
  ): void {
    const words = this.words
    const node = this.allocate(1, startTo - startFrom, endTo - endFrom)
    const word = node >>> 2
    words[word - 1] = 0
    words[word + SEQUENCE_LOW] = sequence >>> 0
    words[word + SEQUENCE_HIGH] = Math.floor(sequence / 0x1_0000_0000)
    words[word + KEY_LENGTH] = startTo - startFrom
    words[word + VALUE_LENGTH] = endTo - endFrom
    const at = node + NODE_KEY_OFFSET
    this.#copy(start, startFrom, startTo, at)
    this.#copy(end, endFrom, endTo, at + startTo - startFrom)
    const last = words[LAST_RANGE_WORD]!
    if (last === 0) words[FIRST_RANGE_WORD] = node
    else words[(last >>> 2) - 1] = node
    words[LAST_RANGE_WORD] = node
    words[RANGE_COUNT_WORD] = words[RANGE_COUNT_WORD]! + 1
    words[DATA_SIZE_WORD] = words[DATA_SIZE_WORD]! + (startTo - startFrom) + (endTo - endFrom)
  }

  /** Writes all of a node but its hash and tower. */
  protected fill(
    node: number,
    height: number,
    prefix: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const words = this.words
    const word = node >>> 2
    words[word + PREFIX] = prefix
    words[word + SEQUENCE_LOW] = sequence >>> 0
    words[word + SEQUENCE_HIGH] = Math.floor(sequence / 0x1_0000_0000) | (kind << 24)
    words[word + KEY_LENGTH] = (keyEnd - keyStart) | (height << 16)
    words[word + VALUE_LENGTH] = valueEnd - valueStart
    const at = node + NODE_KEY_OFFSET
    this.#copy(key, keyStart, keyEnd, at)
    this.#copy(value, valueStart, valueEnd, at + keyEnd - keyStart)
    words[COUNT_WORD] = words[COUNT_WORD]! + 1
    words[DATA_SIZE_WORD] = words[DATA_SIZE_WORD]! + (keyEnd - keyStart) + (valueEnd - valueStart)
  }

  /** Whether `node` sorts strictly before (key, sequence). No node (0) sorts after everything. */
  protected isBefore(
    node: number,
    prefix: number,
    key: Uint8Array,
    start: number,
    end: number,
    sequence: number,
  ): boolean {
    if (node === 0) return false
    const words = this.words
    const word = node >>> 2
    const nodePrefix = words[word + PREFIX]!
    if (nodePrefix !== prefix) return nodePrefix < prefix
    const bytes = this.bytes
    const nodeLength = words[word + KEY_LENGTH]! & 0xffff
    const length = end - start
    const shared = nodeLength < length ? nodeLength : length
    const at = node + NODE_KEY_OFFSET
    for (let index = shared < 4 ? 0 : 4; index < shared; index++) {
      const difference = bytes[at + index]! - key[start + index]!
      if (difference !== 0) return difference < 0
    }
    if (nodeLength !== length) return nodeLength < length
    return this.sequence(node) > sequence
  }

  protected allocate(height: number, keyLength: number, valueLength: number): number {
    const words = this.words
    const start = words[USED_WORD]!
    const node = start + height * 4
    const end = (node + NODE_KEY_OFFSET + keyLength + valueLength + 3) & ~3
    assert(end <= this.bytes.length, 'the caller made sure that the entry fits')
    words[USED_WORD] = end
    return node
  }

  #copy(source: Uint8Array, start: number, end: number, at: number): void {
    copyWords(source, start, end, this.bytes, this.words, at)
  }
}
