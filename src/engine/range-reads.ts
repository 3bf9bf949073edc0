/**
 * Range reads: one chunk of a range in key order, merged from memtables and tables.
 *
 * A chunk is gathered in synchronous slices. When a block is not in memory, what was gathered is
 * kept, the block is loaded, and the next slice goes on where the one before was, against the
 * tables of that moment; the sequence stays, so the chunk is of one state.
 *
 * A leaping read is the same without the gathering: who reads looks at one entry after the other,
 * and says where the next seek goes.
 *
 * Invariants:
 *  1. While a chunk waits, its sequence is held as a snapshot, so compaction keeps what it sees.
 *  2. A slice ends after SLICE_STEPS entries, whether they are wanted, deleted, expired or old, so
 *     that the event loop is not held up.
 *  3. A slice goes on behind what the one before passed, which may have shown nothing.
 *  4. No cursor is made before the memtables are in order (memtable.ts).
 *  5. A large value is copied in turns of its own, after the slice that came to it.
 *  6. What is hidden beyond the range is not walked over to find that nothing more is wanted.
 */
import { assert } from '../assert.ts'
import { yieldToEventLoop } from '../clock.ts'
import { BlockMiss, type BlockSource } from './block-source.ts'
import { CopyPool } from './copy-pool.ts'
import type { Cursor } from './cursor.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { NO_SEQUENCE } from './internal-key.ts'
import type { LargeBlockHold } from './large-blocks.ts'
import { LevelCursor } from './level-cursor.ts'
import { mergeCursors } from './merging-cursor.ts'
import { Chunk } from './range-gathering.ts'
import { compareKey, RangeProgress, seekPlace } from './range-progress.ts'
import type { LeapRead, RangeChunk, RangeRead } from './range-read.ts'
import type { ReadGate } from './read-gate.ts'
import { scanShapes } from './scan-shapes.ts'
import { EngineSnapshot } from './snapshots.ts'
import type { TableCache } from './table-cache.ts'
import type { TreeState } from './tree-state.ts'
import { UndeletedCursors } from './undeleted-cursor.ts'
import { VisibleCursor } from './visible-cursor.ts'

/** Entries passed in one synchronous slice: below a millisecond. */
const SLICE_STEPS = 1024
/** The same of a leaping read, whose reader looks at the clock now and then. */
const LEAP_STEPS = 4096
/** The same of a slice that reads from the disk itself. */
const TRANSIENT_STEPS = 128
/** After so many waits in a row without getting on the cache is too small: read at once. */
const FRUITLESS_WAITS_MAX = 32

export class RangeReads {
  readonly #state: TreeState
  readonly #tables: TableCache
  readonly #expiry: ExpiryClock
  readonly #gate: ReadGate
  readonly #keyCopies = new CopyPool()
  readonly #valueCopies = new CopyPool()
  /** Only held, for the sake of scans: see scan-shapes.ts. */
  readonly shapes: readonly object[]
  /** Set while scans wait for the memtables to be put in order. */
  #ordering: Promise<void> | undefined
  #count = 0

