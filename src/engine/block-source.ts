/**
 * How lookups and cursors get at tables and their blocks: a source has them in memory, or reads
 * them, or throws BlockMiss so that the caller can load them without holding up the event loop.
 * One synchronous lookup code path serves all three:
 *
 *   for (;;) {
 *     try {
 *       return lookup(source)            // from the start each time
 *     } catch (error) {
 *       if (!(error instanceof BlockMiss)) throw error
 *       await error.load()
 *     }
 *   }
 *
 * What a source hands out is borrowed until the end of the synchronous slice: the time from when
 * the event loop enters our code until it returns there, or until the next `await`. After it, look
 * the table and the block up again. Three rules keep a borrowed block or table from being evicted
 * under its user, without pins that somebody could forget to release:
 *  1. A load (BlockMiss.load) inserts and evicts only between slices, when nobody borrows.
 *  2. The source for synchronous point lookups inserts and evicts within a slice, but a point
 *     lookup has let go of one block and table before it asks for the next.
 *  3. The source for synchronous cursors, which hold many blocks at once, never inserts.
 */
import { BLOCK_TRAILER_SIZE } from './block-codec.ts'
import { plainSize } from './block-compression.ts'
import type { LargeBlock } from './large-blocks.ts'
import { LARGE_SIZE_MIN } from './slices.ts'
import type { SstableReader } from './sstable-reader.ts'
import type { TableMetadata } from './table-metadata.ts'

const NOTHING: Uint8Array = new Uint8Array(0)

/**
 * A block in somebody's buffer: bytes[start, end), verified and without its trailer. Each consumer
 * owns one and reuses it; the block is borrowed until the next fetch with the same view.
 */
export class BlockView {
  bytes = NOTHING
  start = 0
  end = 0
  /** Where a block is read to that no cache takes. */
  scratch = NOTHING
}

export abstract class BlockSource {
  /** The view that point lookups share, one after another. */
  readonly lookupView: BlockView = new BlockView()
  /** Counts what cursors fetch: as long as it stays, all that they borrowed is where it was. */
  fetches = 0

  /** The open table. May throw BlockMiss. */
  abstract open(table: TableMetadata): SstableReader

  /** Points `view` at a block. Requires 0 <= ordinal < reader.blockCount. May throw BlockMiss. */
  abstract fetch(reader: SstableReader, ordinal: number, view: BlockView): void
}

/** Loads what a BlockMiss was thrown for. */
export interface MissLoader {
  openTable(table: TableMetadata): Promise<unknown>
  /** Resolves with the block when it is a large one that the cache does not take. */
  loadBlock(reader: SstableReader, ordinal: number): Promise<LargeBlock | undefined>
  /** A large block that is kept although the cache does not take it. */
  loadedBlock(reader: SstableReader, ordinal: number): Uint8Array | undefined
}

/**
 * Thrown when a lookup needs something that is not in memory. One reused object, so that a miss
 * costs no stack trace: call `load` in the slice that caught it.
 */
export class BlockMiss extends Error {
  override readonly name = 'BlockMiss'
  readonly #loader: MissLoader
  #table: TableMetadata | undefined
  #reader: SstableReader | undefined
  #ordinal = 0

  constructor(loader: MissLoader) {
    super('a lookup needs a block that is not in memory')
    this.#loader = loader
  }

  forTable(table: TableMetadata): this {
    this.#table = table
    this.#reader = undefined
    return this
  }

  forBlock(reader: SstableReader, ordinal: number): this {
    this.#reader = reader
    this.#ordinal = ordinal
    return this
  }

  /**
   * Resolves when the missing part is in memory, or with a large block that stays there only while
   * it is held (large-blocks.ts); the lookup then starts again. Rejects with CorruptionError or
   * IoError.
   */
  async load(): Promise<LargeBlock | undefined> {
    if (this.#reader !== undefined) {
      const ordinal = this.#ordinal
      const block = await this.#loader.loadBlock(this.#reader, ordinal)
      return block?.ordinal === ordinal ? block : undefined
    }
    if (this.#table !== undefined) await this.#loader.openTable(this.#table)
    return undefined
  }
}

/** Reads and verifies a block into `view.scratch` and points `view` at it. */
export function readBlockSync(reader: SstableReader, ordinal: number, view: BlockView): void {
  showBlock(reader, ordinal, readStored(reader, ordinal, view), 0, reader.storedSize(ordinal), view)
}

/**
 * readBlockSync for who has to answer soon: returns false, and points at nothing, when the block is
 * compressed and becomes a large one.
 */
export function readSmallBlockSync(
  reader: SstableReader,
  ordinal: number,
  view: BlockView,
): boolean {
  const stored = readStored(reader, ordinal, view)
  const size = reader.storedSize(ordinal)
  if (plainSize(stored, 0, size) > LARGE_SIZE_MIN) return false
  showBlock(reader, ordinal, stored, 0, size, view)
  return true
}

/** The stored block, from the start of a buffer. A large one is not kept as scratch. */
function readStored(reader: SstableReader, ordinal: number, view: BlockView): Uint8Array {
  const size = reader.storedSize(ordinal)
  let { scratch } = view
  if (scratch.length < size) {
    scratch = new Uint8Array(size)
    if (size <= LARGE_SIZE_MIN) view.scratch = scratch
  }
  const length = reader.file.readSync(scratch, 0, size, reader.blockOffset(ordinal))
  if (length !== size) throw reader.shortRead(ordinal, length)
  return scratch
}

/** Verifies the stored block in `bytes[start, start + size)` and points `view` at its content. */
export function showBlock(
  reader: SstableReader,
  ordinal: number,
  bytes: Uint8Array,
  start: number,
  size: number,
  view: BlockView,
): void {
  const inflated = reader.verifyBlock(ordinal, bytes, start, start + size)
  if (inflated === undefined) {
    // Differences of file offsets are floating-point numbers to the compiler, and so would be
    // every place in the block that a reader derives from them.
    view.bytes = bytes
    view.start = start | 0
    view.end = (start + size - BLOCK_TRAILER_SIZE) | 0
  } else {
    view.bytes = inflated
    view.start = 0
    view.end = inflated.length
  }
}
