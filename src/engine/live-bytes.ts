/**
 * An estimate of how much of a database's tables is live, from what is known of them without a look
 * inside: a table whose keys no deeper table spans replaces and deletes nothing. Each deletion in
 * the others hides one entry of mean size in those. Tables within a deleted range are gone already
 * (hidden-tables.ts); what it hides of the tables at its ends is not known, and counts as live.
 *
 * (The idea is that of RocksDB's estimate-live-data-size.)
 */
import { compareBytes } from '../bytes.ts'
import { meanEntrySize } from './compaction-picker.ts'
import { sizeOf } from './compaction-plan.ts'
import type { TableMetadata } from './table-metadata.ts'
import { LEVEL_COUNT, type Version } from './version.ts'

/** Remembers the answer for the version that was asked about last. */
export class LiveBytes {
  #version: Version | undefined
  #bytes = 0

  /** Bytes that nothing newer replaces or deletes, estimated. Costs some searches a table, once. */
  of(version: Version): number {
    if (this.#version !== version) {
      this.#version = version
      this.#bytes = liveBytesOf(version)
    }
    return this.#bytes
  }
}

function liveBytesOf(version: Version): number {
  const replacing: TableMetadata[] = []
  const live: TableMetadata[] = []
  for (const [level, tables] of version.levels.entries()) {
    for (const [index, table] of tables.entries()) {
      const older = level === 0 ? tables.slice(index + 1) : []
      const replaces =
        older.some(other => overlap(table, other)) || spansDeeper(version, level, table)
      if (replaces) replacing.push(table)
      else live.push(table)
    }
  }
  const deletions = replacing.reduce((sum, { tombstoneCount }) => sum + tombstoneCount, 0)
  return Math.max(0, Math.round(sizeOf(live) - deletions * meanEntrySize(live)))
}

function spansDeeper(version: Version, level: number, table: TableMetadata): boolean {
  for (let deeper = level + 1; deeper < LEVEL_COUNT; deeper++) {
    if (version.overlapping(deeper, table.smallestKey, table.largestKey).length > 0) return true
  }
  return false
}

function overlap(a: TableMetadata, b: TableMetadata): boolean {
  return (
    compareBytes(a.smallestKey, b.largestKey) <= 0 && compareBytes(b.smallestKey, a.largestKey) <= 0
  )
}