  /** `gate` is for all that wait for the disk of these tables. */
  constructor(state: TreeState, tables: TableCache, expiry: ExpiryClock, gate: ReadGate) {
    this.#state = state
    this.#tables = tables
    this.#expiry = expiry
    this.#gate = gate
    const range = { reverse: false, keysOnly: false, countMax: 1, bytesMax: 1 }
    const snapshot = new EngineSnapshot(state.snapshots, NO_SEQUENCE)
    this.shapes = scanShapes(
      tables.transient,
      snapshot,
      new Chunk(range, this.#keyCopies, this.#valueCopies),
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
    const chunk = new Chunk(range, this.#keyCopies, this.#valueCopies)
    const order = this.#order()
    if (order !== undefined) return this.#gatherLater(chunk, at, order)
    try {
      if (this.#gather(chunk, at, true)) {
        return chunk.largeIn === undefined ? chunk : this.#gatherOn(chunk, at, this.#copy(chunk))
      }
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      return this.#gatherLater(chunk, at, error)
    }
    return this.#gatherLater(chunk, at, yieldToEventLoop())
  }

  #gatherLater(chunk: Chunk, sequence: number, first: Promise<void> | BlockMiss): Promise<Chunk> {
    return this.#inLine(sequence, first, first => this.#gatherOn(chunk, sequence, first))
  }

  #gatherOn(chunk: Chunk, sequence: number, first: Promise<void> | BlockMiss): Promise<Chunk> {
    const slice = (mayMiss: boolean) => {
      if (!chunk.isFull && !this.#gather(chunk, sequence, mayMiss)) return undefined
      return chunk.largeIn === undefined ? chunk : this.#copy(chunk)
    }
    return this.#goOn(chunk, sequence, first, slice)
  }

  /** Reads on after `first`, or once those before it in the line are through. */
  async #inLine<Result>(
    sequence: number,
    first: Promise<void> | BlockMiss,
    readOn: (first: Promise<void> | BlockMiss) => Promise<Result>,
  ): Promise<Result> {
    using _snapshot = this.#state.snapshots.take(sequence)
    const entered = this.#gate.enter()
    if (entered !== undefined) await entered
    try {
      return await readOn(entered ?? first)
    } finally {
      this.#gate.leave()
    }
  }

  /**
   * Waits for `first`, and takes one slice after the other until one gives a result. Of the large
   * blocks that it waits for it holds those that its slices still come to.
   */
  async #goOn<Result>(
    run: { readonly advances: number },
    sequence: number,
    first: Promise<void> | BlockMiss,
    slice: (mayMiss: boolean) => Result | Promise<void> | undefined,
  ): Promise<Result> {
    using _snapshot = this.#state.snapshots.take(sequence)
    using hold = this.#tables.holdLarge()
    let wait: Promise<void> | undefined =
      first instanceof BlockMiss ? this.#load(first, hold) : first
    let fruitlessWaits = 0
    for (;;) {
      await wait
      wait = this.#order()
      if (wait !== undefined) continue
      const { advances } = run
      hold.beginSlice()
      try {
        const result = slice(fruitlessWaits < FRUITLESS_WAITS_MAX)
        if (result !== undefined && !(result instanceof Promise)) return result
        // A value that is copied from a large block keeps the hold of it until then.
        await result
        wait = result === undefined ? yieldToEventLoop() : undefined
      } catch (error) {
        if (!(error instanceof BlockMiss)) throw error
        wait = this.#load(error, hold)
      }
      if (run.advances === advances) fruitlessWaits++
      else {
        fruitlessWaits = 0
        hold.dropPassed()
      }
    }
  }

  /**
   * Undefined when the memtables are in order, which is asked again in each slice: a new one may
   * have come. However many scans wait for it, a turn puts one slice in order.
   */
  #order(): Promise<void> | undefined {
    if (this.#ordering === undefined && !this.#orderSome()) this.#ordering = this.#orderInTurns()
    return this.#ordering
  }

