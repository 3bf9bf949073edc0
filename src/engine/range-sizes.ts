/**
 * How much of the disk a range of keys takes, read from the indices of its tables without reading
 * data: exact to a block at either end of the range in each table.
 */
import { type ByteRange, isEmptyRange } from '../arguments.ts'
import { compareBytes } from '../bytes.ts'
import type { SstableReader } from './sstable-reader.ts'
import type { TableCache } from './table-cache.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { TreeState } from './tree-state.ts'

export class RangeSizes {
  readonly #state: TreeState
  readonly #tables: TableCache

  constructor(state: TreeState, tables: TableCache) {
    this.#state = state
    this.#tables = tables
  }

  /** Bytes of tables that the range takes. What is only in memtables does not count. */
  async estimate(range: ByteRange): Promise<number> {
    if (isEmptyRange(range)) return 0
    const lower = range.gt ?? range.gte
    const upper = range.lt ?? range.lte
    for (;;) {
      const { version } = this.#state
      try {
        const sizes = await Promise.all(
          version.levels
            .flatMap((_, level) => version.overlapping(level, lower, upper))
            .map(table => this.#sizeIn(table, lower, upper)),
        )
        return sizes.reduce((sum, size) => sum + size, 0)
      } catch (error) {
        // A table that a compaction replaced meanwhile is not needed any more: look again.
        if (version === this.#state.version) throw error
      }
    }
  }

  async #sizeIn(
    table: TableMetadata,
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
  ): Promise<number> {
    const fromStart = lower === undefined || compareBytes(lower, table.smallestKey) <= 0
    const toEnd = upper === undefined || compareBytes(upper, table.largestKey) > 0
    if (fromStart && toEnd) return table.size
    const reader = await this.#tables.openTable(table)
    const start = fromStart ? 0 : offsetOf(reader, lower)
    return (toEnd ? table.size : offsetOf(reader, upper)) - start
  }
}

/** Where the block begins that may hold the key. */
function offsetOf(reader: SstableReader, key: Uint8Array): number {
  return reader.blockOffset(reader.findBlock(key, 0, key.length))
}
