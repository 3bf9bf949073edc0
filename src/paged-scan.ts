/**
 * An iteration over pages that some store delivers: buffers one page, hands out its items, fetches
 * the next when they are used up. The scans of the embedded store are made of it.
 *
 * Invariants:
 *  1. Pages are fetched one after another, even when a caller asks for several items at once.
 *  2. The source is closed exactly once: at the end, at close(), or at the first error. Only a scan
 *     that was restarted, and over which nobody loops, stays open at its end: it may be restarted
 *     again.
 *  3. Whoever closes waits until the source is closed, whatever becomes of a read under way.
 *  4. An error ends the iteration: every later read fails with the same one, so that nobody who
 *     goes on takes what came before it for everything.
 */
import { describe } from './arguments.ts'
import { AbortedError, ClosedError, InvalidArgumentError } from './errors.ts'
import type { Scan } from './key-value-store.ts'

export interface Page<T> {
  readonly items: readonly T[]
  /** True when nothing comes after these items. */
  readonly done: boolean
}

export interface PageSource<T> {
  /** At least one item unless done; about `countMax` of them, at most that many. */
  next(countMax: number): Promise<Page<T>> | Page<T>
  /** Releases what the iteration holds. Called once, when no read is under way. */
  close(): Promise<void> | void
}

/** Items in the first page, so that a short scan costs little; doubled up to the maximum. */
const PAGE_COUNT_FIRST = 16
const PAGE_COUNT_MAX = 1024

export class PagedScan<T> implements Scan<T> {
  readonly #source: PageSource<T>
  readonly #signal: AbortSignal | undefined
  #items: readonly T[] = []
  #index = 0
  #remaining: number
  #pageCount = PAGE_COUNT_FIRST
  #sourceDone = false
  #closed = false
  /** True when the reader came to the end, as opposed to closing before it. */
  #ended = false
  #restarted = false
  #looped = false
  #fetching: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** What ended the iteration. */
  #failure: { readonly error: unknown } | undefined

  /** Delivers at most `limit` items. Rejects with AbortedError once `signal` fires. */
  constructor(source: PageSource<T>, limit: number, signal?: AbortSignal) {
    this.#source = source
    this.#remaining = limit
    this.#signal = signal
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isFailed()) await this.#throwFailure()
    while (this.#index === this.#items.length) {
      if (this.#isAtEnd()) {
        await this.#end()
        return { done: true, value: undefined }
      }
      await this.#fetch(this.#pageCount)
    }
    const value = this.#items[this.#index]!
    this.#index++
    return { done: false, value }
  }

  async nextBatch(countMax: number): Promise<T[]> {
    if (!Number.isSafeInteger(countMax) || countMax < 1) {
      throw new InvalidArgumentError(
        `countMax must be a positive integer, got ${describe(countMax)}`,
      )
    }
    if (this.#isFailed()) await this.#throwFailure()
    while (this.#index === this.#items.length) {
      // Also where it is closed during the read: nothing would mean that it came to its end.
      if (this.#closed && !this.#ended) throw new ClosedError('the scan is closed')
      if (this.#isAtEnd()) {
        await this.#end()
        return []
      }
      await this.#fetch(countMax)
    }
    const batch = this.#items.slice(this.#index, this.#index + countMax)
    this.#index += batch.length
    return batch
  }

  /** Resolves when the source is closed. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#release()
    return this.#closing
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    // A loop that comes to the end calls nothing, so the end itself must release the source.
    this.#looped = true
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /**
   * Forgets what was fetched and not delivered, because the source was put elsewhere; the limit
   * stays. Throws ClosedError after close(), InvalidArgumentError while a read is under way.
   */
  protected restart(): void {
    if (this.#closed) throw new ClosedError('the scan is closed')
    if (this.#fetching !== undefined) {
      throw new InvalidArgumentError('a scan is moved only when no read of it is under way')
    }
    this.#remaining += this.#items.length - this.#index
    this.#items = []
    this.#index = 0
    this.#pageCount = PAGE_COUNT_FIRST
    this.#sourceDone = false
    this.#ended = false
    this.#restarted = true
  }

  async #end(): Promise<void> {
    if (!this.#closed) this.#ended = true
    if (!this.#restarted || this.#looped) await this.close()
  }

  #isAtEnd(): boolean {
    return this.#closed || this.#sourceDone || this.#remaining === 0
  }

  async #release(): Promise<void> {
    this.#closed = true
    this.#items = []
    this.#index = 0
    // Should it fail: those who wait for its items are told.
    if (this.#fetching !== undefined) await Promise.allSettled([this.#fetching])
    await this.#source.close()
  }

  #isFailed(): boolean {
    return this.#failure !== undefined || this.#signal?.aborted === true
  }

  async #throwFailure(): Promise<never> {
    const cause = this.#signal?.reason
    this.#failure ??= { error: new AbortedError('the scan was aborted by its signal', { cause }) }
    await this.close()
    throw this.#failure.error
  }

  async #fetch(countMax: number): Promise<void> {
    if (this.#fetching !== undefined) {
      await this.#fetching
      return
    }
    this.#fetching = this.#fetchPage(countMax)
    try {
      await this.#fetching
    } catch (error) {
      this.#failure ??= { error }
    } finally {
      this.#fetching = undefined
    }
    if (this.#failure !== undefined) await this.#throwFailure()
  }

  async #fetchPage(countMax: number): Promise<void> {
    const page = await this.#source.next(Math.max(1, Math.min(countMax, this.#remaining)))
    if (this.#closed) return
    this.#items = page.items
    this.#index = 0
    this.#remaining -= page.items.length
    this.#sourceDone = page.done
    this.#pageCount = Math.min(this.#pageCount * 2, PAGE_COUNT_MAX)
  }
}
