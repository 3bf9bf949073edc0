/**
 * Data blocks in memory, under one strict budget.
 *
 * Blocks of up to a slot (4 KiB, the usual block) live in slots of 1 MiB chunks: no garbage, no
 * allocation for each block. Bigger ones have a buffer of their own. The chunks are allocated when
 * they are first needed, and given up whole when bigger blocks need the room.
 *
 * Where a block is stands in an array of its reader, by the block's number (SstableReader.slots):
 * a hit hashes nothing. In that array
 *   slot >= 0             the block is cached there
 *   NO_SLOT (-1)          it is not
 *   UNCACHEABLE (-2)      no budget of this cache allows for a block of this size
 *   less                  it was evicted on probation at time -3 - value (eviction-queue.ts)
 *
 * Invariants:
 *  1. Chunks, own buffers and bookkeeping together never exceed the budget.
 *  2. Where both kinds of blocks are in demand, each keeps at least half; alone, either takes all.
 *  3. Eviction happens only in insert, forget and resize. Who may call them when is said in
 *     block-source.ts; so nothing here needs to know which blocks are in use.
 */
import { assert } from '../assert.ts'
import type { BlockView } from './block-source.ts'
import { FREQUENCY_MAX, S3FifoQueue, SlotLists } from './eviction-queue.ts'
import { NO_SLOT, type SstableReader } from './sstable-reader.ts'

export const UNCACHEABLE = -2
const GHOST = -3
const GHOST_TIME_MASK = 0x0fff_ffff

export const SLOT_SIZE = 4096
const CHUNK_SLOTS_MAX = 256
/** The cache is at least so many chunks, so that giving one up takes little with it. */
const CHUNK_COUNT_MIN = 32
/** Bookkeeping for a slot: its own arrays and those of a possible buffer in its place. */
const SLOT_OVERHEAD = 80
/** A bigger share of the budget is never given to one block. */
const BLOCK_SHARE_MAX = 1 / 8

export interface BlockCacheStats {
  /** Bytes that the cache may hold, and does hold. */
  readonly budget: number
  readonly usedBytes: number
  readonly blocks: number
  readonly hits: number
  readonly misses: number
  readonly insertions: number
  readonly evictions: number
}

export class BlockCache {
  /** Slots below are places in chunks; those from here on are buffers of their own. */
  readonly #slabSlots: number
  readonly #chunkSlots: number
  readonly #chunkShift: number
  readonly #chunks: (Uint8Array | undefined)[]
  /** By chunk: slots in use. */
  readonly #chunkUse: Int32Array
  #chunkCount = 0
  readonly #buffers: (Uint8Array | undefined)[]
  #bufferBytes = 0
  /** By slot of a chunk: bytes of its block. */
  readonly #lengths: Uint16Array
  readonly #readers: (SstableReader | undefined)[]
  readonly #ordinals: Int32Array
  /** List 0: free slots of allocated chunks. List 1: numbers of former buffers. */
  readonly #free: SlotLists
  /** From here on the numbers for buffers were never used. */
  #unusedFrom: number
  readonly #slabQueue: S3FifoQueue
  /** Over the numbers of buffers, less #slabSlots. */
  readonly #bufferQueue: S3FifoQueue
  readonly #budgetMax: number
  readonly #bookkeeping: number
  #budget: number
  #ghostTime = 0
  #hits = 0
  #misses = 0
  #insertions = 0
  #evictions = 0

