/**
 * The open scans of one connection.
 *
 * The client names a scan when it opens it, so it may ask for further pages before the first has
 * come. Each SCAN_OPEN and SCAN_NEXT is credit for one page.
 *
 *   opening --page--> waiting for SCAN_NEXT --page--> … --last page, error, close, idle--> gone
 *
 * Invariants:
 *  1. Pages of a scan are produced one after the other, in the order they were asked for, and only
 *     while the reader takes them.
 *  2. No page is skipped: a page that was taken from the handler and cannot be delivered ends the
 *     scan, so that every later request for it fails.
 *  3. An id may be used again as soon as its scan was closed; what is still under way for the old
 *     scan never touches the new one.
 */
import { AbortedError, InvalidArgumentError, NotFoundError } from '../errors.ts'
import type { Responder } from './operations.ts'
import type { OutputBuffer } from './output-buffer.ts'
import type { ScanNextBody, ScanOpenBody } from './request-body.ts'
import type { MaybePromise, ScanPage, ScanSession } from './request-handler.ts'
import { encodePageReply, type PageReply, pageSize } from './response-body.ts'
import type { ServerContext } from './server-context.ts'
import type { ServerRequest } from './server-request.ts'

interface PageSizes {
  readonly entriesMax: number
  readonly bytesMax: number
}

/** One scan; `session` is undefined until the handler has opened it. */
class ServerScan {
  session: ScanSession | undefined
  closed = false
  /** True when its last page was produced; what was asked ahead of that is answered "done". */
  finished = false
  /** Pages asked for and not produced. */
  credits = 0
  /** The production of the last page asked for, when it is not finished. */
  tail: Promise<unknown> | undefined
  /** Entries still wanted. */
  remaining: number
  usedMs: number
  readonly keysOnly: boolean

  constructor(body: ScanOpenBody, nowMs: number) {
    this.remaining = body.limit === 0 ? Number.POSITIVE_INFINITY : body.limit
    this.keysOnly = body.scan.keysOnly
    this.usedMs = nowMs
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.session?.close()
  }
}

export class SessionScans {
  readonly #context: ServerContext
  readonly #responder: Responder
  readonly #scans = new Map<number, ServerScan>()
  /** The last few that came to their end: what the client asks before it knows is no error. */
  readonly #finished = new Set<number>()

  constructor(context: ServerContext, responder: Responder) {
    this.#context = context
    this.#responder = responder
  }

  get count(): number {
    return this.#scans.size
  }

  open(request: ServerRequest, body: ScanOpenBody): void {
    const { handler, clock } = this.#context
    const { share } = this.#responder
    if (this.#scans.has(body.scanId)) {
      throw new InvalidArgumentError(`scan ${body.scanId} is already open on this connection`)
    }
    share.checkScan()
    this.#finished.delete(body.scanId)
    const scan = new ServerScan(body, clock.monotonicMs())
    const opened = handler.openScan(body.scan, request)
    this.#scans.set(body.scanId, scan)
    share.openScan()
    if (opened instanceof Promise) {
      const started = opened.then(
        session => {
          if (scan.closed) session.close()
          scan.session = session
        },
        error => {
          this.#closeScan(body.scanId, scan)
          throw error
        },
      )
      scan.tail = started
    } else {
      scan.session = opened
    }
    this.#answerPage(request, body.scanId, scan, body)
  }

  next(request: ServerRequest, body: ScanNextBody): void {
    const scan = this.#scans.get(body.scanId)
    if (scan === undefined) {
      if (!this.#finished.has(body.scanId)) throw scanIsGone(body.scanId)
      this.#responder.answer(request, NO_MORE, encodePage)
      return
    }
    const { scanCreditsMax } = this.#context.limits
    if (scan.credits >= scanCreditsMax) {
      this.close(body.scanId)
      throw this.#context.admission.overloaded(`${scanCreditsMax} pages are already asked for`)
    }
    scan.usedMs = this.#context.clock.monotonicMs()
    this.#answerPage(request, body.scanId, scan, body)
  }

  /** Harmless for a scan that is gone. */
  close(scanId: number): void {
    const scan = this.#scans.get(scanId)
    if (scan !== undefined) this.#closeScan(scanId, scan)
  }

  /** Closes `scan`, and never another that has taken its id since. */
  #closeScan(scanId: number, scan: ServerScan): void {
    if (this.#scans.get(scanId) === scan) {
      this.#scans.delete(scanId)
      this.#responder.share.closeScan()
    }
    scan.close()
  }

