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
} from './block-source.ts'
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

  constructor(tables: OpenTables, cache: BlockCache) {
    super()
    this.#tables = tables
    this.#cache = cache
  }

  override open(table: TableMetadata): SstableReader {
    return this.#tables.find(table.fileNumber) ?? this.#tables.openSync(table, true)
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    readBlockSync(reader, ordinal, view)
    this.#cache.insert(reader, ordinal, view.bytes, view.start, view.end)
  }
}

/**
 * For lookups and cursors that may wait: throws BlockMiss. Only a block that the cache has no room
 * for in principle is read at once, since loading it would lead nowhere.
 */
export class DeferredBlockSource extends BlockSource {
  readonly #tables: OpenTables
  readonly #cache: BlockCache
  readonly #miss: BlockMiss

  constructor(tables: OpenTables, cache: BlockCache, loader: MissLoader) {
    super()
    this.#tables = tables
    this.#cache = cache
    this.#miss = new BlockMiss(loader)
  }

  override open(table: TableMetadata): SstableReader {
    const reader = this.#tables.find(table.fileNumber)
    if (reader === undefined) throw this.#miss.forTable(table)
    return reader
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    const isTooBig =
      reader.slots[ordinal] === UNCACHEABLE || !this.#cache.canHold(reader.storedSize(ordinal))
    if (!isTooBig) throw this.#miss.forBlock(reader, ordinal)
    readBlockSync(reader, ordinal, view)
  }
}

/** For synchronous cursors: uses what is cached, reads the rest at once, and caches nothing. */
export class TransientBlockSource extends BlockSource {
  readonly #tables: OpenTables
  readonly #cache: BlockCache

  constructor(tables: OpenTables, cache: BlockCache) {
    super()
    this.#tables = tables
    this.#cache = cache
  }

  override open(table: TableMetadata): SstableReader {
    return this.#tables.find(table.fileNumber) ?? this.#tables.openSync(table, false)
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    if (this.#cache.show(reader, ordinal, view)) return
    readBlockSync(reader, ordinal, view)
  }
}
