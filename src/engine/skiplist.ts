/**
 * A skiplist of internal entries in one SharedArrayBuffer (Pugh 1990; the arena layout follows the
 * idea of LevelDB's and Pebble's arena skiplists).
 *
 * Nothing in it is a JavaScript object, so the garbage collector never sees the entries (an object
 * skiplist cost 11 to 29 us an insert here, this one 1 to 3), and a worker thread can read a frozen
 * list without a copy.
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
 *  2. next[i] is in internal order (internal-key.ts); every node of level i is in level i-1. A list
 *     that was filled by append() is in order of arrival instead until relink() (arena-sort.ts).
 *  3. One thread writes. Another thread may read only after the list was frozen and handed over.
 */
import { assert } from '../assert.ts'
import type { Random } from '../random.ts'

const HEADER_WORDS = 8
const USED_WORD = 1
const COUNT_WORD = 2
const HEIGHT_WORD = 3
const DATA_SIZE_WORD = 4
const FIRST_RANGE_WORD = 5
const LAST_RANGE_WORD = 6
const RANGE_COUNT_WORD = 7

/** With one node in four rising a level, twelve levels serve 4^12 = 16 million entries. */
const HEIGHT_MAX = 12
/** Words between a node's address and its key. */
const NODE_WORDS = 6
const HASH = 0
const PREFIX = 1
const SEQUENCE_LOW = 2
const SEQUENCE_HIGH = 3
const KEY_LENGTH = 4
const VALUE_LENGTH = 5
export const NODE_KEY_OFFSET = NODE_WORDS * 4

const HEAD = (HEADER_WORDS + HEIGHT_MAX) * 4
const FIRST_FREE = HEAD + NODE_KEY_OFFSET

/** Bytes that an entry takes at most, tower and padding included. */
export function nodeSizeMax(keyLength: number, valueLength: number): number {
  return (HEIGHT_MAX + NODE_WORDS) * 4 + keyLength + valueLength + 3
}

/** Bytes of arena that hold no entries. */
export const ARENA_OVERHEAD = FIRST_FREE

/** Arenas are addressed with signed 32-bit arithmetic. */
export const ARENA_SIZE_MAX = 0x7fff_fff0

