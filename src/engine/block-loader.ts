/**
 * Loads blocks into the cache without holding up the event loop.
 *
 * Blocks that follow the ones just loaded from the same table are taken to be a scan: the loader
 * then reads more and more of them at once, up to 256 KiB, in either direction.
 *
 * Invariants:
 *  1. A block is never read twice at the same time, however many wait for it.
 *  2. At most READS_MAX reads are under way; the others, as many as read-gate.ts lets in, wait in
 *     the order in which they came. Of large blocks the bytes are counted instead, read ones and
 *     decompressed ones apart: no more are in memory on their way to a read than the bound, or one
 *     block alone.
 *  3. A reader is retained while one of its blocks is being read.
 *  4. Who waits for bytes to be decompressed holds what others need for reading only: nobody who
 *     decompresses waits.
 */
import { CorruptionError, IoError, OverloadedError } from '../errors.ts'
import { Admission } from './admission.ts'
import type { BlockCache } from './block-cache.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec } from './block-codec.ts'
import { BLOCK_SIZE_MAX, plainSize } from './block-compression.ts'
import { BlockView, showBlock } from './block-source.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { LargeBlock, LargeBlocks } from './large-blocks.ts'
import { LARGE_SIZE_MIN, uninitialized } from './slices.ts'
import type { SstableReader } from './sstable-reader.ts'

/** More at once only wait for each other in the thread pool. */
const READS_MAX = 32
/** Of the bytes for blocks, what large ones may take while they are read, and decompressed. */
const LARGE_LOADS_SHARE = 1 / 8
const READ_AHEAD_BYTES_MAX = 256 * 1024
/** The share of the cache that one read may fill. */
const READ_AHEAD_SHARE = 1 / 64

/** The blocks that the last load of a table brought. */
interface Run {
  readonly first: number
  readonly last: number
  readonly blocks: number
}

export class BlockLoader {
  readonly #cache: BlockCache
  readonly #buffers: BufferPool
  readonly #large: LargeBlocks
  readonly #loads = new Map<SstableReader, Map<number, Promise<LargeBlock | undefined>>>()
  readonly #runs = new WeakMap<SstableReader, Run>()
  readonly #view = new BlockView()
  readonly #reads = new Admission(READS_MAX)
  /** By bytes: of large blocks as they are stored, and as they are. */
  readonly #largeReads: Admission
  readonly #largeBlocks: Admission

  /** `buffers` are lent for each read; `large` gets what the cache does not take. */
  constructor(cache: BlockCache, buffers: BufferPool, large: LargeBlocks) {
    this.#cache = cache
    this.#buffers = buffers
    this.#large = large
    this.#largeReads = new Admission(cache.budget * LARGE_LOADS_SHARE)
    this.#largeBlocks = new Admission(cache.budget * LARGE_LOADS_SHARE)
  }

  /**
   * Resolves when the block is in the cache, or known not to fit it: with the block then, if it is
   * large. Of blocks that were loaded together it may be another one.
   */
  load(reader: SstableReader, ordinal: number): Promise<LargeBlock | undefined> {
    const loads = this.#loads.get(reader) ?? new Map<number, Promise<LargeBlock | undefined>>()
    const underWay = loads.get(ordinal)
    if (underWay !== undefined) return underWay
    if (reader.slots[ordinal]! >= 0) return Promise.resolve(undefined)
    this.#loads.set(reader, loads)
    const [first, last] = this.#extent(reader, ordinal, loads)
    reader.retain()
    const isLarge = reader.storedSize(ordinal) > LARGE_SIZE_MIN
    const loading = isLarge
      ? this.#loadLarge(reader, ordinal)
      : this.#loadRun(reader, ordinal, first, last)
    const load = loading.finally(() => {
      for (let block = first; block <= last; block++) loads.delete(block)
      if (loads.size === 0) this.#loads.delete(reader)
      reader.release()
    })
    for (let block = first; block <= last; block++) loads.set(block, load)
    return load
  }

