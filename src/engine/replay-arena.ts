/**
 * What recovery gathers from the log until it is flushed: entries in the order in which they were
 * written. The job that flushes them sorts them (arena-sort.ts), so that the replay itself, which
 * runs on the main thread, only copies.
 */
import { compareRanges, copyBytes } from '../bytes.ts'
import { SORTED_COUNT_MAX } from './arena-sort.ts'
import { EntryKind } from './internal-key.ts'
import { RANGE_COUNT_MAX } from './memtable.ts'
import { ARENA_OVERHEAD, NODE_KEY_OFFSET, nodeSizeMax } from './node-arena.ts'
import { Skiplist } from './skiplist.ts'

export class ReplayArena {
  readonly #list: Skiplist
  /** The node of the largest key; 0 when there is none. */
  #largest = 0

  /** What was in `arena` is forgotten. */
  constructor(arena: SharedArrayBuffer) {
    this.#list = Skiplist.create(arena)
  }

  get arena(): SharedArrayBuffer {
    return this.#list.arena
  }

  /** Entries and range tombstones. */
  get entryCount(): number {
    return this.#list.entryCount + this.#list.rangeCount
  }

  /** Of all entries, in a buffer of its own; undefined when there are none. */
  get largestKey(): Uint8Array | undefined {
    if (this.#largest === 0) return undefined
    const start = this.#largest + NODE_KEY_OFFSET
    return copyBytes(this.#list.bytes, start, start + this.#list.keyLength(this.#largest))
  }

  /** Whether `count` entries with `dataSize` bytes of keys and values surely fit. */
  hasRoom(count: number, dataSize: number): boolean {
    const list = this.#list
    return (
      count * nodeSizeMax(0, 0) + dataSize <= list.freeSize &&
      list.rangeCount < RANGE_COUNT_MAX &&
      list.entryCount + count <= SORTED_COUNT_MAX
    )
  }

  /** Bytes of arena in which `count` entries with `dataSize` bytes surely fit. */
  static sizeFor(count: number, dataSize: number): number {
    return ARENA_OVERHEAD + count * nodeSizeMax(0, 0) + dataSize
  }

  /** Adds an entry, or a range tombstone, whose value is its end. Requires room. */
  add(
    kind: EntryKind,
    sequence: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const list = this.#list
    if (kind === EntryKind.deleteRange) {
      list.insertRange(key, keyStart, keyEnd, sequence, value, valueStart, valueEnd)
      return
    }
    const node = list.append(key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
    if (this.#largest === 0 || this.#isAboveLargest(key, keyStart, keyEnd)) this.#largest = node
  }

  #isAboveLargest(key: Uint8Array, start: number, end: number): boolean {
    const largest = this.#largest + NODE_KEY_OFFSET
    const largestEnd = largest + this.#list.keyLength(this.#largest)
    return compareRanges(this.#list.bytes, largest, largestEnd, key, start, end) < 0
  }
}
