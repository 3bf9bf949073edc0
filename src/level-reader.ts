/**
 * Reads a range for an iterator of abstract-level: entries one by one from a small buffer, or many
 * at once, or all.
 *
 * Invariants:
 *  1. All reads are of one state: a snapshot that is held until the reader is closed.
 *  2. Reads that memory can answer still let the event loop turn (event-loop-budget.ts).
 *  3. abstract-level calls nothing while a read is under way, and closes after it.
 */
import { compareBytes } from './bytes.ts'
import type { Db, RangeChunk } from './engine/index.ts'
import type { EventLoopBudget } from './event-loop-budget.ts'
import { KEY_SIZE_MAX, type KeyRange, type Snapshot } from './key-value-store.ts'
import { LevelAbortError, levelError } from './level-error.ts'
import { type LevelData, storedKey } from './level-key.ts'

/** A range as abstract-level hands it over, its bounds in the format of keys. */
export interface LevelRange {
  readonly gt?: LevelData | undefined
  readonly gte?: LevelData | undefined
  readonly lt?: LevelData | undefined
  readonly lte?: LevelData | undefined
  readonly reverse: boolean
}

export interface LevelReaderOptions extends LevelRange {
  /** False when keys are enough. */
  readonly values?: boolean | undefined
  readonly signal?: AbortSignal | null | undefined
  /** Bytes after which a read ends early. @defaultValue 64 KiB */
  readonly highWaterMarkBytes?: number | undefined
}

/** At most one lower and one upper bound, as the engine stores keys. */
export interface StoredRange {
  gt: Uint8Array | undefined
  gte: Uint8Array | undefined
  lt: Uint8Array | undefined
  lte: Uint8Array | undefined
}

/** What a reader reads from. */
export interface LevelSource {
  readonly db: Db
  readonly snapshot: Snapshot
  /** Whether the reader releases the snapshot. */
  readonly isOwned: boolean
  /** Shared by all readers of the database. */
  readonly budget: EventLoopBudget
}

/** Entries that are read ahead when single ones are asked for, after the first. */
const BUFFERED_ENTRIES_MAX = 1000
/** A read costs a seek, which 64 KiB of entries outweigh. */
const HIGH_WATER_MARK_BYTES = 64 * 1024
/** all() keeps everything anyway; this bounds what one step holds twice. */
const ALL_STEP_SIZE = 1024 * 1024

const NO_ENTRIES: RangeChunk = { keys: [], values: [], size: 0, done: true }

/** Of two bounds on one side the inclusive one counts, as in other abstract-level databases. */
export function storedRange(range: LevelRange): StoredRange {
  const { gt, gte, lt, lte } = range
  return {
    gt: gte === undefined && gt !== undefined ? storedKey(gt) : undefined,
    gte: gte !== undefined ? storedKey(gte) : undefined,
    lt: lte === undefined && lt !== undefined ? storedKey(lt) : undefined,
    lte: lte !== undefined ? storedKey(lte) : undefined,
  }
}

/**
 * The range for deleteRange, which takes no bound that is longer than a key. Of a longer one only
 * what a key can have counts: whether keys are before or behind it does not change, and none is it.
 */
export function deletedRange(range: LevelRange): KeyRange {
  const { gt, gte, lt, lte } = storedRange(range)
  const lower = gt ?? gte
  const upper = lt ?? lte
  const isLong = (bound: Uint8Array) => bound.length > KEY_SIZE_MAX
  const cut = (bound: Uint8Array) => bound.subarray(0, KEY_SIZE_MAX)
  return {
    ...(lower && (isLong(lower) ? { gt: cut(lower) } : gt ? { gt } : { gte: lower })),
    ...(upper && (isLong(upper) ? { lte: cut(upper) } : lt ? { lt } : { lte: upper })),
  }
}

export class LevelReader<T> {
  readonly #source: LevelSource
  readonly #options: LevelReaderOptions
  readonly #item: (chunk: RangeChunk, index: number) => T
  readonly #whole: StoredRange
  readonly #bytesMax: number
  /** What is left of the range. */
  #range: StoredRange
  #buffer = NO_ENTRIES
  #index = 0
  #isFirst = true
  #isAtEnd = false

