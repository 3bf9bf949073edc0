/**
 * A version: which tables make up the database at one moment. Immutable; an edit gives a new one,
 * and reads keep the one they began with.
 *
 * Invariants:
 *  1. Level 0 is ordered by age, newest first; its tables may overlap.
 *  2. Every other level is ordered by key and its tables do not overlap: the largest key of one is
 *     below the smallest key of the next, so all versions of a key are in one table.
 *  3. No file is in two places.
 */
import { assert } from '../assert.ts'
import { compareBytes, compareRanges } from '../bytes.ts'
import type { TableMetadata } from './table-metadata.ts'
import { LEVEL_COUNT, type LeveledTable, type VersionEdit } from './version-edit.ts'

export { LEVEL_COUNT } from './version-edit.ts'

export type Level = readonly TableMetadata[]

/** The tables that an edit changes. */
export type TableChanges = Pick<VersionEdit, 'added' | 'removed'>

export class Version {
  /** LEVEL_COUNT levels. */
  readonly levels: readonly Level[]
  /** Bytes of the tables of each level. */
  readonly levelSizes: readonly number[]
  /** Of all tables. Reads that find 0 here need not ask any. */
  readonly rangeTombstoneCount: number

  private constructor(levels: readonly Level[], levelSizes: readonly number[]) {
    this.levels = levels
    this.levelSizes = levelSizes
    let rangeTombstoneCount = 0
    for (const level of levels) {
      for (const table of level) rangeTombstoneCount += table.rangeTombstoneCount
    }
    this.rangeTombstoneCount = rangeTombstoneCount
  }

  static empty(): Version {
    return new Version(new Array(LEVEL_COUNT).fill([]), new Array(LEVEL_COUNT).fill(0))
  }

  get tableCount(): number {
    return this.levels.reduce((count, level) => count + level.length, 0)
  }

  /** Bytes of all tables. */
  get size(): number {
    return this.levelSizes.reduce((sum, size) => sum + size, 0)
  }

  /** No key that a table holds or covers is larger; undefined without tables. */
  get largestKey(): Uint8Array | undefined {
    let largest: Uint8Array | undefined
    for (const [level, tables] of this.levels.entries()) {
      for (const { largestKey } of level === 0 ? tables : tables.slice(-1)) {
        if (largest === undefined || compareBytes(largest, largestKey) < 0) largest = largestKey
      }
    }
    return largest
  }

  /** Every table with its level. */
  *tables(): Generator<LeveledTable> {
    for (const [level, tables] of this.levels.entries()) {
      for (const table of tables) yield { level, table }
    }
  }

  /** The version after an edit of our own, which must make sense. */
  apply(changes: TableChanges): Version {
    const version = this.tryApply(changes)
    assert(version instanceof Version, `the edit fits the version: ${version}`)
    return version
  }

  /** The version after an edit, or what is wrong with it: edits from disk are not to be trusted. */
  tryApply({ added = [], removed = [] }: TableChanges): Version | string {
    if (added.length === 0 && removed.length === 0) return this
    const levels = this.levels.slice()
    for (const level of new Set(removed.map(table => table.level))) {
      const gone = new Set<number>()
      for (const table of removed) if (table.level === level) gone.add(table.fileNumber)
      const before = levels[level] ?? []
      const after = before.filter(table => !gone.has(table.fileNumber))
      if (before.length - after.length !== gone.size) {
        return `level ${level} does not hold all of the tables ${[...gone]} that it removes`
      }
      levels[level] = after
    }
    // Nothing was there twice before.
    const twice = added.length === 0 ? undefined : findDuplicate(levels, added)
    if (twice !== undefined) return `table ${twice} is there twice`
    for (const level of new Set(added.map(table => table.level))) {
      const before = levels[level]
      if (before === undefined) return `there is no level ${level}`
      const fresh = added.filter(table => table.level === level).map(({ table }) => table)
      const after = insertTables(level, before, fresh)
      if (typeof after === 'string') return `level ${level}: ${after}`
      levels[level] = after
    }
    const sizes = levels.map((level, index) =>
      level === this.levels[index] ? this.levelSizes[index]! : sizeOf(level),
    )
    return new Version(levels, sizes)
  }

  /**
   * The one table of a level from 1 on whose range holds the key `bytes[start, end)`, or undefined.
   * Allocates nothing.
   */
  find(level: number, bytes: Uint8Array, start: number, end: number): TableMetadata | undefined {
    assert(level >= 1, 'tables of level 0 overlap')
    const tables = this.levels[level]!
    const table = tables[lowerBound(tables, bytes, start, end)]
    if (table === undefined) return undefined
    const { smallestKey } = table
    const order = compareRanges(bytes, start, end, smallestKey, 0, smallestKey.length)
    return order < 0 ? undefined : table
  }

