/**
 * The tables that a job writes, one after another.
 *
 * Invariants:
 *  1. All versions of a key are in one table, so that tables of a level do not overlap.
 *  2. `finish` returns after every file and then the directory were synced.
 *  3. After `abandon` no file is open. What was created stays, for the main thread to remove.
 *  4. A range tombstone that reaches over several tables is cut behind the last key of each: no
 *     table claims a key that the next one holds or covers.
 */
import { assert } from '../assert.ts'
import { compareBytes, compareRanges } from '../bytes.ts'
import type { Hasher } from '../hash.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { BufferPool } from './buffer-pool.ts'
import type { Cursor } from './cursor.ts'
import type { FileSystem } from './file-system.ts'
import type { FlushJob } from './job.ts'
import { endAfter, type RangeFragment, type RangeFragments } from './range-fragment.ts'
import { SstableWriter } from './sstable-writer.ts'
import type { TableMetadata } from './table-metadata.ts'

/** The part of a job that says where and how to write. */
export type OutputOptions = Pick<
  FlushJob,
  'directory' | 'firstFileNumber' | 'fileNumberCount' | 'tableOptions'
>

/** Where one output ends and the next begins. */
export interface OutputTargets {
  /** Bytes of blocks. */
  readonly tableSize: number
  /** Range tombstones, which are all in memory while a table is open. */
  readonly rangeCount: number
}

export class TableOutputs {
  readonly #fileSystem: FileSystem
  readonly #hasher: Hasher
  readonly #options: OutputOptions
  readonly #targets: OutputTargets
  readonly #ranges: RangeFragments
  readonly #buffers: BufferPool
  readonly #tables: TableMetadata[] = []
  #writer: SstableWriter | undefined
  #entryCount = 0
  /** The first of #ranges that is not whole in finished tables, whose keys end before #cut. */
  #rangesWritten = 0
  #cut: Uint8Array | undefined
  /** The first of #ranges that begins at or behind the key of the last entry. */
  #rangesPassed = 0
  /** The first of #ranges that the table at hand has to do with. */
  #tableStart = 0

  /** `ranges` go to the outputs, each to those whose keys it covers. */
  constructor(
    fileSystem: FileSystem,
    hasher: Hasher,
    options: OutputOptions,
    targets: OutputTargets,
    ranges: RangeFragments,
    buffers: BufferPool = new BufferPool(0),
  ) {
    this.#fileSystem = fileSystem
    this.#hasher = hasher
    this.#options = options
    this.#targets = targets
    this.#ranges = ranges
    this.#buffers = buffers
  }

  /** Entries added so far. */
  get entryCount(): number {
    return this.#entryCount
  }

  /** Bytes of finished tables. */
  get bytesWritten(): number {
    return this.#tables.reduce((sum, table) => sum + table.size, 0)
  }

  /** Adds the cursor's entry. Only a new key may begin another table. */
  add(cursor: Cursor, isNewKey: boolean): void {
    if (isNewKey) {
      if (this.#rangesPassed < this.#ranges.length) this.#passRanges(cursor)
      const full = this.#writer
      if (full !== undefined && full.size >= this.#targets.tableSize) this.#cutAfter(full.lastKey)
    }
    const writer = this.#writer ?? this.#newWriter()
    writer.add(
      cursor.keyBytes,
      cursor.keyStart,
      cursor.keyEnd,
      cursor.sequence,
      cursor.kind,
      cursor.valueBytes,
      cursor.valueStart,
      cursor.valueEnd,
    )
    this.#entryCount++
  }

  /** The tables, ascending by smallest key, durable. */
  finish(): readonly TableMetadata[] {
    this.#passRanges(undefined)
    const rest = this.#takeRanges(undefined)
    if (this.#writer !== undefined || rest.length > 0) {
      this.#finishTable(this.#writer ?? this.#newWriter(), rest)
    }
    if (this.#tables.length > 0) this.#fileSystem.syncDirectorySync(this.#options.directory)
    return this.#tables
  }

  abandon(): void {
    this.#writer?.abandon()
    this.#writer = undefined
  }

  /** Passes the ranges that begin before the cursor's key, or all, and cuts where they are many. */
  #passRanges(cursor: Cursor | undefined): void {
    const ranges = this.#ranges
    for (; this.#rangesPassed < ranges.length; this.#rangesPassed++) {
      const { start } = ranges[this.#rangesPassed]!
      if (cursor !== undefined) {
        const { keyBytes, keyStart, keyEnd } = cursor
        if (compareRanges(start, 0, start.length, keyBytes, keyStart, keyEnd) >= 0) return
      }
      // No entry so far is behind the start, and the next one is.
      if (this.#rangesPassed - this.#tableStart >= this.#targets.rangeCount) this.#cutAfter(start)
    }
  }

  /** Ends the table at hand: what comes is behind the key, which nothing may have passed. */
  #cutAfter(key: Uint8Array): void {
    // There may be no key between this one and the next one: go on to the next place.
    if (key.length === KEY_SIZE_MAX) return
    const ranges = this.#takeRanges(endAfter(key))
    this.#finishTable(this.#writer ?? this.#newWriter(), ranges)
    this.#tableStart = this.#rangesWritten
  }

  /** The ranges of the table at hand, which ends before `cut`; all that are left without one. */
  #takeRanges(cut: Uint8Array | undefined): RangeFragments {
    const ranges = this.#ranges
    const taken: RangeFragment[] = []
    for (; this.#rangesWritten < ranges.length; this.#rangesWritten++) {
      const range = ranges[this.#rangesWritten]!
      if (cut !== undefined && compareBytes(range.start, cut) >= 0) break
      const start = this.#cut === undefined ? range.start : later(range.start, this.#cut)
      if (cut !== undefined && compareBytes(range.end, cut) > 0) {
        taken.push({ ...range, start, end: cut })
        break
      }
      taken.push({ ...range, start })
    }
    this.#cut = cut
    return taken
  }

  #newWriter(): SstableWriter {
    const { directory, firstFileNumber, fileNumberCount, tableOptions } = this.#options
    const index = this.#tables.length
    assert(index < fileNumberCount, 'enough file numbers were reserved for the job')
    this.#writer = new SstableWriter(
      this.#fileSystem,
      directory,
      firstFileNumber + index,
      tableOptions,
      this.#hasher,
      this.#buffers,
    )
    return this.#writer
  }

  #finishTable(writer: SstableWriter, ranges: RangeFragments): void {
    this.#tables.push(writer.finish(ranges))
    this.#writer = undefined
  }
}

function later(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareBytes(a, b) < 0 ? b : a
}
