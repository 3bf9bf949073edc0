/**
 * A scan of a remote store: pages are asked for ahead of the reader, as far as its credit goes.
 *
 * When the connection breaks or the server forgets the scan, it goes on by itself: an ordered scan
 * after the last key it received, an unordered one after the last page. Nothing is delivered twice
 * and nothing is left out of what stood still meanwhile; but the rest is then read from a later
 * state than the beginning. `resumes` counts how often that happened; `resume: false` fails
 * instead.
 *
 * Invariants:
 *  1. At most `readAheadPages` pages are asked for and not consumed.
 *  2. A page is dropped only together with all that follow it, before a resume.
 */
import { AbortedError, ClosedError, InvalidArgumentError, KvError, toError } from '../errors.ts'
import type { Scan } from '../key-value-store.ts'
import type { ClientConnection } from './client-connection.ts'
import type { HandlerScan } from './request-handler.ts'
import type { PageReply } from './response-body.ts'
import { decodeScanCursor, encodeScanCursor, type ScanCursor } from './scan-cursor.ts'

/** What a page becomes for the reader: entries, keys or values. */
export type PageItems<T> = (page: PageReply) => T[]

export interface RemoteScanOptions {
  /** Bounds, direction, order; `cursor` is the server's, and set by the scan itself. */
  readonly scan: HandlerScan
  readonly limit: number
  readonly pageEntries: number
  readonly pageBytes: number
  readonly readAheadPages: number
  readonly resume: boolean
  /** A cursor of an earlier scan with the same bounds, to go on after it. */
  readonly cursor: Uint8Array | undefined
  readonly signal: AbortSignal | undefined
  /** For each page. */
  readonly timeoutMs: number
}

export interface OpenedScan {
  readonly page: PageReply
  readonly connection: ClientConnection
  readonly scanId: number
}

/** How a scan reaches the server; implemented by the client. */
export interface ScanSource {
  open(scan: HandlerScan, limit: number, options: RemoteScanOptions): Promise<OpenedScan>
  next(opened: OpenedScan, options: RemoteScanOptions): Promise<PageReply>
  /** Best effort: a scan that is not closed is closed by the server after a while. */
  close(opened: OpenedScan): void
  /** The scan has ended, whichever way. */
  ended(scan: RemoteScan<unknown>): void
}

const NO_PAGE: PageReply = { keys: [], values: undefined, cursor: undefined, done: false }

/** Errors after which the rest may be read from another connection. */
export const RESUMABLE_CODES: readonly string[] = [
  'KV_UNAVAILABLE',
  'KV_NOT_FOUND',
  'KV_OVERLOADED',
]

export class RemoteScan<T> implements Scan<T> {
  readonly #source: ScanSource
  readonly #options: RemoteScanOptions
  readonly #itemsOf: PageItems<T>
  /** Where the next SCAN_OPEN begins: the bounds, moved on by every page that came. */
  #rest: HandlerScan
  #remaining: number
  #opened: OpenedScan | undefined
  #ahead: Promise<PageReply>[] = []
  /** The page in hand, what it became for the reader, and how much of that was taken. */
  #page: PageReply = NO_PAGE
  #items: T[] = []
  #position = 0
  /** Where the scan stood before the page in hand. */
  #before: ScanCursor | undefined
  #done = false
  #closed = false
  /** True when the reader came to the end, as opposed to closing before it. */
  #ended = false
  /** Why it cannot go on. It stays so: what comes after an error must not look like the end. */
  #failure: Error | undefined
  #resumes = 0
  /** The last call of nextBatch; calls are served one after the other. */
  #tail: Promise<unknown> = Promise.resolve()
  #waitingCount = 0

  constructor(source: ScanSource, options: RemoteScanOptions, itemsOf: PageItems<T>) {
    this.#source = source
    this.#options = options
    this.#itemsOf = itemsOf
    this.#before = options.cursor === undefined ? undefined : decodeScanCursor(options.cursor)
    this.#rest = startAfter(options.scan, this.#before)
    this.#remaining = options.limit
    this.#done = this.#remaining <= 0
  }

  /**
   * Where the scan stands: given to a new scan with the same bounds, it goes on after the last item
   * that was handed out (an unordered scan: after the last page that was handed out completely, so
   * up to a page may come again). Undefined before the first.
   */
  get cursor(): Uint8Array | undefined {
    const place = this.#place()
    return place === undefined ? undefined : encodeScanCursor(place)
  }

