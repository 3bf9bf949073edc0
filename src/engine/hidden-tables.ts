/**
 * Tables that range tombstones hide whole, from every reader: they can be taken out of the version
 * without being read. So deleting much costs little, whatever its size: a partition, an old index.
 *
 *   tombstones   a-----------------p @90
 *   tables           c--f    h--m     n----r       sequences up to 80
 *   hidden           c--f    h--m                  the last one is rewritten by a compaction
 *
 * A table is hidden when each of its keys is covered by a tombstone that is newer than everything
 * in the table, and no snapshot knows something of the table without knowing the tombstone.
 *
 * What is below such a table, the same tombstones hide as well, and they stay for as long as they
 * hide anything. Tombstones of tables only: what is in a memtable alone, a crash may take back.
 */
import { compareBytes } from '../bytes.ts'
import { findFragment, type RangeFragment, type RangeFragments } from './range-fragment.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'
import { LEVEL_COUNT, type LeveledTable } from './version-edit.ts'

/** Fragments with which they are looked for; with more, compactions do it table by table. */
export const HIDING_RANGES_MAX = 1000

/**
 * The hidden tables of the version. `ranges` are the tombstones of all its tables, `snapshots` the
 * sequences at which somebody reads besides the newest, ascending.
 */
export function hiddenTables(
  version: Version,
  ranges: RangeFragments,
  snapshots: Float64Array,
): LeveledTable[] {
  const hidden: LeveledTable[] = []
  for (let level = 0; level < LEVEL_COUNT; level++) {
    const seen = new Set<TableMetadata>()
    for (const { start, end } of ranges) {
      for (const table of version.overlapping(level, start, end)) {
        if (seen.has(table)) continue
        seen.add(table)
        if (isHidden(table, ranges, snapshots)) hidden.push({ level, table })
      }
    }
  }
  return hidden
}

function isHidden(table: TableMetadata, ranges: RangeFragments, snapshots: Float64Array): boolean {
  const { smallestKey, largestKey } = table
  let at = findFragment(ranges, smallestKey, 0, smallestKey.length)
  let end = smallestKey
  for (let range = ranges[at]; range !== undefined; range = ranges[++at]) {
    if (compareBytes(range.start, end) > 0 || !hides(range, table, snapshots)) return false
    if (compareBytes(range.end, largestKey) > 0) return true
    end = range.end
  }
  return false
}

/** Whether whoever knows any entry of the table knows a newer tombstone of the fragment. */
function hides(
  { sequences }: RangeFragment,
  { smallestSequence, largestSequence }: TableMetadata,
  snapshots: Float64Array,
): boolean {
  // The oldest of the newer ones: the one that most snapshots know.
  const newer = sequences.findLast(sequence => sequence > largestSequence)
  if (newer === undefined) return false
  return !snapshots.some(snapshot => smallestSequence <= snapshot && snapshot < newer)
}
