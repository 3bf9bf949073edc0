/**
 * A scan that a node reads, for a client of the proxy: one page is asked for when the client asks
 * for one, and none is kept, so a slow reader holds no memory here.
 *
 * The scan lives on one connection to one node. When that is lost, clients of the binary protocol
 * are told, for they resume by themselves, or do not want to; for all others the rest is read from
 * another node, in a later state, as it would be were the proxy a node.
 */
import { KvError, UnavailableError } from '../../errors.ts'
import { after, type OpenedScan, RESUMABLE_CODES, type RemoteScanOptions } from '../remote-scan.ts'
import type { HandlerScan, ScanPage, ScanSession } from '../request-handler.ts'
import type { PageReply } from '../response-body.ts'
import { fromNode } from './node-error.ts'
import type { Lane } from './proxy-lanes.ts'

/** For each page but the first, which has what the request has. */
const PAGE_TIMEOUT_MS = 30_000

export interface ForwardedScanTerms {
  /** For the first page. */
  readonly timeoutMs: number
  /** Whether the rest may be read from another node. */
  readonly resumes: boolean
}

export class ForwardedScan implements ScanSession {
  readonly #lane: Lane
  readonly #resumes: boolean
  /** What was not delivered. */
  #rest: HandlerScan
  #timeoutMs: number
  #opened: OpenedScan | undefined
  #isBegun = false
  #isClosed = false

  /** Takes over the buffers of `scan`. */
  constructor(lane: Lane, scan: HandlerScan, { timeoutMs, resumes }: ForwardedScanTerms) {
    this.#lane = lane
    this.#rest = scan
    this.#timeoutMs = timeoutMs
    this.#resumes = resumes
  }

  async next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    const terms = this.#terms(entriesMax, bytesMax)
    this.#timeoutMs = PAGE_TIMEOUT_MS
    const opened = this.#opened
    if (opened !== undefined) {
      try {
        return this.#take(await this.#lane.scans.next(opened, terms))
      } catch (error) {
        this.#abandon()
        if (!this.#mayResume(error)) throw fromNode(error)
      }
    } else if (this.#isBegun && !this.#resumes) {
      throw new UnavailableError('the scan has ended with an error')
    }
    return await this.#open(terms)
  }

  #terms(pageEntries: number, pageBytes: number): RemoteScanOptions {
    return {
      scan: this.#rest,
      limit: Number.POSITIVE_INFINITY,
      pageEntries,
      pageBytes,
      readAheadPages: 1,
      resume: this.#resumes,
      cursor: undefined,
      signal: undefined,
      timeoutMs: this.#timeoutMs,
    }
  }

  #mayResume(error: unknown): boolean {
    const isKnown = error instanceof KvError && RESUMABLE_CODES.includes(error.code)
    return isKnown && this.#resumes && !this.#isClosed
  }

  async #open(terms: RemoteScanOptions): Promise<ScanPage> {
    const opened = await this.#opening(terms)
    this.#isBegun = true
    if (!opened.page.done) this.#opened = opened
    if (this.#isClosed) this.#abandon()
    return this.#take(opened.page)
  }

  async #opening(terms: RemoteScanOptions): Promise<OpenedScan> {
    try {
      return await this.#lane.scans.open(this.#rest, 0, terms)
    } catch (error) {
      throw fromNode(error)
    }
  }

  /** The rest begins behind this page. */
  #take(page: PageReply): ScanPage {
    const { keys, values = [], cursor, done } = page
    if (done) this.#opened = undefined
    const last = keys.at(-1)
    if (this.#rest.order === 'unordered') {
      if (cursor !== undefined) this.#rest = { ...this.#rest, cursor }
    } else if (last !== undefined) this.#rest = after(this.#rest, last)
    return { keys, values, cursor, done }
  }

  #abandon(): void {
    const opened = this.#opened
    this.#opened = undefined
    if (opened !== undefined) this.#lane.scans.close(opened)
  }

  close(): void {
    this.#isClosed = true
    this.#abandon()
  }
}
