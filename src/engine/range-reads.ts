/**
 * Range reads: one chunk of a range in key order, merged from memtables and tables.
 *
 * A chunk is gathered in synchronous slices. When a block is not in memory, what was gathered is
 * kept, the block is loaded, and the slice goes on behind the last key, against the tables of that
 * moment; the sequence stays, so the chunk is of one state.
 *
 * A leaping read is the same without the gathering: who reads looks at one entry after the other,
 * and says where the next seek goes.
 *
 * Invariants:
 *  1. While a chunk waits, its sequence is held as a snapshot, so compaction keeps what it sees.
 *  2. A slice ends after SLICE_ENTRIES entries, so that the event loop is not held up.
 */
import { assert } from '../assert.ts'
import { compareRanges } from '../bytes.ts'
import { yieldToEventLoop } from '../clock.ts'
import { BlockMiss } from './block-source.ts'
import { CopyPool } from './copy-pool.ts'
import type { Cursor } from './cursor.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { NO_SEQUENCE } from './internal-key.ts'
import { LevelCursor } from './level-cursor.ts'
import { mergeCursors } from './merging-cursor.ts'
import type { LeapRead, RangeChunk, RangeRead } from './range-read.ts'
import { scanShapes } from './scan-shapes.ts'
import { EngineSnapshot } from './snapshots.ts'
import type { TableCache } from './table-cache.ts'
import type { TreeState } from './tree-state.ts'
import { UndeletedCursors } from './undeleted-cursor.ts'
import { VisibleCursor } from './visible-cursor.ts'

/** Entries gathered in one synchronous slice: below a millisecond. */
const SLICE_ENTRIES = 1024
/** After so many waits in a row without a new entry the cache is too small: read at once. */
const FRUITLESS_WAITS_MAX = 32

export class RangeReads {
  readonly #state: TreeState
  readonly #tables: TableCache
  readonly #expiry: ExpiryClock
  readonly #copies = new CopyPool()
  /** Only held, for the sake of scans: see scan-shapes.ts. */
  readonly shapes: readonly object[]
  #count = 0