  closeAll(): void {
    for (const scanId of [...this.#scans.keys()]) this.close(scanId)
  }

  /** Closes scans that nobody reads. */
  sweep(nowMs: number): void {
    const { scanIdleMs } = this.#context.limits
    for (const [scanId, scan] of this.#scans) {
      if (scan.credits === 0 && nowMs - scan.usedMs > scanIdleMs) this.close(scanId)
    }
  }

  #answerPage(request: ServerRequest, scanId: number, scan: ServerScan, sizes: PageSizes): void {
    const before = scan.tail
    scan.credits++
    const page =
      before === undefined
        ? this.#produce(request, scanId, scan, sizes)
        : before.then(() => this.#produce(request, scanId, scan, sizes))
    if (!(page instanceof Promise)) {
      scan.credits--
      this.#responder.answer(request, page, encodePage)
      return
    }
    const produced = page.finally(() => {
      scan.credits--
      scan.usedMs = this.#context.clock.monotonicMs()
      if (scan.tail === produced) scan.tail = undefined
    })
    scan.tail = produced
    this.#responder.answer(request, produced, encodePage)
  }

  /** The next page, once the reader has room. */
  #produce(
    request: ServerRequest,
    scanId: number,
    scan: ServerScan,
    sizes: PageSizes,
  ): MaybePromise<PageReply> {
    const wait = this.#responder.whenWritable()
    if (wait !== undefined) return wait.then(() => this.#produce(request, scanId, scan, sizes))
    if (scan.finished) return NO_MORE
    if (scan.closed || scan.session === undefined) throw scanIsGone(scanId)
    if (request.cancelled) throw new AbortedError('nobody waits for this page any more')
    const { pageEntriesMax, pageBytesMax } = this.#context.limits
    const entriesMax = Math.max(1, Math.min(sizes.entriesMax, pageEntriesMax, scan.remaining))
    // Half: a page may end with an entry that is larger than the rest of it.
    const room = Math.floor(this.#responder.share.outputRoom / 2)
    const bytesMax = Math.max(1, Math.min(sizes.bytesMax, pageBytesMax, room))
    try {
      const page = scan.session.next(entriesMax, bytesMax)
      if (!(page instanceof Promise)) return this.#finish(request, scanId, scan, page)
      return page
        .then(value => this.#finish(request, scanId, scan, value))
        .catch(error => this.#endWith(scanId, scan, error))
    } catch (error) {
      return this.#endWith(scanId, scan, error)
    }
  }

  #finish(request: ServerRequest, scanId: number, scan: ServerScan, page: ScanPage): PageReply {
    scan.remaining -= page.keys.length
    const values = scan.keysOnly ? undefined : page.values
    const done = page.done || scan.remaining <= 0
    const reply: PageReply = { keys: page.keys, values, cursor: page.cursor, done }
    this.#responder.checkReply(pageSize(reply))
    if (done) this.#rememberFinished(scanId, scan)
    if (done || request.cancelled) this.#closeScan(scanId, scan)
    return reply
  }

  #rememberFinished(scanId: number, scan: ServerScan): void {
    scan.finished = true
    if (this.#scans.get(scanId) !== scan) return
    this.#finished.add(scanId)
    if (this.#finished.size <= this.#context.limits.scansMax) return
    for (const oldest of this.#finished) {
      this.#finished.delete(oldest)
      break
    }
  }

  /** A scan that fails is closed, for its place is not known any more. */
  #endWith(scanId: number, scan: ServerScan, error: unknown): never {
    this.#closeScan(scanId, scan)
    throw error
  }
}

const NO_MORE: PageReply = { keys: [], values: undefined, cursor: undefined, done: true }

function encodePage(output: OutputBuffer, request: ServerRequest, page: PageReply): void {
  encodePageReply(output, request.opcode, request.id, page)
}

function scanIsGone(scanId: number): NotFoundError {
  return new NotFoundError(
    `scan ${scanId} is not open: it ended, was closed, or was not read for too long`,
  )
}
