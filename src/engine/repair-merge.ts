/**
 * Makes one level of tables of which nobody knows the levels any more: the newest version of each
 * key, whichever table has it. Tombstones stay, as nobody knows what else they hid; so do expired
 * entries. Runs on the calling thread.
 */
import { compareBytes } from '../bytes.ts'
import type { TableOptions } from './job.ts'
import { LevelCursor } from './level-cursor.ts'
import { addProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { mergeCursors } from './merging-cursor.ts'
import { outputCountMax, TABLE_RANGES_MAX } from './output-count.ts'
import { fragmentTombstones } from './range-fragmenter.ts'
import { ReadAheadSource } from './read-ahead-source.ts'
import type { JobEnvironment } from './run-job.ts'
import type { TableMetadata } from './table-metadata.ts'
import { TableOutputs } from './table-outputs.ts'
import { VersionFilter } from './version-filter.ts'

/** Bytes of an output table before the next one begins. */
const TABLE_SIZE_TARGET = 32 * 1024 * 1024
/** Entries between two looks at the signal. */
const ENTRIES_PER_LOOK = 1024
const NO_SNAPSHOTS = new Float64Array(0)

export interface RepairMerge {
  readonly directory: string
  readonly tableOptions: TableOptions
  /** The first of `fileNumberCount` numbers that no file has. */
  readonly firstFileNumber: number
  readonly fileNumberCount: number
  readonly control: JobControl
}

/** Whether the tables can stand in one level as they are: no two span a common key. */
export function formLevel(tables: readonly TableMetadata[]): boolean {
  const sorted = [...tables].sort((a, b) => compareBytes(a.smallestKey, b.smallestKey))
  return sorted.every((table, index) => {
    const next = sorted[index + 1]
    return next === undefined || compareBytes(table.largestKey, next.smallestKey) < 0
  })
}

/** The most tables that a merge of these comes to. */
export function mergedCountMax(tables: readonly TableMetadata[]): number {
  return outputCountMax(tables, TABLE_SIZE_TARGET)
}

/** The tables of the level, ascending, durable. The inputs may hold an entry more than once. */
export function mergeTables(
  tables: readonly TableMetadata[],
  merge: RepairMerge,
  { fileSystem, hasher }: JobEnvironment,
): readonly TableMetadata[] {
  const { directory, control } = merge
  const source = new ReadAheadSource(fileSystem, directory, hasher, { scanOnly: true })
  let outputs: TableOutputs | undefined
  try {
    const lists = tables.filter(table => table.rangeTombstoneCount > 0)
    const ranges = fragmentTombstones(
      lists.flatMap(table => source.open(table).ranges),
      NO_SNAPSHOTS,
    )
    const targets = { tableSize: TABLE_SIZE_TARGET, rangeCount: TABLE_RANGES_MAX }
    outputs = new TableOutputs(fileSystem, hasher, merge, targets, ranges)
    const filter = new VersionFilter(NO_SNAPSHOTS, undefined, ranges)
    const merged = mergeCursors(tables.map(table => new LevelCursor([table], source)))
    let count = 0
    for (merged.seekToFirst(); merged.valid; merged.next()) {
      if (count++ % ENTRIES_PER_LOOK === 0) throwIfCancelled(control)
      if (filter.keeps(merged)) outputs.add(merged, filter.isNewKey)
    }
    addProgress(
      control,
      tables.reduce((sum, table) => sum + table.size, 0),
    )
    return outputs.finish()
  } finally {
    source.close()
    outputs?.abandon()
  }
}
