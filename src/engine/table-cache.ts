/**
 * Open tables, and the blocks of them that are in memory, under one budget: what the indices and
 * filters of open tables take, large blocks that the cache does not take, and the writes that wait,
 * is taken from the block cache.
 *
 * Invariants:
 *  1. At most `openFilesMax` tables are open, except during a synchronous slice whose cursors need
 *     more at once; the next load closes what is too much. The least recently used closes first.
 *  2. Indices and filters take at most half of the budget, or belong to a single table.
 *  3. A table is opened once, however many wait for it, and never after `closeAll`.
 */
import { ClosedError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BlockCache, type BlockCacheStats } from './block-cache.ts'
import { BlockLoader } from './block-loader.ts'
import type { BlockSource, MissLoader } from './block-source.ts'
import { BufferPool } from './buffer-pool.ts'
import {
  DeferredBlockSource,
  type OpenTables,
  PointBlockSource,
  TransientBlockSource,
} from './cached-block-source.ts'
import { formatFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import { ioFailure, ReportingFile } from './io-failure.ts'
import { type LargeBlock, type LargeBlockHold, LargeBlocks } from './large-blocks.ts'
import { SstableReader } from './sstable-reader.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Of the budget, for indices and filters. */
const TABLE_SHARE_MAX = 1 / 2
/** Of the budget, for large blocks that nobody needs just now. */
const LARGE_SHARE_MAX = 1 / 2
/** Of what is left for blocks, the share of all others however large some are. */
const BLOCK_SHARE_MIN = 1 / 4
/** Bytes of buffers for reading that lie unused at most. */
const SPARE_BUFFERS_MAX = 1024 * 1024

/** Who takes of the budget for a while: writes that wait, a log that cannot be flushed. */
export type Borrower = 'writes' | 'log'

export interface TableCacheOptions {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly hasher: Hasher
  /** Bytes for blocks, indices and filters together. */
  readonly budget: number
  readonly openFilesMax: number
}

export interface TableCacheStats {
  readonly openTables: number
  /** Bytes of indices and filters. */
  readonly tableBytes: number
  /** Bytes of large blocks beside the cache. */
  readonly largeBytes: number
  readonly blocks: BlockCacheStats
}

export class TableCache implements OpenTables, MissLoader {
  /** For synchronous point lookups. */
  readonly points: BlockSource
  /** For lookups and cursors that can wait: throws BlockMiss. */
  readonly deferred: BlockSource
  /** For synchronous cursors. */
  readonly transient: BlockSource
  readonly #options: TableCacheOptions
  readonly #blocks: BlockCache
  readonly #large: LargeBlocks
  readonly #loader: BlockLoader
  readonly #buffers = new BufferPool(SPARE_BUFFERS_MAX)
  readonly #readers = new Map<number, SstableReader>()
  readonly #opening = new Map<number, Promise<SstableReader>>()
  /** Tables that were closed for good while they were being opened. */
  readonly #unwanted = new Set<number>()
  #tableBytes = 0
  /** Bytes of the budget that others use for now, and their sum. */
  readonly #lent = new Map<Borrower, number>()
  #lentBytes = 0
  #clock = 0
  #closed = false

  constructor(options: TableCacheOptions) {
    this.#options = options
    this.#blocks = new BlockCache(options.budget)
    const largeBytesMax = options.budget * LARGE_SHARE_MAX
    this.#large = new LargeBlocks(largeBytesMax, () => this.#resizeBlocks())
    this.#loader = new BlockLoader(this.#blocks, this.#buffers, this.#large)
    this.points = new PointBlockSource(this, this.#blocks, this)
    this.deferred = new DeferredBlockSource(this, this.#blocks, this)
    this.transient = new TransientBlockSource(this, this.#blocks, this)
  }

  get stats(): TableCacheStats {
    return {
      openTables: this.#readers.size,
      tableBytes: this.#tableBytes,
      largeBytes: this.#large.bytes,
      blocks: this.#blocks.stats,
    }
  }

  /** Bytes of blocks that fit in without another being evicted, or nearly so. */
  get roomForBlocks(): number {
    return this.#blocks.room
  }

  find(fileNumber: number): SstableReader | undefined {
    const reader = this.#readers.get(fileNumber)
    if (reader !== undefined) reader.lastUse = ++this.#clock
    return reader
  }

  openSync(table: TableMetadata, evict: boolean): SstableReader {
    this.#checkOpen()
    const options = { buffers: this.#buffers }
    const { hasher } = this.#options
    const reader = SstableReader.openSync(this.#openFile(table), table, hasher, options)
    this.#add(reader)
    if (evict) this.#trim(reader)
    return reader
  }

  /**
   * Opens the table unless it is open. Rejects with CorruptionError or IoError.
   */
  openTable(table: TableMetadata): Promise<SstableReader> {
    const open = this.#readers.get(table.fileNumber)
    if (open !== undefined) return Promise.resolve(open)
    const underWay = this.#opening.get(table.fileNumber)
    if (underWay !== undefined) return underWay
    // Not in #open: what fails at once would be forgotten before it is known, and stay for ever.
    const opening = this.#open(table).finally(() => {
      this.#opening.delete(table.fileNumber)
      this.#unwanted.delete(table.fileNumber)
    })
    this.#opening.set(table.fileNumber, opening)
    return opening
  }

  loadedBlock(reader: SstableReader, ordinal: number): Uint8Array | undefined {
    return this.#large.find(reader, ordinal)
  }

  /** Resolves when the block is in memory, with it when it is large and the cache takes it not. */
  async loadBlock(reader: SstableReader, ordinal: number): Promise<LargeBlock | undefined> {
    this.#checkOpen()
    const large = await this.#loader.load(reader, ordinal)
    this.#trim(reader)
    return large
  }

  /** Holds large blocks for a read that waits for them. */
  holdLarge(): LargeBlockHold {
    return this.#large.hold()
  }

  /**
   * Leaves so many bytes of the budget to `borrower`, from now on and in place of those before:
   * blocks make room. Only for moments when nobody borrows blocks (block-source.ts).
   */
  lend(borrower: Borrower, bytes: number): void {
    this.#lentBytes += bytes - (this.#lent.get(borrower) ?? 0)
    this.#lent.set(borrower, bytes)
    this.#resizeBlocks()
  }

  /** Forgets a table that was deleted; its file closes once no load uses it any more. */
  close(fileNumber: number): void {
    if (this.#opening.has(fileNumber)) this.#unwanted.add(fileNumber)
    const reader = this.#readers.get(fileNumber)
    if (reader !== undefined) this.#remove(reader)
  }

  /** Closes all tables. Later calls fail with ClosedError. */
  closeAll(): void {
    this.#closed = true
    for (const reader of [...this.#readers.values()]) this.#remove(reader)
  }

  async #open(table: TableMetadata): Promise<SstableReader> {
    const { fileNumber } = table
    this.#checkOpen()
    const file = this.#openFile(table)
    const options = { buffers: this.#buffers }
    const reader = await SstableReader.open(file, table, this.#options.hasher, options)
    if (this.#closed || this.#unwanted.has(fileNumber)) {
      reader.close()
      throw new ClosedError(`table ${fileNumber} was closed while it was being opened`)
    }
    // Somebody may have opened it synchronously in the meantime.
    const other = this.#readers.get(fileNumber)
    if (other !== undefined) {
      reader.close()
      return other
    }
    this.#add(reader)
    this.#trim(reader)
    return reader
  }

  #openFile(table: TableMetadata): File {
    const { fileSystem, directory } = this.#options
    const path = joinPath(directory, formatFileName('table', table.fileNumber))
    try {
      return new ReportingFile(fileSystem.openSync(path))
    } catch (error) {
      throw ioFailure(error, `${path} cannot be opened`)
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedError('the database is closed')
  }

  #add(reader: SstableReader): void {
    reader.lastUse = ++this.#clock
    this.#readers.set(reader.metadata.fileNumber, reader)
    this.#tableBytes += reader.memorySize
  }

  #remove(reader: SstableReader): void {
    this.#readers.delete(reader.metadata.fileNumber)
    this.#blocks.forget(reader)
    reader.close()
    this.#tableBytes -= reader.memorySize
    this.#large.tableClosed()
    this.#resizeBlocks()
  }

  /**
   * Closes the tables that are too many or take too much, but never `kept`, and leaves the rest of
   * the budget to the blocks. Only for moments when nobody borrows blocks (block-source.ts).
   */
  #trim(kept: SstableReader): void {
    const { budget, openFilesMax } = this.#options
    while (
      this.#readers.size > 1 &&
      (this.#readers.size > openFilesMax || this.#tableBytes > budget * TABLE_SHARE_MAX)
    ) {
      let coldest: SstableReader | undefined
      for (const reader of this.#readers.values()) {
        if (reader !== kept && (coldest === undefined || reader.lastUse < coldest.lastUse)) {
          coldest = reader
        }
      }
      if (coldest === undefined) break
      this.#remove(coldest)
    }
    this.#resizeBlocks()
  }

  #resizeBlocks(): void {
    const { budget } = this.#options
    const left = budget - this.#tableBytes - this.#lentBytes
    const large = Math.min(this.#large.bytes, left * (1 - BLOCK_SHARE_MIN))
    this.#blocks.resize(left - Math.max(0, large))
  }
}
