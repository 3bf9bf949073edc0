/**
 * A skiplist of internal entries in an arena (Pugh 1990; layout: node-arena.ts).
 *
 * Entries can be added without their place in the order, which costs most of an insert, and get it
 * later, many at once: sorted, they are found from one to the next, in half the time.
 *
 * Invariants:
 *  1. next[i] of what is linked is in internal order (internal-key.ts); every node of level i is in
 *     level i-1. A list that was filled by append() is in order of arrival until relink().
 *  2. next[0] of what is not linked yet is what its caller wants, the rest of its tower undefined.
 */
import { assert } from '../assert.ts'
import type { Random } from '../random.ts'
import {
  ARENA_SIZE_MAX,
  FIRST_FREE,
  HASH,
  HEAD,
  HEIGHT_MAX,
  HEIGHT_WORD,
  KEY_LENGTH,
  keyPrefix,
  NODE_KEY_OFFSET,
  NodeArena,
  PREFIX,
  USED_WORD,
} from './node-arena.ts'

export class Skiplist extends NodeArena {
  readonly #random: Random | undefined
  /** The last node before the sought place, by level. Reused by every insert. */
  readonly #splice = new Int32Array(HEIGHT_MAX)
  /** The last node of the whole list by level, so that ascending inserts need no search. */
  readonly #tail = new Int32Array(HEIGHT_MAX)

  private constructor(arena: SharedArrayBuffer, random: Random | undefined) {
    super(arena)
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
    list.words.fill(0, 0, FIRST_FREE >>> 2)
    list.words[USED_WORD] = FIRST_FREE
    list.words[HEIGHT_WORD] = 1
    return list
  }

  /** A frozen list that another thread filled. It can only be read. */
  static attach(arena: SharedArrayBuffer): Skiplist {
    return new Skiplist(arena, undefined)
  }

  /** The first node, or 0 when the list is empty. */
  first(): number {
    return this.words[(HEAD >>> 2) - 1]!
  }

  /** The last node, or 0 when the list is empty. */
  last(): number {
    const words = this.words
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

  /** The first node at or after (key, sequence) in internal order, or 0. */
  findAtOrAfter(key: Uint8Array, start: number, end: number, sequence: number): number {
    const words = this.words
    const prefix = keyPrefix(key, start, end)
    let node = HEAD
    let found = 0
    for (let level = words[HEIGHT_WORD]! - 1; level >= 0; level--) {
      for (;;) {
        const next = words[(node >>> 2) - 1 - level]!
        // A node that ended the walk on the level above ends it here too: no second comparison.
        if (next === found || !this.isBefore(next, prefix, key, start, end, sequence)) {
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
    const words = this.words
    const prefix = keyPrefix(key, keyStart, keyEnd)
    const tail = this.#tail[0]!
    const height = this.#randomHeight()
    const appends = tail === HEAD || this.isBefore(tail, prefix, key, keyStart, keyEnd, sequence)
    if (appends) this.#splice.set(this.#tail)
    else this.#search(prefix, key, keyStart, keyEnd, sequence)
    if (height > words[HEIGHT_WORD]!) {
      this.#splice.fill(HEAD, words[HEIGHT_WORD]!, height)
      words[HEIGHT_WORD] = height
    }
    const node = this.allocate(height, keyEnd - keyStart, valueEnd - valueStart)
    words[(node >>> 2) + HASH] = hash
    this.fill(
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
    this.#linkBehindSplice(node, height)
    return node
  }

  /**
   * Like insert, but the entry is not found in the order before it is given to link(). Until then
   * its next() is `note`.
   */
  insertUnlinked(
    hash: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    note: number,
  ): number {
    const words = this.words
    const prefix = keyPrefix(key, keyStart, keyEnd)
    const height = this.#randomHeight()
    const node = this.allocate(height, keyEnd - keyStart, valueEnd - valueStart)
    words[(node >>> 2) - 1] = note
    words[(node >>> 2) + HASH] = hash
    this.fill(
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
    return node
  }

  /** Gives entries of insertUnlinked() their places. Requires that they are in internal order. */
  link(nodes: Uint32Array): void {
    const words = this.words
    this.#splice.fill(HEAD)
    for (const node of nodes) {
      const height = words[(node >>> 2) + KEY_LENGTH]! >>> 16
      this.#searchOnward(node)
      if (height > words[HEIGHT_WORD]!) words[HEIGHT_WORD] = height
      this.#linkBehindSplice(node, height)
      this.#splice.fill(node, 0, height)
    }
  }

  #linkBehindSplice(node: number, height: number): void {
    const words = this.words
    for (let level = 0; level < height; level++) {
      const before = (this.#splice[level]! >>> 2) - 1 - level
      const after = words[before]!
      words[(node >>> 2) - 1 - level] = after
      words[before] = node
      if (after === 0) this.#tail[level] = node
    }
  }

  /** Moves #splice on to `node`, which sorts behind the one it belongs to (a finger search). */
  #searchOnward(node: number): void {
    const words = this.words
    const splice = this.#splice
    const word = node >>> 2
    const prefix = words[word + PREFIX]!
    const start = node + NODE_KEY_OFFSET
    const end = start + (words[word + KEY_LENGTH]! & 0xffff)
    const sequence = this.sequence(node)
    const height = words[HEIGHT_WORD]!
    let level = 0
    while (level < height) {
      const next = words[(splice[level]! >>> 2) - 1 - level]!
      if (!this.isBefore(next, prefix, this.bytes, start, end, sequence)) break
      level++
    }
    if (level === 0) return
    let before = splice[level - 1]!
    while (--level >= 0) {
      for (;;) {
        const next = words[(before >>> 2) - 1 - level]!
        if (!this.isBefore(next, prefix, this.bytes, start, end, sequence)) break
        before = next
      }
      splice[level] = before
    }
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
    const node = this.allocate(1, keyEnd - keyStart, valueEnd - valueStart)
    this.fill(node, 1, prefix, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
    const words = this.words
    words[(node >>> 2) + HASH] = 0
    words[(node >>> 2) - 1] = 0
    words[(this.#tail[0]! >>> 2) - 1] = node
    this.#tail[0] = node
    return node
  }

  /** Puts an appended list in the order of `nodes`: all of its nodes, in internal order. */
  relink(nodes: Uint32Array): void {
    assert(nodes.length === this.entryCount, 'every node has its place')
    const words = this.words
    let before = HEAD
    for (const node of nodes) {
      words[(before >>> 2) - 1] = node
      before = node
    }
    words[(before >>> 2) - 1] = 0
  }

  /** Fills #splice with the last node before (key, sequence) on every level. */
  #search(prefix: number, key: Uint8Array, start: number, end: number, sequence: number): void {
    const words = this.words
    let node = HEAD
    let stop = 0
    for (let level = words[HEIGHT_WORD]! - 1; level >= 0; level--) {
      for (;;) {
        const next = words[(node >>> 2) - 1 - level]!
        if (next === stop || !this.isBefore(next, prefix, key, start, end, sequence)) {
          stop = next
          break
        }
        node = next
      }
      this.#splice[level] = node
    }
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
}