/** The first four bytes of a key as a big-endian number, short keys padded with zeros. */
function keyPrefix(bytes: Uint8Array, start: number, end: number): number {
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

export class Skiplist {
  readonly arena: SharedArrayBuffer
  readonly bytes: Uint8Array
  readonly #words: Uint32Array
  readonly #random: Random | undefined
  /** The last node before the sought place, by level. Reused by every insert. */
  readonly #splice = new Int32Array(HEIGHT_MAX)
  /** The last node of the whole list by level, so that ascending inserts need no search. */
  readonly #tail = new Int32Array(HEIGHT_MAX)

  private constructor(arena: SharedArrayBuffer, random: Random | undefined) {
    this.arena = arena
    this.bytes = new Uint8Array(arena)
    this.#words = new Uint32Array(arena, 0, arena.byteLength >>> 2)
    this.#random = random
    this.#tail.fill(HEAD)
  }

  /**
   * An empty list in `arena`, whose old contents are forgotten. Without `random` it takes only
   * append().
   */
  static create(arena: SharedArrayBuffer, random?: Random): Skiplist {
    assert(arena.byteLength >= FIRST_FREE, 'the arena holds at least the head')
    assert(arena.byteLength <= ARENA_SIZE_MAX, 'the arena is addressable with 31 bits')
    const list = new Skiplist(arena, random)
    list.#words.fill(0, 0, FIRST_FREE >>> 2)
    list.#words[USED_WORD] = FIRST_FREE
    list.#words[HEIGHT_WORD] = 1
    return list
  }

  /** A frozen list that another thread filled. It can only be read. */
  static attach(arena: SharedArrayBuffer): Skiplist {
    return new Skiplist(arena, undefined)
  }

  get entryCount(): number {
    return this.#words[COUNT_WORD]!
  }

  get rangeCount(): number {
    return this.#words[RANGE_COUNT_WORD]!
  }

  /** The first range tombstone, or 0; `next` leads to the others. */
  get firstRange(): number {
    return this.#words[FIRST_RANGE_WORD]!
  }

  /** Bytes of keys and values. */
  get dataSize(): number {
    return this.#words[DATA_SIZE_WORD]!
  }

  /** Bytes of arena in use. */
  get usedSize(): number {
    return this.#words[USED_WORD]!
  }

  get freeSize(): number {
    return this.arena.byteLength - this.#words[USED_WORD]!
  }

  hash(node: number): number {
    return this.#words[(node >>> 2) + HASH]!
  }

  sequence(node: number): number {
    const word = node >>> 2
    const words = this.#words
    return (words[word + SEQUENCE_HIGH]! & 0x1f_ffff) * 0x1_0000_0000 + words[word + SEQUENCE_LOW]!
  }

  kind(node: number): number {
    return this.#words[(node >>> 2) + SEQUENCE_HIGH]! >>> 24
  }

  keyLength(node: number): number {
    return this.#words[(node >>> 2) + KEY_LENGTH]! & 0xffff
  }

  valueLength(node: number): number {
    return this.#words[(node >>> 2) + VALUE_LENGTH]!
  }

  /** The node after `node` in internal order, or 0. */
  next(node: number): number {
    return this.#words[(node >>> 2) - 1]!
  }

  /** The first node, or 0 when the list is empty. */
  first(): number {
    return this.#words[(HEAD >>> 2) - 1]!
  }

  /** The last node, or 0 when the list is empty. */
  last(): number {
    const words = this.#words
    let node = HEAD
    for (let level = words[HEIGHT_WORD]! - 1; level >= 0; level--) {
      for (;;) {
        const next = words[(node >>> 2) - 1 - level]!
        if (next === 0) break
        node = next
      }
    }
    return node === HEAD ? 0 : node
  }

  /** True when the node's key equals `key[start, end)`. */
  keyEquals(node: number, key: Uint8Array, start: number, end: number): boolean {
    const length = end - start
    if ((this.#words[(node >>> 2) + KEY_LENGTH]! & 0xffff) !== length) return false
    const bytes = this.bytes
    const at = node + NODE_KEY_OFFSET
    for (let index = 0; index < length; index++) {
      if (bytes[at + index] !== key[start + index]) return false
    }
    return true
  }

  /** The first node at or after (key, sequence) in internal order, or 0. */
  findAtOrAfter(key: Uint8Array, start: number, end: number, sequence: number): number {
    const words = this.#words
    const prefix = keyPrefix(key, start, end)
    let node = HEAD
    let found = 0
    for (let level = words[HEIGHT_WORD]! - 1; level >= 0; level--) {
      for (;;) {
        const next = words[(node >>> 2) - 1 - level]!
        // A node that ended the walk on the level above ends it here too: no second comparison.
        if (next === found || !this.#isBefore(next, prefix, key, start, end, sequence)) {
          found = next
          break
        }
        node = next
      }
    }
    return found
  }

  /** The last node strictly before (key, sequence) in internal order, or 0. */
  findBefore(key: Uint8Array, start: number, end: number, sequence: number): number {
    this.#search(keyPrefix(key, start, end), key, start, end, sequence)
    const node = this.#splice[0]!
    return node === HEAD ? 0 : node
  }

  /**
   * Adds an entry and returns its node. Requires room (nodeSizeMax) and a (key, sequence) that is
   * not in the list. `hash` is kept for the caller's index.
   */
  insert(
    hash: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): number {
    const words = this.#words
    const prefix = keyPrefix(key, keyStart, keyEnd)
    const tail = this.#tail[0]!
    const height = this.#randomHeight()
    const appends = tail === HEAD || this.#isBefore(tail, prefix, key, keyStart, keyEnd, sequence)
    if (appends) this.#splice.set(this.#tail)
    else this.#search(prefix, key, keyStart, keyEnd, sequence)
    if (height > words[HEIGHT_WORD]!) {
      this.#splice.fill(HEAD, words[HEIGHT_WORD]!, height)
      words[HEIGHT_WORD] = height
    }
    const node = this.#allocate(height, keyEnd - keyStart, valueEnd - valueStart)
    words[(node >>> 2) + HASH] = hash
    this.#fill(
      node,
      height,
      prefix,
      key,
      keyStart,
      keyEnd,
      sequence,
      kind,
      value,
      valueStart,
      valueEnd,
    )
    for (let level = 0; level < height; level++) {
      const before = (this.#splice[level]! >>> 2) - 1 - level
      const after = words[before]!
      words[(node >>> 2) - 1 - level] = after
      words[before] = node
      if (after === 0) this.#tail[level] = node
    }
    return node
  }

  /**
   * Adds an entry behind the last one, wherever it sorts, at the cost of a copy, and returns its
   * node. The list can only be walked and appended to until relink() has put it in order.
   */
  append(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): number {
    const prefix = keyPrefix(key, keyStart, keyEnd)
    const node = this.#allocate(1, keyEnd - keyStart, valueEnd - valueStart)
    this.#fill(node, 1, prefix, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
    const words = this.#words
    words[(node >>> 2) + HASH] = 0
    words[(node >>> 2) - 1] = 0
    words[(this.#tail[0]! >>> 2) - 1] = node
    this.#tail[0] = node
    return node
  }

  /** Puts an appended list in the order of `nodes`: all of its nodes, in internal order. */
  relink(nodes: Uint32Array): void {
    assert(nodes.length === this.entryCount, 'every node has its place')
    const words = this.#words
    let before = HEAD
    for (const node of nodes) {
      words[(before >>> 2) - 1] = node
      before = node
    }
    words[(before >>> 2) - 1] = 0
  }

  #fill(
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
    const words = this.#words
    const word = node >>> 2
    words[word + PREFIX] = prefix
    words[word + SEQUENCE_LOW] = sequence % 0x1_0000_0000
    words[word + SEQUENCE_HIGH] = Math.floor(sequence / 0x1_0000_0000) | (kind << 24)
    words[word + KEY_LENGTH] = (keyEnd - keyStart) | (height << 16)
    words[word + VALUE_LENGTH] = valueEnd - valueStart
    const at = node + NODE_KEY_OFFSET
    copyBytes(key, keyStart, keyEnd, this.bytes, at)
    copyBytes(value, valueStart, valueEnd, this.bytes, at + keyEnd - keyStart)
    words[COUNT_WORD] = words[COUNT_WORD]! + 1
    words[DATA_SIZE_WORD] = words[DATA_SIZE_WORD]! + (keyEnd - keyStart) + (valueEnd - valueStart)
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
    const words = this.#words
    const node = this.#allocate(1, startTo - startFrom, endTo - endFrom)
    const word = node >>> 2
    words[word - 1] = 0
    words[word + SEQUENCE_LOW] = sequence % 0x1_0000_0000
    words[word + SEQUENCE_HIGH] = Math.floor(sequence / 0x1_0000_0000)
    words[word + KEY_LENGTH] = startTo - startFrom
    words[word + VALUE_LENGTH] = endTo - endFrom
    const at = node + NODE_KEY_OFFSET
    copyBytes(start, startFrom, startTo, this.bytes, at)
    copyBytes(end, endFrom, endTo, this.bytes, at + startTo - startFrom)
    const last = words[LAST_RANGE_WORD]!
    if (last === 0) words[FIRST_RANGE_WORD] = node
    else words[(last >>> 2) - 1] = node
    words[LAST_RANGE_WORD] = node
    words[RANGE_COUNT_WORD] = words[RANGE_COUNT_WORD]! + 1
    words[DATA_SIZE_WORD] = words[DATA_SIZE_WORD]! + (startTo - startFrom) + (endTo - endFrom)
  }

  /** Fills #splice with the last node before (key, sequence) on every level. */
  #search(prefix: number, key: Uint8Array, start: number, end: number, sequence: number): void {
    const words = this.#words
    let node = HEAD
    let stop = 0
    for (let level = words[HEIGHT_WORD]! - 1; level >= 0; level--) {
      for (;;) {
        const next = words[(node >>> 2) - 1 - level]!
        if (next === stop || !this.#isBefore(next, prefix, key, start, end, sequence)) {
          stop = next
          break
        }
        node = next
      }
      this.#splice[level] = node
    }
  }

  /** Whether `node` sorts strictly before (key, sequence). No node (0) sorts after everything. */
  #isBefore(
    node: number,
    prefix: number,
    key: Uint8Array,
    start: number,
    end: number,
    sequence: number,
  ): boolean {
    if (node === 0) return false
    const words = this.#words
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

  #randomHeight(): number {
    assert(this.#random !== undefined, 'only a list with heights takes inserts')
    let height = 1
    let bits = this.#random.below(0x1_0000_0000)
    while (height < HEIGHT_MAX && (bits & 3) === 0) {
      height++
      bits >>>= 2
    }
    return height
  }

  #allocate(height: number, keyLength: number, valueLength: number): number {
    const words = this.#words
    const start = words[USED_WORD]!
    const node = start + height * 4
    const end = (node + NODE_KEY_OFFSET + keyLength + valueLength + 3) & ~3
    assert(end <= this.arena.byteLength, 'the caller made sure that the entry fits')
    words[USED_WORD] = end
    return node
  }
}

/** Below this many bytes a loop beats the call of Uint8Array.set (bench/skiplist.bench.ts). */
const COPY_LOOP_MAX = 48

function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  const length = end - start
  if (length > COPY_LOOP_MAX) {
    target.set(source.subarray(start, end), at)
    return
  }
  for (let index = 0; index < length; index++) target[at + index] = source[start + index]!
}
