/**
 * Finds the tables that can be dropped without being read (hidden-tables.ts): keeps the range
 * tombstones of the version at hand in memory, and looks again when tables or snapshots change.
 */
import { HIDING_RANGES_MAX, hiddenTables } from './hidden-tables.ts'
import { NO_FRAGMENTS, type RangeFragments } from './range-fragment.ts'
import { fragmentTombstones } from './range-fragmenter.ts'
import type { TableCache } from './table-cache.ts'
import type { TreeState } from './tree-state.ts'
import type { Version } from './version.ts'
import type { LeveledTable } from './version-edit.ts'

export class HiddenTableFinder {
  readonly #state: TreeState
  readonly #tables: TableCache
  readonly #onFound: () => void
  /** The version whose tombstones are in #ranges, or are being read. */
  #version: Version | undefined
  #ranges: RangeFragments | undefined
  /** What was found for these snapshots. */
  #snapshots: Float64Array | undefined
  #hidden: readonly LeveledTable[] = []

  /** `onFound` is called when find() has another answer than undefined. */
  constructor(state: TreeState, tables: TableCache, onFound: () => void) {
    this.#state = state
    this.#tables = tables
    this.#onFound = onFound
  }

  /** Whether find() would answer undefined, and onFound will be called. */
  get isReading(): boolean {
    return this.#version !== undefined && this.#ranges === undefined
  }

  /** The hidden tables of the version at hand; undefined while its tombstones are being read. */
  find(): readonly LeveledTable[] | undefined {
    const { version, snapshots } = this.#state
    const count = version.rangeTombstoneCount
    if (this.#version === version) {
      if (this.#ranges === undefined) return undefined
    } else if (count > 0 && count <= HIDING_RANGES_MAX) {
      if (!this.isReading) void this.#read(version)
      return undefined
    } else {
      return []
    }
    const { sequences } = snapshots
    if (this.#snapshots !== sequences) {
      this.#snapshots = sequences
      this.#hidden = hiddenTables(version, this.#ranges, sequences)
    }
    return this.#hidden
  }

  /** Never rejects. */
  async #read(version: Version): Promise<void> {
    this.#version = version
    this.#ranges = undefined
    this.#snapshots = undefined
    let ranges = NO_FRAGMENTS
    try {
      const deleting = [...version.tables()].filter(({ table }) => table.rangeTombstoneCount > 0)
      const readers = await Promise.all(deleting.map(({ table }) => this.#tables.openTable(table)))
      const lists = readers.flatMap(reader => reader.ranges)
      ranges = fragmentTombstones(lists, this.#state.snapshots.sequences)
    } catch (error) {
      // It was closed, or the table was replaced, or is damaged: whoever needs it will tell.
      ignore(error)
    }
    this.#ranges = ranges
    this.#onFound()
  }
}

function ignore(_error: unknown): void {}
