/**
 * Loads blocks into the cache without holding up the event loop.
 *
 * Blocks that follow the ones just loaded from the same table are taken to be a scan: the loader
 * then reads more and more of them at once, up to 256 KiB, in either direction.
 *
 * Invariants:
 *  1. A block is never read twice at the same time, however many wait for it.
 *  2. At most READS_MAX reads are under way; the others wait in the order in which they came.
 *  3. A reader is retained while one of its blocks is being read.
 */
import { CorruptionError, IoError, OverloadedError } from '../errors.ts'
import { type BlockCache, UNCACHEABLE } from './block-cache.ts'
import { BlockView, showBlock } from './block-source.ts'
import type { BufferPool } from './buffer-pool.ts'
import { LARGE_SIZE_MIN, uninitialized } from './slices.ts'
import type { SstableReader } from './sstable-reader.ts'

/** More at once only wait for each other in the thread pool. */
const READS_MAX = 32
/** Reads that wait for one of the above before more are refused. */
const WAITING_MAX = 100_000
const WAITING_RETRY_MS = 20
/** Entries already served that may stand at the front of the queue. */
const WAITING_TRIM = 1024
const READ_AHEAD_BYTES_MAX = 256 * 1024
/** Large blocks that are kept outside of the cache: one is in use, one may just have come. */
const LARGE_BLOCKS_MAX = 2
/** The share of the cache that one read may fill. */
const READ_AHEAD_SHARE = 1 / 64

/** A large block that the cache does not take. */
interface LargeBlock {
  readonly reader: SstableReader
  readonly ordinal: number
  readonly block: Uint8Array
}

/** The blocks that the last load of a table brought. */
interface Run {
  readonly first: number
  readonly last: number
  readonly blocks: number
}

export class BlockLoader {
  readonly #cache: BlockCache
  readonly #buffers: BufferPool
  readonly #loads = new Map<SstableReader, Map<number, Promise<void>>>()
  readonly #runs = new WeakMap<SstableReader, Run>()
  readonly #view = new BlockView()
  #active = 0
  #waiting: (() => void)[] = []
  #waitingStart = 0
  /** For those who waited for them and look now; the latest first. */
  #large: readonly LargeBlock[] = []

  /** `buffers` are lent for each read. */
  constructor(cache: BlockCache, buffers: BufferPool) {
    this.#cache = cache
    this.#buffers = buffers
  }

  /** A large block that was loaded lately and that the cache did not take. */
  loaded(reader: SstableReader, ordinal: number): Uint8Array | undefined {
    return this.#large.find(other => other.reader === reader && other.ordinal === ordinal)?.block
  }

  /** Reads that are under way or wait. */
  get pending(): number {
    return this.#active + this.#waiting.length - this.#waitingStart
  }

  /** Resolves when the block is in the cache, or known not to fit it. */
  load(reader: SstableReader, ordinal: number): Promise<void> {
    const loads = this.#loads.get(reader) ?? new Map<number, Promise<void>>()
    const underWay = loads.get(ordinal)
    if (underWay !== undefined) return underWay
    if (reader.slots[ordinal]! >= 0) return Promise.resolve()
    if (this.#waiting.length - this.#waitingStart >= WAITING_MAX) {
      return Promise.reject(
        new OverloadedError(`${WAITING_MAX} reads wait for the disk`, WAITING_RETRY_MS),
      )
    }
    this.#loads.set(reader, loads)
    const [first, last] = this.#extent(reader, ordinal, loads)
    reader.retain()
    const load = this.#load(reader, ordinal, first, last).finally(() => {
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

  async #load(reader: SstableReader, ordinal: number, first: number, last: number): Promise<void> {
    if (this.#active >= READS_MAX) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else this.#active++
    if (reader.storedSize(ordinal) > LARGE_SIZE_MIN) {
      try {
        await this.#loadLarge(reader, ordinal)
      } finally {
        this.#releasePermit()
      }
      return
    }
    const position = reader.blockOffset(first)
    const size = reader.blockOffset(last + 1) - position
    const bytes = this.#buffers.take(size)
    try {
      const length = await reader.file.read(bytes, 0, size, position)
      if (reader.closed) return
      const stored = { bytes, length, position }
      this.#insert(reader, ordinal, stored)
      for (let block = first; block <= last; block++) {
        if (block !== ordinal && !this.#insertAhead(reader, block, stored)) break
      }
    } finally {
      this.#buffers.giveBack(bytes)
      this.#releasePermit()
    }
  }

  /** Nothing of it takes long on this thread, and nothing is copied. */
  async #loadLarge(reader: SstableReader, ordinal: number): Promise<void> {
    const size = reader.storedSize(ordinal)
    const bytes = uninitialized(size)
    const length = await reader.file.read(bytes, 0, size, reader.blockOffset(ordinal))
    if (length !== size) throw reader.shortRead(ordinal, length)
    const block = await reader.verifyLargeBlock(ordinal, bytes)
    if (reader.closed) return
    if (block.length > LARGE_SIZE_MIN && this.#cache.adopt(reader, ordinal, block)) return
    reader.slots[ordinal] = UNCACHEABLE
    const others = this.#large.filter(other => !other.reader.closed && other.block !== block)
    this.#large = [{ reader, ordinal, block }, ...others].slice(0, LARGE_BLOCKS_MAX)
  }

  #insert(reader: SstableReader, ordinal: number, stored: StoredBlocks): void {
    const { bytes, length, position } = stored
    const start = reader.blockOffset(ordinal) - position
    const size = reader.storedSize(ordinal)
    if (start + size > length) throw reader.shortRead(ordinal, Math.max(length - start, 0))
    const view = this.#view
    showBlock(reader, ordinal, bytes, start, size, view)
    this.#cache.insert(reader, ordinal, view.bytes, view.start, view.end)
    view.bytes = view.scratch
  }

  /** Inserts a block that nobody asked for yet. Its damage is told to whoever asks for it. */
  #insertAhead(reader: SstableReader, ordinal: number, stored: StoredBlocks): boolean {
    try {
      this.#insert(reader, ordinal, stored)
      return true
    } catch (error) {
      if (error instanceof CorruptionError || error instanceof IoError) return false
      throw error
    }
  }

  /** Hands the permit to the read that waits longest. */
  #releasePermit(): void {
    const next = this.#waiting[this.#waitingStart]
    if (next === undefined) {
      this.#active--
      return
    }
    this.#waitingStart++
    if (this.#waitingStart === this.#waiting.length || this.#waitingStart >= WAITING_TRIM) {
      this.#waiting = this.#waiting.slice(this.#waitingStart)
      this.#waitingStart = 0
    }
    next()
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
