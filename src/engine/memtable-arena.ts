/** The entries of a memtable in their order: the cursor of scans, and what a flush reads. */
import { assert } from '../assert.ts'
import { copyBytes } from '../bytes.ts'
import { sortArena, sortNodes } from './arena-sort.ts'
import type { BufferPool } from './buffer-pool.ts'
import { Cursor } from './cursor.ts'
import { NODE_KEY_OFFSET, type NodeArena } from './node-arena.ts'
import { END_OF_KEYS, type RangeFragment, type RangeFragments } from './range-fragment.ts'
import { Skiplist } from './skiplist.ts'

/** How the entries of a frozen arena stand; see MemtableArena. */
export type ArenaOrder = 'sorted' | 'arrival' | Uint32Array

/** What the arena of a frozen memtable holds. */
export class MemtableArena {
  readonly #list: Skiplist
  readonly #buffers: BufferPool | undefined
  /** All nodes in internal order, where the list has not all of them. */
  readonly #nodes: Uint32Array | undefined
  /** What the nodes are in, of the pool. */
  #lent: Uint8Array<ArrayBuffer> | undefined

  /**
   * `sorted`: the list has all entries in internal order. `arrival`: it has them as they came, and
   * the arena is nobody else's, so that it can be put in order. Or all nodes, in any order, where
   * the list does not have them: then it is left alone. With `buffers` it is to be released.
   */
  constructor(arena: SharedArrayBuffer, order: ArenaOrder = 'sorted', buffers?: BufferPool) {
    this.#list = Skiplist.attach(arena)
    this.#buffers = buffers
    if (order === 'arrival') sortArena(this.#list, buffers)
    if (typeof order === 'string') return
    this.#lent = buffers?.take(order.byteLength)
    this.#nodes = new Uint32Array(
      this.#lent?.buffer ?? new ArrayBuffer(order.byteLength),
      0,
      order.length,
    )
    this.#nodes.set(order)
    sortNodes(this.#list, this.#nodes, buffers)
  }

  /** Gives its memory back to the pool: nothing of it is read any more. */
  release(): void {
    if (this.#lent !== undefined) this.#buffers?.giveBack(this.#lent)
    this.#lent = undefined
  }

  cursor(): Cursor {
    return this.#nodes === undefined
      ? new MemtableCursor(this.#list)
      : new SortedCursor(this.#list, this.#nodes)
  }

  get largestKey(): Uint8Array | undefined {
    return keyOf(this.#list, this.#nodes?.at(-1) ?? this.#list.last())
  }

  /** The range tombstones as they came: one sequence each, and they may overlap. */
  ranges(): RangeFragments {
    const list = this.#list
    const ranges: RangeFragment[] = []
    for (let node = list.firstRange; node !== 0; node = list.next(node)) {
      const startFrom = node + NODE_KEY_OFFSET
      const endFrom = startFrom + list.keyLength(node)
      const endLength = list.valueLength(node)
      ranges.push({
        start: copyBytes(list.bytes, startFrom, endFrom),
        end: endLength === 0 ? END_OF_KEYS : copyBytes(list.bytes, endFrom, endFrom + endLength),
        sequences: [list.sequence(node)],
      })
    }
    return ranges
  }
}

/** The key of a node, in a buffer of its own; undefined of no node. */
export function keyOf(list: NodeArena, node: number): Uint8Array | undefined {
  if (node === 0) return undefined
  const start = node + NODE_KEY_OFFSET
  return copyBytes(list.bytes, start, start + list.keyLength(node))
}

/** A cursor over a skiplist. It sees what is inserted later, at its place in the order. */
export class MemtableCursor extends Cursor {
  readonly #list: Skiplist
  #node = 0

  constructor(list: Skiplist) {
    super()
    this.#list = list
    this.keyBytes = list.bytes
    this.valueBytes = list.bytes
  }

  override seekToFirst(): void {
    this.#moveTo(this.#list.first())
  }

  override seekToLast(): void {
    this.#moveTo(this.#list.last())
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    this.#moveTo(this.#list.findAtOrAfter(key, keyStart, keyEnd, sequence))
  }

  override next(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.#moveTo(this.#list.next(this.#node))
  }

  override prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.#moveTo(this.#list.findBefore(this.keyBytes, this.keyStart, this.keyEnd, this.sequence))
  }

  #moveTo(node: number): void {
    this.#node = node
    this.valid = node !== 0
    if (node !== 0) show(this, this.#list, node)
  }
}

/** A cursor over sorted nodes, for a flush, which only goes from the first to the last. */
class SortedCursor extends Cursor {
  readonly #arena: NodeArena
  readonly #nodes: Uint32Array
  #index = 0

  constructor(arena: NodeArena, nodes: Uint32Array) {
    super()
    this.#arena = arena
    this.#nodes = nodes
    this.keyBytes = arena.bytes
    this.valueBytes = arena.bytes
  }

  override seekToFirst(): void {
    this.#moveTo(0)
  }

  override seekToLast(): void {
    this.#moveTo(this.#nodes.length - 1)
  }

  override seek(): void {
    assert(false, 'a flush reads from the first entry to the last')
  }

  override next(): void {
    this.#moveTo(this.#index + 1)
  }

  override prev(): void {
    this.#moveTo(this.#index - 1)
  }

  #moveTo(index: number): void {
    this.#index = index
    this.valid = index >= 0 && index < this.#nodes.length
    if (this.valid) show(this, this.#arena, this.#nodes[index]!)
  }
}

function show(cursor: Cursor, arena: NodeArena, node: number): void {
  cursor.keyStart = node + NODE_KEY_OFFSET
  cursor.keyEnd = cursor.keyStart + arena.keyLength(node)
  cursor.sequence = arena.sequence(node)
  cursor.kind = arena.kind(node)
  cursor.valueStart = cursor.keyEnd
  cursor.valueEnd = cursor.valueStart + arena.valueLength(node)
}
