/**
 * The pages of a scan over the engine: each is one range read that begins after the last key of
 * the page before. Nothing is held between pages but a snapshot, so a scan that is slow, paused or
 * forgotten pins no file, block or memtable.
 */
import { compareBytes, utf8Encode } from '../bytes.ts'
import type { EventLoopBudget } from '../event-loop-budget.ts'
import type { Page, PageSource } from '../paged-scan.ts'
import type { RangeChunk, RangeRead } from './range-read.ts'
import type { EngineSnapshot } from './snapshots.ts'

/** Bytes of keys and values in a page before it ends early. */
const PAGE_SIZE_TARGET = 256 * 1024
const NO_VALUE = utf8Encode('')

export interface RangePagesOptions<T> {
  readonly range: Pick<RangeRead, 'gt' | 'gte' | 'lt' | 'lte' | 'reverse' | 'keysOnly'>
  /** Released when the scan is closed. */
  readonly snapshot: EngineSnapshot
  readonly read: (range: RangeRead) => RangeChunk | Promise<RangeChunk>
  /** Shared by all scans of the database. */
  readonly budget: EventLoopBudget
  /** What the scan delivers for an entry. */
  readonly item: (key: Uint8Array, value: Uint8Array) => T
}

export class RangePages<T> implements PageSource<T> {
  readonly #options: RangePagesOptions<T>
  /** Where the scan goes on, or undefined for the beginning of the range. */
  #start: Uint8Array | undefined
  /** Whether the key at #start was delivered already. */
  #isDelivered = false

  constructor(options: RangePagesOptions<T>) {
    this.#options = options
  }

  async next(countMax: number): Promise<Page<T>> {
    const { snapshot, read, item, budget } = this.#options
    const range = { ...this.#rest(), countMax, bytesMax: PAGE_SIZE_TARGET, snapshot }
    await budget.renew()
    const { keys, values, size, done } = await read(range)
    budget.spend(keys.length, size)
    const lastKey = keys.at(-1)
    if (lastKey !== undefined) {
      this.#start = lastKey
      this.#isDelivered = true
    }
    return { items: keys.map((key, index) => item(key, values[index] ?? NO_VALUE)), done }
  }

  /**
   * Goes on at the target, or at the first key behind it in the direction of the scan; at the
   * beginning of the range when the target lies before that. Keeps the target.
   */
  seek(target: Uint8Array): void {
    const { gt, gte, lt, lte, reverse } = this.#options.range
    const bound = reverse ? (lt ?? lte) : (gt ?? gte)
    const order = bound === undefined ? undefined : compareBytes(target, bound)
    const isBehind = order === undefined || (reverse ? order < 0 : order > 0)
    this.#start = isBehind ? target : undefined
    this.#isDelivered = false
  }

  close(): void {
    this.#options.snapshot.release()
  }

  /** What of the range is left. */
  #rest(): RangePagesOptions<T>['range'] {
    const { range } = this.#options
    const start = this.#start
    if (start === undefined) return range
    const bound = this.#isDelivered
      ? { gt: start, gte: undefined, lt: start, lte: undefined }
      : { gt: undefined, gte: start, lt: undefined, lte: start }
    return range.reverse
      ? { ...range, lt: bound.lt, lte: bound.lte }
      : { ...range, gt: bound.gt, gte: bound.gte }
  }
}
