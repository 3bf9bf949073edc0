/**
 * An estimate of how much of a database's tables is live, from what is known of them without a look
 * inside: a table whose keys no deeper table spans replaces and deletes nothing.
 *
 * (The idea is that of RocksDB's estimate-live-data-size.)
 */
import { compareBytes } from '../bytes.ts'
import type { TableMetadata } from './table-metadata.ts'
import { LEVEL_COUNT, type Version } from './version.ts'

/** Remembers the answer for the version that was asked about last. */
export class LiveBytes {
  #version: Version | undefined
  #bytes = 0

  /** Bytes of the tables that surely replace nothing. Costs some searches a table. */
  of(version: Version): number {
    if (this.#version !== version) {
      this.#version = version
      this.#bytes = liveBytesOf(version)
    }
    return this.#bytes
  }
}

function liveBytesOf(version: Version): number {
  let liveBytes = 0
  for (const [level, tables] of version.levels.entries()) {
    for (const [index, table] of tables.entries()) {
      const older = level === 0 ? tables.slice(index + 1) : []
      if (!older.some(other => overlap(table, other)) && !spansDeeper(version, level, table)) {
        liveBytes += table.size
      }
    }
  }
  return liveBytes
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