  constructor(state: TreeState, tables: TableCache, expiry: ExpiryClock) {
    this.#state = state
    this.#tables = tables
    this.#expiry = expiry
    const range = { reverse: false, keysOnly: false, countMax: 1, bytesMax: 1 }
    const snapshot = new EngineSnapshot(state.snapshots, NO_SEQUENCE)
    this.shapes = scanShapes(
      tables.transient,
      snapshot,
      new Chunk(range, this.#copies),
      expiry.nowMs,
    )
  }

  /** Chunks read so far. */
  get count(): number {
    return this.#count
  }

  /** The next chunk, directly when memory has all of it. `sequence` undefined is the newest. */
  read(range: RangeRead, sequence: number | undefined): RangeChunk | Promise<RangeChunk> {
    assert(range.countMax >= 1, 'a chunk has room for an entry')
    this.#count++
    const at = sequence ?? this.#state.visibleSequence
    const chunk = new Chunk(range, this.#copies)
    try {
      if (this.#gather(chunk, at, true)) return chunk
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      return this.#gatherLater(chunk, at, this.#load(error))
    }
    return this.#gatherLater(chunk, at, yieldToEventLoop())
  }

  async #gatherLater(chunk: Chunk, sequence: number, firstWait: Promise<void>): Promise<Chunk> {
    using _snapshot = this.#state.snapshots.take(sequence)
    let wait = firstWait
    let fruitlessWaits = 0
    for (;;) {
      await wait
      const countBefore = chunk.keys.length
      try {
        if (this.#gather(chunk, sequence, fruitlessWaits < FRUITLESS_WAITS_MAX)) return chunk
        wait = yieldToEventLoop()
      } catch (error) {
        if (!(error instanceof BlockMiss)) throw error
        wait = this.#load(error)
      }
      fruitlessWaits = chunk.keys.length > countBefore ? 0 : fruitlessWaits + 1
    }
  }

  async #load(miss: BlockMiss): Promise<void> {
    const { version } = this.#state
    try {
      await miss.load()
    } catch (error) {
      // A table that a compaction replaced meanwhile is not needed any more: look again.
      if (version === this.#state.version) throw error
    }
  }

  /** Returns true when the chunk is complete, false to go on in a later slice. */
  #gather(chunk: Chunk, sequence: number, mayMiss: boolean): boolean {
    const merged = this.#merged(chunk.smallest, chunk.largest, sequence, mayMiss)
    const cursor = new VisibleCursor(merged, sequence, this.#expiry.nowMs)
    chunk.seek(cursor)
    const { reverse } = chunk
    for (let count = 0; count < SLICE_ENTRIES; count++) {
      if (!chunk.take(cursor)) return true
      if (reverse) cursor.prev()
      else cursor.next()
    }
    return false
  }

  /**
   * Leaps as `read` says; directly when memory has all that it comes to. Gives true when nothing is
   * left from where it would look next, false when it was stopped.
   */
  leap(read: LeapRead, sequence: number | undefined): boolean | Promise<boolean> {
    this.#count++
    const at = sequence ?? this.#state.visibleSequence
    const run = new LeapRun(read)
    try {
      return run.go(this.#leapCursor(read, at, true))
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      return this.#leapLater(run, at, this.#load(error))
    }
  }

  async #leapLater(run: LeapRun, sequence: number, firstWait: Promise<void>): Promise<boolean> {
    using _snapshot = this.#state.snapshots.take(sequence)
    let wait = firstWait
    let fruitlessWaits = 0
    for (;;) {
      await wait
      const countBefore = run.arrivals
      try {
        const mayMiss = fruitlessWaits < FRUITLESS_WAITS_MAX
        return run.go(this.#leapCursor(run.read, sequence, mayMiss))
      } catch (error) {
        if (!(error instanceof BlockMiss)) throw error
        wait = this.#load(error)
      }
      fruitlessWaits = run.arrivals > countBefore ? 0 : fruitlessWaits + 1
    }
  }

  #leapCursor(read: LeapRead, sequence: number, mayMiss: boolean): VisibleCursor {
    const [smallest, largest] = read.reverse ? [read.end, read.from] : [read.from, read.end]
    const merged = this.#merged(smallest, largest, sequence, mayMiss)
    return new VisibleCursor(merged, sequence, this.#expiry.nowMs)
  }

  /**
   * A cursor over all that may hold keys from `smallest` to `largest`. No other table is opened:
   * the seek is cheaper, and a damaged table concerns only the ranges it overlaps.
   */
  #merged(
    smallest: Uint8Array | undefined,
    largest: Uint8Array | undefined,
    sequence: number,
    mayMiss: boolean,
  ): Cursor {
    const { memtable, frozen, version } = this.#state
    const source = mayMiss ? this.#tables.deferred : this.#tables.transient
    const undeleted = this.#hasRanges() ? new UndeletedCursors(sequence) : undefined
    const children: Cursor[] = []
    for (const table of [memtable, ...frozen]) {
      children.push(undeleted?.memtable(table) ?? table.cursor())
    }
    for (const table of version.overlapping(0, smallest, largest)) {
      children.push(undeleted?.run([table], source) ?? new LevelCursor([table], source))
    }
    for (let level = 1; level < version.levels.length; level++) {
      if (version.levelSizes[level] === 0) continue
      const tables = version.overlapping(level, smallest, largest)
      if (tables.length === 0) continue
      children.push(undeleted?.run(tables, source) ?? new LevelCursor(tables, source))
    }
    return mergeCursors(children)
  }

  /** Whether there are range tombstones anywhere. */
  #hasRanges(): boolean {
    const { memtable, frozen, version } = this.#state
    return (
      version.rangeTombstoneCount > 0 ||
      memtable.rangeCount > 0 ||
      frozen.some(({ rangeCount }) => rangeCount > 0)
    )
  }
}

/** A LeapRead under way. */
class LeapRun {
  readonly read: LeapRead
  /** Entries it was shown. */
  arrivals = 0

  constructor(read: LeapRead) {
    this.read = read
  }

  /** Leaps to its end, or until it is stopped; see RangeReads.leap. May throw BlockMiss. */
  go(cursor: VisibleCursor): boolean {
    const { read } = this
    this.#seek(cursor)
    while (cursor.valid && !this.#isPastEnd(cursor)) {
      this.arrivals++
      const step = read.arrive(cursor)
      if (step === 'stop') return false
      if (step === 'leap') this.#seekOnward(cursor)
      else if (read.reverse) cursor.prev()
      else cursor.next()
    }
    return true
  }

  #seek(cursor: VisibleCursor): void {
    const { from, isInclusive, reverse } = this.read
    if (!reverse) {
      cursor.seek(from, 0, from.length)
      this.#skipFrom(cursor)
    } else if (isInclusive) cursor.seekAtOrBefore(from, 0, from.length)
    else cursor.seekBefore(from, 0, from.length)
  }

  #seekOnward(cursor: VisibleCursor): void {
    const { from, reverse } = this.read
    if (reverse) {
      this.#seek(cursor)
      return
    }
    cursor.seekOnward(from, 0, from.length)
    this.#skipFrom(cursor)
  }

