/**
 * The memory of a memtable: the arena of its list, and beside it the index and the arrivals. Used
 * again by a later memtable, as touching fresh memory costs more than emptying this, and what
 * nobody holds any more would stay until a full garbage collection.
 */
import { SORTED_COUNT_MAX } from './arena-sort.ts'

/** Index slots a byte of arena: no entry takes less, so there never are more entries than slots. */
const ARENA_BYTES_PER_SLOT = 32
const SLOT_COUNT_MIN = 64

export class MemtableMemory {
  readonly arena: SharedArrayBuffer
  /** A power of two of slots, and a bit for each; see memtable.ts. */
  readonly slots: Uint32Array
  readonly wanted: Uint8Array
  /** Room for all nodes in their order of arrival, shared; none where they are too many to sort. */
  readonly arrivals: Uint32Array

  #holders = 0
  #isFresh = true

  constructor(arenaSize: number) {
    this.arena = new SharedArrayBuffer(arenaSize)
    let slotCount = SLOT_COUNT_MIN
    while (slotCount < arenaSize / ARENA_BYTES_PER_SLOT) slotCount *= 2
    this.slots = new Uint32Array(slotCount)
    this.wanted = new Uint8Array(slotCount >>> 3)
    const arrivals = slotCount <= SORTED_COUNT_MAX ? slotCount : 0
    this.arrivals = new Uint32Array(new SharedArrayBuffer(arrivals * 4))
  }

  /** Bytes, whether filled or not. */
  get size(): number {
    const { arena, slots, wanted, arrivals } = this
    return arena.byteLength + slots.byteLength + wanted.byteLength + arrivals.byteLength
  }

  /** Whether somebody reads it over several turns, so that it must not be used again. */
  get isHeld(): boolean {
    return this.#holders > 0
  }

  hold(): void {
    this.#holders++
  }

  letGo(): void {
    this.#holders--
  }

  /** Empties the index, about 0.1 ms a MiB of arena at most. The list empties its arena itself. */
  clear(): void {
    if (this.#isFresh) {
      this.#isFresh = false
      return
    }
    this.slots.fill(0)
    this.wanted.fill(0)
  }
}