  /**
   * Of a level from 1 on, the index of the first table that does not end before the key: where a
   * scan from there begins. Equals the number of tables when all of them do.
   */
  indexFrom(level: number, key: Uint8Array): number {
    assert(level >= 1, 'tables of level 0 overlap')
    return lowerBound(this.levels[level]!, key, 0, key.length)
  }

  /**
   * Tables of the level that hold keys in [smallest, largest], or might; undefined is unbounded.
   * In the order of the level.
   */
  overlapping(
    level: number,
    smallest: Uint8Array | undefined,
    largest: Uint8Array | undefined,
  ): TableMetadata[] {
    return overlappingTables(this.levels[level]!, level, smallest, largest)
  }
}

function overlappingTables(
  tables: Level,
  level: number,
  smallest: Uint8Array | undefined,
  largest: Uint8Array | undefined,
): TableMetadata[] {
  if (level === 0) {
    return tables.filter(
      table =>
        (smallest === undefined || compareBytes(table.largestKey, smallest) >= 0) &&
        (largest === undefined || compareBytes(table.smallestKey, largest) <= 0),
    )
  }
  const from = smallest === undefined ? 0 : lowerBound(tables, smallest, 0, smallest.length)
  return tables.slice(from, largest === undefined ? tables.length : upperBound(tables, largest))
}

/** The index of the first table whose smallest key is above the key. */
function upperBound(tables: Level, key: Uint8Array): number {
  let low = 0
  let high = tables.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(tables[middle]!.smallestKey, key) > 0) high = middle
    else low = middle + 1
  }
  return low
}

/** The index of the first table whose largest key is at or above the key. */
function lowerBound(tables: Level, bytes: Uint8Array, start: number, end: number): number {
  let low = 0
  let high = tables.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const { largestKey } = tables[middle]!
    if (compareRanges(largestKey, 0, largestKey.length, bytes, start, end) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function compareAge(a: TableMetadata, b: TableMetadata): number {
  return b.largestSequence - a.largestSequence || b.fileNumber - a.fileNumber
}

function compareSmallestKey(a: TableMetadata, b: TableMetadata): number {
  return compareBytes(a.smallestKey, b.smallestKey)
}

/**
 * The level with the fresh tables in their places, or why it cannot have them. Only the tables at
 * their sides are compared with them: thousands, all compared, took milliseconds for each flush.
 */
function insertTables(level: number, before: Level, fresh: TableMetadata[]): Level | string {
  const mayOverlap = level === 0
  const compare = mayOverlap ? compareAge : compareSmallestKey
  const after: TableMetadata[] = []
  let from = 0
  for (const table of fresh.sort(compare)) {
    const to = firstBehind(before, table, compare)
    for (; from < to; from++) after.push(before[from]!)
    const fault = mayOverlap ? undefined : findOverlap(after.at(-1), table, before[to])
    if (fault !== undefined) return fault
    after.push(table)
  }
  for (; from < before.length; from++) after.push(before[from]!)
  return after
}

/** The index of the first table that comes behind this one. */
function firstBehind(
  tables: Level,
  table: TableMetadata,
  compare: (a: TableMetadata, b: TableMetadata) => number,
): number {
  let low = 0
  let high = tables.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(tables[middle]!, table) > 0) high = middle
    else low = middle + 1
  }
  return low
}

/** Whether the table overlaps those that it would stand between. */
function findOverlap(
  left: TableMetadata | undefined,
  table: TableMetadata,
  right: TableMetadata | undefined,
): string | undefined {
  for (const [a, b] of [
    [left, table],
    [table, right],
  ] as const) {
    if (a === undefined || b === undefined) continue
    if (compareBytes(a.largestKey, b.smallestKey) < 0) continue
    return `tables ${a.fileNumber} and ${b.fileNumber} overlap`
  }
  return undefined
}

/** The number of an added table that is in a level, or added twice; undefined without one. */
function findDuplicate(
  levels: readonly Level[],
  added: readonly LeveledTable[],
): number | undefined {
  const fresh = new Set<number>()
  for (const { fileNumber } of added.map(({ table }) => table)) {
    if (fresh.has(fileNumber)) return fileNumber
    fresh.add(fileNumber)
  }
  for (const level of levels) {
    for (const { fileNumber } of level) if (fresh.has(fileNumber)) return fileNumber
  }
  return undefined
}

function sizeOf(tables: Level): number {
  return tables.reduce((sum, table) => sum + table.size, 0)
}