  #skipFrom(cursor: VisibleCursor): void {
    const { from, isInclusive } = this.read
    if (!isInclusive && cursor.valid && compareKey(cursor, from) === 0) cursor.next()
  }

  #isPastEnd(cursor: VisibleCursor): boolean {
    const { end, reverse } = this.read
    if (end === undefined) return false
    const order = compareKey(cursor, end)
    return reverse ? order <= 0 : order >= 0
  }
}

/**
 * The entries gathered so far, and where to go on. The range is taken apart once: ranges come in
 * many shapes, and looking up their properties for each entry took a tenth of a scan.
 */
class Chunk implements RangeChunk {
  readonly keys: Uint8Array[] = []
  readonly values: Uint8Array[] = []
  size = 0
  done = false
  readonly reverse: boolean
  readonly #first: Uint8Array | undefined
  readonly #isFirstWanted: boolean
  readonly #last: Uint8Array | undefined
  readonly #isLastWanted: boolean
  readonly #keysOnly: boolean
  readonly #countMax: number
  readonly #bytesMax: number
  readonly #copies: CopyPool
  #count = 0

  constructor(range: RangeRead, copies: CopyPool) {
    const { gt, gte, lt, lte } = range
    this.reverse = range.reverse
    this.#first = gt ?? gte
    this.#isFirstWanted = gt === undefined
    this.#last = lt ?? lte
    this.#isLastWanted = lt === undefined
    this.#keysOnly = range.keysOnly
    this.#countMax = range.countMax
    this.#bytesMax = range.bytesMax
    this.#copies = copies
  }

  /** No wanted key is smaller; undefined when there is no bound. */
  get smallest(): Uint8Array | undefined {
    return (this.reverse ? undefined : this.keys.at(-1)) ?? this.#first
  }

  /** No wanted key is larger; undefined when there is no bound. */
  get largest(): Uint8Array | undefined {
    return (this.reverse ? this.keys.at(-1) : undefined) ?? this.#last
  }

  /** Puts the cursor on the first entry that is wanted and not yet gathered. */
  seek(cursor: VisibleCursor): void {
    const gathered = this.keys.at(-1)
    if (this.reverse) {
      const end = gathered ?? this.#last
      if (end === undefined) cursor.seekToLast()
      else if (gathered === undefined && this.#isLastWanted) {
        cursor.seekAtOrBefore(end, 0, end.length)
      } else cursor.seekBefore(end, 0, end.length)
      return
    }
    const from = gathered ?? this.#first
    if (from === undefined) {
      cursor.seekToFirst()
      return
    }
    cursor.seek(from, 0, from.length)
    const isExclusive = gathered !== undefined || !this.#isFirstWanted
    if (isExclusive && cursor.valid && compareKey(cursor, from) === 0) cursor.next()
  }

  /** Takes the cursor's entry. Returns false when the chunk is complete. */
  take(cursor: VisibleCursor): boolean {
    if (!cursor.valid || this.#isPastEnd(cursor)) {
      this.done = true
      return false
    }
    const count = this.#count
    if (count >= this.#countMax || (this.size >= this.#bytesMax && count > 0)) return false
    const { keyStart, keyEnd, valueStart, valueEnd } = cursor
    // Not push(): these arrays begin as arrays of numbers for the compiler, which then calls it.
    this.keys[count] = this.#copies.copy(cursor.keyBytes, keyStart, keyEnd)
    this.#count = count + 1
    this.size += keyEnd - keyStart
    if (this.#keysOnly) return true
    this.values[count] = this.#copies.copy(cursor.valueBytes, valueStart, valueEnd)
    this.size += valueEnd - valueStart
    return true
  }

  #isPastEnd(cursor: VisibleCursor): boolean {
    if (this.reverse) {
      const first = this.#first
      if (first === undefined) return false
      const order = compareKey(cursor, first)
      return order < 0 || (order === 0 && !this.#isFirstWanted)
    }
    const last = this.#last
    if (last === undefined) return false
    const order = compareKey(cursor, last)
    return order > 0 || (order === 0 && !this.#isLastWanted)
  }
}

function compareKey(cursor: VisibleCursor, key: Uint8Array): number {
  return compareRanges(cursor.keyBytes, cursor.keyStart, cursor.keyEnd, key, 0, key.length)
}
