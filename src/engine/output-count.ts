/**
 * How many tables a merge can come to: so many file numbers are reserved for its outputs.
 *
 * It goes by the sizes before compression. The inputs' files may be far smaller than the outputs:
 * they may have been written with another codec, whose turn it is not any more.
 */
import { BLOCK_TRAILER_SIZE } from './block-codec.ts'
import { BLOCK_HEADER_SIZE, DELTA_WIDTH_MAX, RECORD_SIZE } from './block-format.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Range tombstones of an output table; their number bounds what a table takes in memory. */
export const TABLE_RANGES_MAX = 4096
/** An entry's fingerprint and record; and a block of its own, if it comes to that. */
const ENTRY_OVERHEAD_MAX =
  1 + RECORD_SIZE + DELTA_WIDTH_MAX + BLOCK_HEADER_SIZE + BLOCK_TRAILER_SIZE

/**
 * The most tables that outputs of `tableSizeTarget` bytes of blocks each come to, whatever the
 * codec, when the entries and range tombstones of `tables` are merged.
 */
export function outputCountMax(tables: readonly TableMetadata[], tableSizeTarget: number): number {
  let size = 0
  let rangeCount = 0
  for (const { rawSize, entryCount, rangeTombstoneCount } of tables) {
    size += rawSize + entryCount * ENTRY_OVERHEAD_MAX
    // Merging lists of fragments at most doubles their number.
    rangeCount += 2 * rangeTombstoneCount
  }
  // A table ends when its blocks have the size, or when it has passed so many ranges, at least one
  // of which is cut in two. The last one ends where everything does.
  return Math.floor(size / tableSizeTarget) + Math.ceil(rangeCount / (TABLE_RANGES_MAX - 1)) + 1
}