  /** `item` makes what is delivered for an entry. */
  constructor(
    source: LevelSource,
    options: LevelReaderOptions,
    item: (chunk: RangeChunk, index: number) => T,
  ) {
    this.#source = source
    this.#item = item
    this.#options = options
    this.#whole = storedRange(options)
    this.#range = { ...this.#whole }
    // The read ends with the entry that exceeds the mark, not with the one that reaches it.
    this.#bytesMax = (options.highWaterMarkBytes ?? HIGH_WATER_MARK_BYTES) + 1
  }

  /** The next item, or undefined at the end. */
  async next(): Promise<T | undefined> {
    if (this.#index === this.#buffer.keys.length) {
      const countMax = this.#isFirst ? 1 : BUFFERED_ENTRIES_MAX
      this.#buffer = await this.#read(countMax, this.#bytesMax)
      this.#index = 0
      if (this.#buffer.keys.length === 0) return undefined
    }
    return this.#item(this.#buffer, this.#index++)
  }

  /** At most `size` items, fewer when they are large; none only at the end. */
  async nextv(size: number): Promise<T[]> {
    const items: T[] = []
    if (this.#index < this.#buffer.keys.length) this.#takeBuffered(items, size)
    else this.#take(items, await this.#read(size, this.#bytesMax), 0, size)
    return items
  }

  /** The next `limit` items, or all that are left. */
  async all(limit: number): Promise<T[]> {
    const items: T[] = []
    this.#takeBuffered(items, limit)
    while (items.length < limit) {
      const countMax = Math.min(BUFFERED_ENTRIES_MAX, limit - items.length)
      const chunk = await this.#read(countMax, ALL_STEP_SIZE)
      if (chunk.keys.length === 0) break
      this.#take(items, chunk, 0, countMax)
    }
    return items
  }

  /** Goes on at the target, or at the end when it lies outside of the range. */
  seek(target: LevelData): void {
    const key = storedKey(target)
    this.#buffer = NO_ENTRIES
    this.#index = 0
    this.#isFirst = true
    this.#isAtEnd = !isInside(key, this.#whole)
    this.#range = this.#options.reverse
      ? { ...this.#whole, lt: undefined, lte: key }
      : { ...this.#whole, gt: undefined, gte: key }
  }

  close(): void {
    this.#buffer = NO_ENTRIES
    this.#index = 0
    if (this.#source.isOwned) this.#source.snapshot.release()
  }

  async #read(countMax: number, bytesMax: number): Promise<RangeChunk> {
    this.#isFirst = false
    if (this.#isAtEnd) return NO_ENTRIES
    const { reverse, values, signal } = this.#options
    const { db, snapshot, budget } = this.#source
    await budget.renew()
    try {
      const chunk = await db.readRange({
        ...this.#range,
        reverse,
        keysOnly: values === false,
        countMax,
        bytesMax,
        snapshot,
      })
      if (signal?.aborted === true) throw new LevelAbortError(signal.reason)
      this.#moveBehind(chunk)
      return chunk
    } catch (error) {
      throw levelError(error)
    }
  }

  #moveBehind(chunk: RangeChunk): void {
    const { keys, size, done } = chunk
    this.#isAtEnd = done
    this.#source.budget.spend(keys.length, size)
    const last = keys.at(-1)
    if (last === undefined) return
    if (this.#options.reverse) {
      this.#range.lt = last
      this.#range.lte = undefined
    } else {
      this.#range.gt = last
      this.#range.gte = undefined
    }
  }

  #takeBuffered(items: T[], countMax: number): void {
    this.#index += this.#take(items, this.#buffer, this.#index, countMax)
  }

  /** Adds what stands in the chunk from `from` on to `items`. Returns how many. */
  #take(items: T[], chunk: RangeChunk, from: number, countMax: number): number {
    const to = Math.min(chunk.keys.length, from + countMax)
    for (let index = from; index < to; index++) items.push(this.#item(chunk, index))
    return to - from
  }
}

function isInside(key: Uint8Array, { gt, gte, lt, lte }: StoredRange): boolean {
  if (gt !== undefined && compareBytes(key, gt) <= 0) return false
  if (gte !== undefined && compareBytes(key, gte) < 0) return false
  if (lt !== undefined && compareBytes(key, lt) >= 0) return false
  return lte === undefined || compareBytes(key, lte) <= 0
}
