/**
 * A cursor over a run: tables in ascending order whose keys do not overlap. Tables are opened when
 * the cursor gets there, and looked up anew by each seek. One that holds nothing but range
 * tombstones is passed over.
 */
import { compareRanges } from '../bytes.ts'
import type { BlockSource } from './block-source.ts'
import { TableCursor } from './table-cursor.ts'
import type { TableMetadata } from './table-metadata.ts'

/** The first table that holds keys at or after the given one; the table count when none does. */
export function findTable(
  tables: readonly TableMetadata[],
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): number {
  let low = 0
  let high = tables.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const { largestKey } = tables[middle]!
    if (compareRanges(largestKey, 0, largestKey.length, key, keyStart, keyEnd) < 0) low = middle + 1
    else high = middle
  }
  return low
}

export class LevelCursor extends TableCursor {
  readonly #tables: readonly TableMetadata[]
  readonly #source: BlockSource
  #table = 0

  /** `tables` ascend by key and do not overlap. */
  constructor(tables: readonly TableMetadata[], source: BlockSource) {
    super(source)
    this.#tables = tables
    this.#source = source
  }

  override seekToFirst(): void {
    this.valid = false
    this.#table = -1
    this.#enterNext()
  }

  override seekToLast(): void {
    this.valid = false
    this.#table = this.#tables.length
    this.#enterPrevious()
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    this.valid = false
    let table = findTable(this.#tables, key, keyStart, keyEnd)
    // More than one table is asked only when a table ends with newer versions of the sought key, or
    // with range tombstones behind its last entry.
    for (; table < this.#tables.length && !this.valid; table++) {
      this.#enterTable(table)
      super.seek(key, keyStart, keyEnd, sequence)
    }
  }

  override next(): void {
    super.next()
    if (!this.valid) this.#enterNext()
  }

  override prev(): void {
    super.prev()
    if (!this.valid) this.#enterPrevious()
  }

  /** Moves to the first entry of a table behind the one at hand. */
  #enterNext(): void {
    while (!this.valid && this.#table + 1 < this.#tables.length) {
      this.#enterTable(this.#table + 1)
      super.seekToFirst()
    }
  }

  /** Moves to the last entry of a table before the one at hand. */
  #enterPrevious(): void {
    while (!this.valid && this.#table > 0) {
      this.#enterTable(this.#table - 1)
      super.seekToLast()
    }
  }

  #enterTable(table: number): void {
    this.#table = table
    this.open(this.#source.open(this.#tables[table]!))
  }
}