  #place(): ScanCursor | undefined {
    if (this.#position === 0) return this.#before
    if (this.#options.scan.order === 'ordered') {
      return { order: 'ordered', position: this.#page.keys[this.#position - 1]! }
    }
    const { cursor } = this.#page
    if (this.#position < this.#items.length || cursor === undefined) return this.#before
    return { order: 'unordered', position: cursor }
  }

  /** How often the scan went on with a later state after a lost connection. */
  get resumes(): number {
    return this.#resumes
  }

  async next(): Promise<IteratorResult<T>> {
    // Most items are there already; only the end of a page waits.
    if (this.#position < this.#items.length && this.#waitingCount === 0) {
      this.#checkAborted()
      return { done: false, value: this.#items[this.#position++]! }
    }
    const batch = await this.#inTurn(1)
    return batch.length === 0 ? { done: true, value: undefined } : { done: false, value: batch[0]! }
  }

  async nextBatch(countMax: number): Promise<T[]> {
    if (!Number.isSafeInteger(countMax) || countMax < 1) {
      throw new InvalidArgumentError(`countMax must be a positive integer, got ${countMax}`)
    }
    const batch = await this.#inTurn(countMax)
    if (batch.length === 0 && !this.#ended) throw new ClosedError('the scan is closed')
    return batch
  }

  /** Calls are served one after the other. Empty also when it was closed. */
  #inTurn(countMax: number): Promise<T[]> {
    this.#waitingCount++
    const batch = this.#tail.then(() => this.#batch(countMax))
    const settled = (): void => {
      this.#waitingCount--
    }
    this.#tail = batch.then(settled, settled)
    return batch
  }

  async #batch(countMax: number): Promise<T[]> {
    try {
      this.#checkAborted()
      while (this.#position >= this.#items.length) {
        if (this.#failure !== undefined) throw this.#failure
        if (this.#closed) return []
        if (this.#done && this.#ahead.length === 0) {
          this.#ended = true
          this.end()
          return []
        }
        await this.#receive()
        this.#checkAborted()
      }
    } catch (error) {
      this.end(toError(error))
      throw error
    }
    const count = Math.min(countMax, this.#items.length - this.#position)
    const batch = this.#items.slice(this.#position, this.#position + count)
    this.#position += count
    return batch
  }

  #checkAborted(): void {
    const { signal } = this.#options
    if (signal?.aborted !== true) return
    const aborted = new AbortedError('aborted', { cause: signal.reason })
    this.end(aborted)
    throw aborted
  }

  /** Brings the next page into hand, resuming where that is needed and allowed. */
  async #receive(): Promise<void> {
    const page = await this.#nextPage()
    if (this.#closed) return
    this.#putAway()
    this.#page = page
    this.#items = this.#itemsOf(page)
    this.#askAhead()
  }

  /** Lets go of the page in hand. */
  #putAway(): void {
    this.#before = this.#place()
    this.#page = NO_PAGE
    this.#items = []
    this.#position = 0
  }

  async #nextPage(): Promise<PageReply> {
    const ahead = this.#ahead.shift()
    if (ahead === undefined) return this.#open()
    try {
      const page = await ahead
      this.#moveOn(page)
      return page
    } catch (error) {
      if (!this.#mayResume(error)) throw error
    }
    this.#abandon()
    this.#resumes++
    return this.#open()
  }

  #mayResume(error: unknown): boolean {
    const known = error instanceof KvError && RESUMABLE_CODES.includes(error.code)
    return known && this.#options.resume && !this.#closed
  }

  /** Forgets the open scan and what was asked of it. */
  #abandon(): void {
    const opened = this.#opened
    this.#opened = undefined
    this.#ahead = []
    if (opened !== undefined) this.#source.close(opened)
  }

  async #open(): Promise<PageReply> {
    const limit = this.#remaining === Number.POSITIVE_INFINITY ? 0 : this.#remaining
    const opened = await this.#source.open(this.#rest, limit, this.#options)
    if (this.#closed) this.#source.close(opened)
    else this.#opened = opened
    this.#moveOn(opened.page)
    return opened.page
  }

  /** The rest begins after this page. */
  #moveOn(page: PageReply): void {
    this.#remaining -= page.keys.length
    if (page.done || this.#remaining <= 0) {
      this.#done = true
      this.#opened = undefined
      this.#ahead = []
    }
    const last = page.keys.at(-1)
    if (this.#rest.order === 'ordered') {
      if (last !== undefined) this.#rest = after(this.#rest, last)
    } else if (page.cursor !== undefined) {
      this.#rest = { ...this.#rest, cursor: page.cursor }
    }
  }

  #askAhead(): void {
    const opened = this.#opened
    if (this.#done || opened === undefined) return
    while (this.#ahead.length < this.#options.readAheadPages) {
      const page = this.#source.next(opened, this.#options)
      // Whoever takes the page sees its error; one that is dropped with the rest has no reader.
      page.catch(() => undefined)
      this.#ahead.push(page)
    }
  }

  /**
   * Ends the scan within this call. Items that were not taken are dropped; who reads on gets
   * `failure`, when there is one. Idempotent.
   */
  end(failure?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#failure = failure
    this.#putAway()
    this.#abandon()
    this.#source.ended(this)
  }

  close(): Promise<void> {
    this.end()
    return Promise.resolve()
  }

  async return(): Promise<IteratorResult<T>> {
    await this.close()
    return { done: true, value: undefined }
  }

  async throw(error: unknown): Promise<IteratorResult<T>> {
    await this.close()
    throw toError(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The part of an ordered scan that lies after `key`. */
export function after(scan: HandlerScan, key: Uint8Array): HandlerScan {
  const { gt, gte, lt, lte, ...others } = scan
  const lower = gte !== undefined ? { gte } : gt !== undefined ? { gt } : {}
  const upper = lte !== undefined ? { lte } : lt !== undefined ? { lt } : {}
  return scan.reverse ? { ...others, ...lower, lt: key } : { ...others, ...upper, gt: key }
}

function startAfter(scan: HandlerScan, place: ScanCursor | undefined): HandlerScan {
  if (place === undefined) return scan
  const { order, position } = place
  if (order !== scan.order) {
    throw new InvalidArgumentError(`the cursor is of an ${order} scan, this one is ${scan.order}`)
  }
  return order === 'ordered' ? after(scan, position) : { ...scan, cursor: position }
}