  /** `budget` is in bytes; less than a slot makes a cache that holds nothing. */
  constructor(budget: number) {
    assert(budget >= 0, 'a budget is not negative')
    const slots = Math.floor(budget / (SLOT_SIZE + SLOT_OVERHEAD))
    let chunkSlots = 1
    while (chunkSlots < CHUNK_SLOTS_MAX && chunkSlots * 2 * CHUNK_COUNT_MIN <= slots) {
      chunkSlots *= 2
    }
    const chunkCount = Math.floor(slots / chunkSlots)
    this.#slabSlots = chunkCount * chunkSlots
    this.#chunkSlots = chunkSlots
    this.#chunkShift = Math.log2(chunkSlots)
    this.#chunks = new Array<Uint8Array | undefined>(chunkCount).fill(undefined)
    this.#chunkUse = new Int32Array(chunkCount)
    this.#buffers = new Array<Uint8Array | undefined>(this.#slabSlots).fill(undefined)
    this.#readers = new Array<SstableReader | undefined>(this.#slabSlots * 2).fill(undefined)
    this.#lengths = new Uint16Array(this.#slabSlots)
    this.#ordinals = new Int32Array(this.#slabSlots * 2)
    this.#free = new SlotLists(this.#slabSlots * 2, 2)
    this.#slabQueue = new S3FifoQueue(this.#slabSlots)
    this.#bufferQueue = new S3FifoQueue(this.#slabSlots)
    this.#unusedFrom = this.#slabSlots
    this.#bookkeeping = this.#slabSlots * SLOT_OVERHEAD
    this.#budgetMax = budget
    this.#budget = budget
  }

  get stats(): BlockCacheStats {
    return {
      budget: this.#budget,
      usedBytes: this.usedBytes,
      blocks: this.#slabQueue.count + this.#bufferQueue.count,
      hits: this.#hits,
      misses: this.#misses,
      insertions: this.#insertions,
      evictions: this.#evictions,
    }
  }

  /** Bytes that the cache may hold now. */
  get budget(): number {
    return this.#budget
  }

  /** Bytes of memory held, bookkeeping and unused slots of chunks included. */
  get usedBytes(): number {
    return this.#bookkeeping + this.#slabBytes + this.#bufferBytes
  }