  /** The blocks to read together: `ordinal`, and more in the direction of a scan. */
  #extent(
    reader: SstableReader,
    ordinal: number,
    loads: Map<number, unknown>,
  ): [first: number, last: number] {
    const run = this.#runs.get(reader)
    const step = run === undefined ? 0 : stepAfter(run, ordinal)
    const blocks = run === undefined || step === 0 ? 1 : run.blocks * 2
    const bytesMax = Math.min(READ_AHEAD_BYTES_MAX, this.#cache.budget * READ_AHEAD_SHARE)
    let bytes = reader.storedSize(ordinal)
    let end = ordinal
    for (let count = 1; count < blocks; count++) {
      const next = end + step
      if (next < 0 || next >= reader.blockCount) break
      if (reader.slots[next]! >= 0 || loads.has(next)) break
      bytes += reader.storedSize(next)
      if (bytes > bytesMax) break
      end = next
    }
    const [first, last] = end < ordinal ? [end, ordinal] : [ordinal, end]
    this.#runs.set(reader, { first, last, blocks: last - first + 1 })
    return [first, last]
  }

  async #loadRun(
    reader: SstableReader,
    ordinal: number,
    first: number,
    last: number,
  ): Promise<LargeBlock | undefined> {
    const admitted = this.#reads.enter(1)
    if (admitted !== undefined) await admitted
    try {
      return await this.#readRun(reader, ordinal, first, last)
    } finally {
      this.#reads.leave(1)
    }
  }

  async #readRun(
    reader: SstableReader,
    ordinal: number,
    first: number,
    last: number,
  ): Promise<LargeBlock | undefined> {
    const position = reader.blockOffset(first)
    const size = reader.blockOffset(last + 1) - position
    const bytes = this.#buffers.take(size)
    try {
      const length = await reader.file.read(bytes, 0, size, position)
      if (reader.closed) return undefined
      const stored = { bytes, length, position }
      const large = await this.#insertWanted(reader, ordinal, stored)
      if (reader.closed) return undefined
      if (large === undefined) this.#large.passedOver()
      for (let block = first; block <= last; block++) {
        if (block !== ordinal && !this.#insertAhead(reader, block, stored)) break
      }
      return large
    } finally {
      this.#buffers.giveBack(bytes)
    }
  }

  /** Inserts the block that was asked for; one that becomes large is decompressed elsewhere. */
  async #insertWanted(
    reader: SstableReader,
    ordinal: number,
    stored: StoredBlocks,
  ): Promise<LargeBlock | undefined> {
    const [start, end] = placeIn(reader, ordinal, stored)
    const { bytes, length } = stored
    if (end > length) throw reader.shortRead(ordinal, Math.max(length - start, 0))
    if (plainSize(bytes, start, end) <= LARGE_SIZE_MIN) {
      this.#insert(reader, ordinal, stored)
      return undefined
    }
    const block = await this.#open(reader, ordinal, bytes.subarray(start, end))
    return this.#take(reader, ordinal, block)
  }

  /** Nothing of it takes long on this thread, and nothing is copied. */
  async #loadLarge(reader: SstableReader, ordinal: number): Promise<LargeBlock | undefined> {
    const size = reader.storedSize(ordinal)
    const block = await this.#among(this.#largeReads, size, async () => {
      const bytes = uninitialized(size)
      const length = await reader.file.read(bytes, 0, size, reader.blockOffset(ordinal))
      if (length !== size) throw reader.shortRead(ordinal, length)
      return await this.#open(reader, ordinal, bytes)
    })
    return this.#take(reader, ordinal, block)
  }

  /** The block that is stored in `bytes` and large once it is open. */
  #open(reader: SstableReader, ordinal: number, bytes: Uint8Array): Promise<Uint8Array> {
    const open = () => reader.verifyLargeBlock(ordinal, bytes)
    const isCompressed = bytes[bytes.length - BLOCK_TRAILER_SIZE] !== BlockCodec.none
    // What it says of itself is not checked yet; nothing that is larger will be decompressed.
    const size = Math.min(plainSize(bytes, 0, bytes.length), BLOCK_SIZE_MAX)
    return isCompressed ? this.#among(this.#largeBlocks, size, open) : open()
  }

  /** Does the work once so many bytes are admitted, and counts them until it has ended. */
  async #among<T>(admission: Admission, bytes: number, work: () => Promise<T>): Promise<T> {
    // In a later slice in any case: what counts them takes them from the cache.
    await admission.enter(bytes)
    this.#large.loading(bytes)
    try {
      return await work()
    } finally {
      this.#large.loading(-bytes)
      admission.leave(bytes)
    }
  }

  /** Puts a block that nobody else uses in the cache, or among those that it does not take. */
  #take(reader: SstableReader, ordinal: number, block: Uint8Array): LargeBlock | undefined {
    if (reader.closed) return undefined
    if (block.length > LARGE_SIZE_MIN) this.#cache.adopt(reader, ordinal, block)
    else this.#cache.insert(reader, ordinal, block, 0, block.length)
    if (reader.slots[ordinal]! >= 0) return undefined
    return this.#large.add(reader, ordinal, block)
  }

  #insert(reader: SstableReader, ordinal: number, stored: StoredBlocks): void {
    const [start, end] = placeIn(reader, ordinal, stored)
    if (end > stored.length) throw reader.shortRead(ordinal, Math.max(stored.length - start, 0))
    const view = this.#view
    showBlock(reader, ordinal, stored.bytes, start, end - start, view)
    this.#cache.insert(reader, ordinal, view.bytes, view.start, view.end)
    view.bytes = view.scratch
  }

  /** Inserts a block that nobody asked for yet. Its damage is told to whoever asks for it. */
  #insertAhead(reader: SstableReader, ordinal: number, stored: StoredBlocks): boolean {
    try {
      const [start, end] = placeIn(reader, ordinal, stored)
      if (end <= stored.length && plainSize(stored.bytes, start, end) > LARGE_SIZE_MIN) return false
      this.#insert(reader, ordinal, stored)
      return true
    } catch (error) {
      if (error instanceof CorruptionError || error instanceof IoError) return false
      // There was no memory for it.
      if (error instanceof OverloadedError) return false
      throw error
    }
  }
}

/** In which direction `ordinal` continues the run: 1, -1, or 0 when it does not. */
function stepAfter(run: Run, ordinal: number): number {
  if (ordinal === run.last + 1) return 1
  return ordinal === run.first - 1 ? -1 : 0
}

/** Consecutive stored blocks as read from `position` of their file. */
interface StoredBlocks {
  readonly bytes: Uint8Array
  /** Bytes that the file gave. */
  readonly length: number
  readonly position: number
}

/** Where the block stands in the bytes, trailer included. */
function placeIn(
  reader: SstableReader,
  ordinal: number,
  { position }: StoredBlocks,
): [start: number, end: number] {
  const start = reader.blockOffset(ordinal) - position
  return [start, start + reader.storedSize(ordinal)]
}
