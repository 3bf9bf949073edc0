/**
 * Blocks for a compaction that is to get rid of damage: one that cannot be read is passed over, and
 * which keys may have stood in it is remembered. Everything else of a table must be sound.
 *
 * For cursors that only go forward (TableCursor): such a block is an empty view.
 */
import { CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import type { BlockView } from './block-source.ts'
import type { FileSystem } from './file-system.ts'
import type { LostRange } from './job.ts'
import { ReadAheadSource } from './read-ahead-source.ts'
import type { SstableReader } from './sstable-reader.ts'
import type { OpenOptions } from './sstable-sections.ts'

export class SalvageSource extends ReadAheadSource {
  readonly lost: LostRange[] = []

  constructor(fileSystem: FileSystem, directory: string, hasher: Hasher, options: OpenOptions) {
    super(fileSystem, directory, hasher, options)
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    try {
      super.fetch(reader, ordinal, view)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      view.start = 0
      view.end = 0
      const { smallestKey } = reader.metadata
      const before = ordinal === 0 ? smallestKey : reader.separator(ordinal - 1)
      this.lost.push({ smallestKey: before, largestKey: reader.separator(ordinal) })
    }
  }
}