  /** Bytes of free slots, and of those in chunks that the budget still allows for. */
  get room(): number {
    const chunkBytes = this.#chunkSlots * SLOT_SIZE
    const allowed = Math.max(0, Math.floor((this.#budget - this.usedBytes) / chunkBytes))
    const chunkCount = Math.min(this.#chunks.length, this.#chunkCount + allowed)
    return (chunkCount * this.#chunkSlots - this.#slabQueue.count) * SLOT_SIZE
  }

  /** Points `view` at the block and returns true if it is here. Counts the hit or miss. */
  show(reader: SstableReader, ordinal: number, view: BlockView): boolean {
    const slot = reader.slots[ordinal]!
    if (slot < 0) {
      this.#misses++
      return false
    }
    this.#hits++
    if (slot >= this.#slabSlots) return this.#showBuffer(slot, view)
    const { frequency } = this.#slabQueue
    const uses = frequency[slot]!
    if (uses < FREQUENCY_MAX) frequency[slot] = uses + 1
    const start = (slot & (this.#chunkSlots - 1)) * SLOT_SIZE
    view.bytes = this.#chunks[slot >>> this.#chunkShift]!
    view.start = start
    view.end = start + this.#lengths[slot]!
    return true
  }

  /** Whether a block of this size can be inserted at all. */
  canHold(size: number): boolean {
    return this.#fits(size, this.#budget)
  }

  #fits(size: number, budget: number): boolean {
    const room = budget - this.#bookkeeping
    return size <= SLOT_SIZE
      ? room >= this.#chunkSlots * SLOT_SIZE
      : size <= room * BLOCK_SHARE_MAX && this.#slabSlots > 0
  }

  /**
   * Copies the block `bytes[start, end)` into the cache, evicting others for it. When it is too
   * big that is noted, so that nobody tries to load it again just for the cache.
   */
  insert(
    reader: SstableReader,
    ordinal: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const before = reader.slots[ordinal]!
    if (before >= 0) return
    const length = end - start
    if (!this.canHold(length)) {
      this.#refuse(reader, ordinal, length)
      return
    }
    const slot = length <= SLOT_SIZE ? this.#takeSlot() : this.#takeBuffer(new Uint8Array(length))
    const target = slot < this.#slabSlots ? this.#chunks[slot >>> this.#chunkShift]! : undefined
    const source = bytes.subarray(start, end)
    if (target === undefined) this.#buffers[slot - this.#slabSlots]!.set(source)
    else {
      target.set(source, (slot & (this.#chunkSlots - 1)) * SLOT_SIZE)
      this.#lengths[slot] = length
    }
    this.#enter(reader, ordinal, slot, before)
  }

  /**
   * Takes over a large block instead of copying it: nobody may change it any more. Returns whether
   * it is here then; if not, it is too big.
   */
  adopt(reader: SstableReader, ordinal: number, block: Uint8Array): boolean {
    const before = reader.slots[ordinal]!
    if (before >= 0) return true
    assert(block.length > SLOT_SIZE, 'small blocks are copied')
    if (!this.canHold(block.length)) {
      this.#refuse(reader, ordinal, block.length)
      return false
    }
    this.#enter(reader, ordinal, this.#takeBuffer(block), before)
    return true
  }

  /**
   * Notes that the block is too big, unless it may fit once the budget is what it was, and its
   * stored size tells until then that it does not.
   */
  #refuse(reader: SstableReader, ordinal: number, length: number): void {
    const isForNow = this.#fits(length, this.#budgetMax)
    if (isForNow && !this.canHold(reader.storedSize(ordinal))) return
    reader.slots[ordinal] = UNCACHEABLE
  }

  /** `slot` holds the block, of which the reader remembered `before`. */
  #enter(reader: SstableReader, ordinal: number, slot: number, before: number): void {
    this.#readers[slot] = reader
    this.#ordinals[slot] = ordinal
    // Making room may have changed what the reader remembers of this block, not that it is absent.
    const isReturning = before <= GHOST && this.#ghostAge(before) < this.#slabSlots
    reader.slots[ordinal] = slot
    if (slot < this.#slabSlots) this.#slabQueue.insert(slot, isReturning)
    else this.#bufferQueue.insert(slot - this.#slabSlots, isReturning)
    this.#insertions++
  }

  /** Drops all blocks of a reader that is about to be closed. */
  forget(reader: SstableReader): void {
    const { slots } = reader
    for (let ordinal = 0; ordinal < slots.length; ordinal++) {
      const slot = slots[ordinal]!
      if (slot < 0) continue
      if (slot < this.#slabSlots) this.#slabQueue.remove(slot)
      else this.#bufferQueue.remove(slot - this.#slabSlots)
      this.#vacate(slot, NO_SLOT)
    }
  }

  /** Changes the budget, to at most what the constructor was given, and evicts what exceeds it. */
  resize(budget: number): void {
    this.#budget = Math.min(Math.max(budget, 0), this.#budgetMax)
    while (this.usedBytes > this.#budget && this.#chunkCount + this.#bufferQueue.count > 0) {
      if (this.#bufferBytes > this.#slabBytes) this.#evictBuffer()
      else this.#releaseChunk()
    }
  }

  get #slabBytes(): number {
    return this.#chunkCount * this.#chunkSlots * SLOT_SIZE
  }

  #showBuffer(slot: number, view: BlockView): boolean {
    const index = slot - this.#slabSlots
    const { frequency } = this.#bufferQueue
    const uses = frequency[index]!
    if (uses < FREQUENCY_MAX) frequency[index] = uses + 1
    const buffer = this.#buffers[index]!
    view.bytes = buffer
    view.start = 0
    view.end = buffer.length
    return true
  }

  #ghostAge(value: number): number {
    return (this.#ghostTime - (GHOST - value)) & GHOST_TIME_MASK
  }

  /** A slot in a chunk, in no list. Requires canHold of a block of a slot. */
  #takeSlot(): number {
    if (this.#free.first(0) < 0) this.#makeSlotFree()
    const slot = this.#free.first(0)
    assert(slot >= 0, 'there is a free slot')
    this.#free.unlink(slot)
    const chunk = slot >>> this.#chunkShift
    this.#chunkUse[chunk] = this.#chunkUse[chunk]! + 1
    return slot
  }

  #makeSlotFree(): void {
    const chunkBytes = this.#chunkSlots * SLOT_SIZE
    const half = (this.#budget - this.#bookkeeping) / 2
    while (this.usedBytes + chunkBytes > this.#budget && this.#bufferQueue.count > 0) {
      if (this.#chunkCount > 0 && this.#slabBytes + chunkBytes > half) break
      this.#evictBuffer()
    }
    if (this.usedBytes + chunkBytes <= this.#budget && this.#chunkCount < this.#chunks.length) {
      this.#allocateChunk()
      return
    }
    const slot = this.#slabQueue.evict()
    this.#vacate(slot, this.#evictedMark(this.#slabQueue))
    this.#evictions++
  }

  #allocateChunk(): void {
    const chunk = this.#chunks.indexOf(undefined)
    this.#chunks[chunk] = new Uint8Array(this.#chunkSlots * SLOT_SIZE)
    this.#chunkUse[chunk] = 0
    this.#chunkCount++
    const first = chunk * this.#chunkSlots
    for (let slot = first; slot < first + this.#chunkSlots; slot++) this.#free.append(0, slot)
  }

  /** Gives up the chunk with the fewest blocks. Requires that there is one. */
  #releaseChunk(): void {
    let chosen = -1
    for (let chunk = 0; chunk < this.#chunks.length; chunk++) {
      if (this.#chunks[chunk] === undefined) continue
      if (chosen < 0 || this.#chunkUse[chunk]! < this.#chunkUse[chosen]!) chosen = chunk
    }
    assert(chosen >= 0, 'there is a chunk to release')
    const first = chosen * this.#chunkSlots
    for (let slot = first; slot < first + this.#chunkSlots; slot++) {
      if (this.#readers[slot] !== undefined) {
        this.#slabQueue.remove(slot)
        this.#vacate(slot, NO_SLOT)
        this.#evictions++
      }
      this.#free.unlink(slot)
    }
    this.#chunks[chosen] = undefined
    this.#chunkCount--
  }

  /** The number of a new buffer. Requires that the cache can hold one of that length. */
  #takeBuffer(buffer: Uint8Array): number {
    const { length } = buffer
    const half = (this.#budget - this.#bookkeeping) / 2
    while (this.usedBytes + length > this.#budget || this.#firstFreeNumber() < 0) {
      const isOverHalf = this.#bufferBytes + length > half
      if (this.#bufferQueue.count > 0 && (isOverHalf || this.#chunkCount === 0)) {
        this.#evictBuffer()
      } else {
        this.#releaseChunk()
      }
    }
    const slot = this.#firstFreeNumber()
    this.#free.unlink(slot)
    this.#buffers[slot - this.#slabSlots] = buffer
    this.#bufferBytes += length
    return slot
  }

  /** A number for a buffer, which is in list 1; -1 when all are in use. */
  #firstFreeNumber(): number {
    const former = this.#free.first(1)
    if (former >= 0 || this.#unusedFrom === this.#slabSlots * 2) return former
    // Not all at the start: an opening has better things to do with its millisecond.
    this.#free.append(1, this.#unusedFrom)
    return this.#unusedFrom++
  }

  #evictBuffer(): void {
    const slot = this.#bufferQueue.evict() + this.#slabSlots
    this.#vacate(slot, this.#evictedMark(this.#bufferQueue))
    this.#evictions++
  }

  #evictedMark(queue: S3FifoQueue): number {
    if (!queue.evictedOnProbation) return NO_SLOT
    this.#ghostTime = (this.#ghostTime + 1) & GHOST_TIME_MASK
    return GHOST - this.#ghostTime
  }

  /** Frees a slot that left its queue; the reader remembers `mark` for the block. */
  #vacate(slot: number, mark: number): void {
    this.#readers[slot]!.slots[this.#ordinals[slot]!] = mark
    this.#readers[slot] = undefined
    if (slot < this.#slabSlots) {
      const chunk = slot >>> this.#chunkShift
      this.#chunkUse[chunk] = this.#chunkUse[chunk]! - 1
      this.#free.append(0, slot)
    } else {
      const index = slot - this.#slabSlots
      this.#bufferBytes -= this.#buffers[index]!.length
      this.#buffers[index] = undefined
      this.#free.append(1, slot)
    }
  }
}
