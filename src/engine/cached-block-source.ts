/**
 * The main thread's ways to blocks and tables, all through the caches; see block-source.ts for who
 * may use which. They differ in what they do about something that is not in memory.
 */
import { type BlockCache, UNCACHEABLE } from './block-cache.ts'
import {
  BlockMiss,
  BlockSource,
  type BlockView,
  type MissLoader,
  readBlockSync,
  readSmallBlockSync,
} from './block-source.ts'
import { LARGE_SIZE_MIN } from './slices.ts'
import type { SstableReader } from './sstable-reader.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Open tables by their number. table-cache.ts implements it. */
export interface OpenTables {
  /** The open table, or undefined. Counts as a use. */
  find(fileNumber: number): SstableReader | undefined
  /** Opens a table at once; `evict` lets it close others for it. */
  openSync(table: TableMetadata, evict: boolean): SstableReader
}

/** For synchronous point lookups: reads at once and keeps what it read. */
export class PointBlockSource extends BlockSource {
  readonly #tables: OpenTables
  readonly #cache: BlockCache
  readonly #loader: MissLoader

  constructor(tables: OpenTables, cache: BlockCache, loader: MissLoader) {
    super()
    this.#tables = tables
    this.#cache = cache
    this.#loader = loader
  }

  override open(table: TableMetadata): SstableReader {
    return this.#tables.find(table.fileNumber) ?? this.#tables.openSync(table, true)
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    if (showLoaded(this.#loader, reader, ordinal, view)) return
    readBlockSync(reader, ordinal, view)
    this.#cache.insert(reader, ordinal, view.bytes, view.start, view.end)
  }
}

/**
 * For lookups and cursors that may wait: throws BlockMiss. Of the blocks that the cache has no room
 * for in principle the small ones are read at once, since loading them would lead nowhere. The
 * large ones, as they are or once they are decompressed, are handed over by the loader.
 */
export class DeferredBlockSource extends BlockSource {
  readonly #tables: OpenTables
  readonly #cache: BlockCache
  readonly #loader: MissLoader
  readonly #miss: BlockMiss

  constructor(tables: OpenTables, cache: BlockCache, loader: MissLoader) {
    super()
    this.#tables = tables
    this.#cache = cache
    this.#loader = loader
    this.#miss = new BlockMiss(loader)
  }

  override open(table: TableMetadata): SstableReader {
    const reader = this.#tables.find(table.fileNumber)
    if (reader === undefined) throw this.#miss.forTable(table)
    return reader
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    const size = reader.storedSize(ordinal)
    const isTooBig = reader.slots[ordinal] === UNCACHEABLE || !this.#cache.canHold(size)
    if (!isTooBig) throw this.#miss.forBlock(reader, ordinal)
    if (showLoaded(this.#loader, reader, ordinal, view)) return
    if (size <= LARGE_SIZE_MIN && readSmallBlockSync(reader, ordinal, view)) return
    throw this.#miss.forBlock(reader, ordinal)
  }
}

/** Points `view` at a large block that is kept beside the cache; false when it is not. */
function showLoaded(
  loader: MissLoader,
  reader: SstableReader,
  ordinal: number,
  view: BlockView,
): boolean {
  const block = loader.loadedBlock(reader, ordinal)
  if (block === undefined) return false
  view.bytes = block
  view.start = 0
  view.end = block.length
  return true
}

/** For synchronous cursors: uses what is cached, reads the rest at once, and caches nothing. */
export class TransientBlockSource extends BlockSource {
  readonly #tables: OpenTables
  readonly #cache: BlockCache
  readonly #loader: MissLoader

  constructor(tables: OpenTables, cache: BlockCache, loader: MissLoader) {
    super()
    this.#tables = tables
    this.#cache = cache
    this.#loader = loader
  }

  override open(table: TableMetadata): SstableReader {
    return this.#tables.find(table.fileNumber) ?? this.#tables.openSync(table, false)
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    if (showLoaded(this.#loader, reader, ordinal, view)) return
    readBlockSync(reader, ordinal, view)
  }
}