  /** Returns whether all are in order now. */
  #orderSome(): boolean {
    const { memtable, frozen } = this.#state
    if (!memtable.prepareScan()) return false
    for (const older of frozen) {
      if (!older.prepareScan()) return false
    }
    return true
  }

  async #orderInTurns(): Promise<void> {
    try {
      do await yieldToEventLoop()
      while (!this.#orderSome())
    } finally {
      this.#ordering = undefined
    }
  }

  async #load(miss: BlockMiss, hold: LargeBlockHold): Promise<void> {
    const { version } = this.#state
    try {
      hold.keep(await miss.load())
    } catch (error) {
      // A table that a compaction replaced meanwhile is not needed any more: look again.
      if (version === this.#state.version) throw error
    }
  }

  /** Returns true when the chunk is complete, false to go on in a later slice. */
  #gather(chunk: Chunk, sequence: number, mayMiss: boolean): boolean {
    const steps = mayMiss ? SLICE_STEPS : TRANSIENT_STEPS
    const { reverse } = chunk
    const source = this.#source(mayMiss)
    const cursor = this.#cursor(chunk.smallest, chunk.largest, reverse, sequence, mayMiss, steps)
    this.#valueCopies.forget()
    try {
      for (chunk.seek(cursor); !cursor.paused; ) {
        if (!chunk.take(cursor, source.fetches)) return true
        if (reverse) cursor.prev()
        else cursor.next()
      }
    } catch (error) {
      // What comes behind a full chunk is for the next one to load.
      if (error instanceof BlockMiss && chunk.isFull) return true
      chunk.advanceTo(cursor.place)
      throw error
    }
    chunk.advanceTo(cursor.place)
    return false
  }

  /** Copies the large value with which the slice ended. */
  async #copy(chunk: Chunk): Promise<void> {
    const { memtable, frozen } = this.#state
    const { largeIn } = chunk
    const memory = [memtable, ...frozen].find(({ memory }) => memory.arena === largeIn)?.memory
    memory?.hold()
    try {
      await chunk.copyLarge()
    } finally {
      memory?.letGo()
    }
  }

  #cursor(
    smallest: Uint8Array | undefined,
    largest: Uint8Array | undefined,
    reverse: boolean,
    sequence: number,
    mayMiss: boolean,
    steps: number,
  ): VisibleCursor {
    const merged = this.#merged(smallest, largest, sequence, mayMiss)
    const end = reverse ? smallest : largest
    return new VisibleCursor(merged, sequence, this.#expiry.nowMs, steps, end)
  }

  /**
   * Leaps as `read` says; directly when memory has all that it comes to. Gives true when nothing is
   * left from where it would look next, false when it was stopped.
   */
  leap(read: LeapRead, sequence: number | undefined): boolean | Promise<boolean> {
    this.#count++
    const at = sequence ?? this.#state.visibleSequence
    const run = new LeapRun(read)
    const order = this.#order()
    if (order !== undefined) return this.#leapLater(run, at, order)
    try {
      const isAtEnd = run.go(this.#leapCursor(read, at, true))
      return isAtEnd ?? this.#leapLater(run, at, yieldToEventLoop())
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      return this.#leapLater(run, at, error)
    }
  }

  #leapLater(run: LeapRun, sequence: number, first: Promise<void> | BlockMiss): Promise<boolean> {
    const slice = (mayMiss: boolean) => run.go(this.#leapCursor(run.read, sequence, mayMiss))
    return this.#inLine(sequence, first, first => this.#goOn(run, sequence, first, slice))
  }

  #leapCursor(read: LeapRead, sequence: number, mayMiss: boolean): VisibleCursor {
    const [smallest, largest] = read.reverse ? [read.end, read.from] : [read.from, read.end]
    const steps = mayMiss ? LEAP_STEPS : TRANSIENT_STEPS
    return this.#cursor(smallest, largest, read.reverse, sequence, mayMiss, steps)
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
    const source = this.#source(mayMiss)
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

  #source(mayMiss: boolean): BlockSource {
    return mayMiss ? this.#tables.deferred : this.#tables.transient
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
  readonly #progress = new RangeProgress()

  constructor(read: LeapRead) {
    this.read = read
  }

  /** How often it got on. */
  get advances(): number {
    return this.#progress.advances
  }

  /**
   * Leaps to its end, or until it is stopped; see RangeReads.leap. Undefined when the cursor is
   * paused: to go on in a later slice. May throw BlockMiss.
   */
  go(cursor: VisibleCursor): boolean | undefined {
    try {
      const isAtEnd = this.#go(cursor)
      if (isAtEnd === undefined) this.#progress.advanceTo(cursor.place)
      return isAtEnd
    } catch (error) {
      this.#progress.advanceTo(cursor.place)
      throw error
    }
  }

  #go(cursor: VisibleCursor): boolean | undefined {
    const { read } = this
    this.#seek(cursor)
    while (cursor.valid && !this.#isPastEnd(cursor)) {
      this.#progress.arrived()
      const step = read.arrive(cursor)
      if (step === 'stop') return false
      if (step === 'leap') this.#seekOnward(cursor)
      else if (read.reverse) cursor.prev()
      else cursor.next()
    }
    return cursor.paused ? undefined : true
  }

  #seek(cursor: VisibleCursor): void {
    const { from, isInclusive, reverse } = this.read
    const place = this.#progress.place ?? { key: from, isDone: !isInclusive }
    seekPlace(cursor, place, reverse)
  }

  #seekOnward(cursor: VisibleCursor): void {
    const { from, isInclusive, reverse } = this.read
    if (reverse) {
      this.#seek(cursor)
      return
    }
    cursor.seekOnward(from, 0, from.length)
    if (!isInclusive && cursor.valid && compareKey(cursor, from) === 0) cursor.next()
  }

  #isPastEnd(cursor: VisibleCursor): boolean {
    const { end, reverse } = this.read
    if (end === undefined) return false
    const order = compareKey(cursor, end)
    return reverse ? order <= 0 : order >= 0
  }
}
