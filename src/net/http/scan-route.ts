/**
 * GET /v1/kv: the entries of a range, as a stream of lines, of one frozen state.
 *
 *   opening --first page--> streaming: a page, its lines, until the client has taken them --> end
 *      |--fails: an error status      |--fails: an error line, and the connection is cut
 *
 * Whoever counts on the end sees that a stream was cut: its last chunk is missing.
 */
import { compareBytes } from '../../bytes.ts'
import { AbortedError } from '../../errors.ts'
import { prefixRange } from '../../prefix-range.ts'
import type { HandlerScan, ScanPage, ScanSession } from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import { errorLine, isTold } from './http-error.ts'
import { readTerms } from './kv-routes.ts'
import { bad, Query, type Target } from './request-target.ts'
import { entryPieces } from './scan-lines.ts'

export const LINES_TYPE = 'application/x-ndjson'

const BOUNDS = ['gt', 'gte', 'lt', 'lte'] as const
const PARAMETERS = ['prefix', ...BOUNDS, 'limit', 'reverse', 'keys_only', 'consistency', 'timeout']
const PAGE_BYTES_MAX = 64 * 1024
const PAGE_ENTRIES_MAX = 1024
/** Text that is handed to the socket at once. */
const FLUSH_SIZE = 32 * 1024

export function scanKeys(call: HttpCall, { query }: Target): void {
  const parameters = new Query(query, PARAMETERS)
  call.deadlineMs = call.receivedMs + call.context.limits.budgetMaxMs
  readTerms(call, parameters)
  const scan = scanOf(parameters)
  const limit = parameters.count('limit') ?? Number.POSITIVE_INFINITY
  call.admit()
  call.connection.share.checkScan()
  call.answer(new ScanStream(call, scan, limit).run(), () => undefined)
}

function scanOf(query: Query): HandlerScan {
  const bounds = Object.fromEntries(
    BOUNDS.flatMap(name => {
      const bytes = query.bytes(name)
      return bytes === undefined ? [] : [[name, bytes] as const]
    }),
  ) as Partial<Record<(typeof BOUNDS)[number], Buffer>>
  if (bounds.gt !== undefined && bounds.gte !== undefined) throw bad('use gt or gte, not both')
  if (bounds.lt !== undefined && bounds.lte !== undefined) throw bad('use lt or lte, not both')
  return {
    ...withinPrefix(bounds, query.bytes('prefix')),
    reverse: query.flag('reverse'),
    order: 'ordered',
    keysOnly: query.flag('keys_only'),
    cursor: undefined,
  }
}

type Bounds = Partial<Record<(typeof BOUNDS)[number], Uint8Array>>

/** The narrower of both on either side. */
function withinPrefix(bounds: Bounds, prefix: Uint8Array | undefined): Bounds {
  if (prefix === undefined) return bounds
  const { gte, lt } = prefixRange(prefix)
  const { gt: above, gte: from, lt: below, lte: to } = bounds
  const result: Bounds = { ...bounds }
  const lower = above ?? from
  if (gte !== undefined && (lower === undefined || compareBytes(lower, gte) < 0)) {
    delete result.gt
    result.gte = gte
  }
  const upper = below ?? to
  if (lt !== undefined && (upper === undefined || compareBytes(upper, lt) >= 0)) {
    delete result.lte
    result.lt = lt
  }
  return result
}

class ScanStream {
  readonly #call: HttpCall
  readonly #scan: HandlerScan
  #left: number
  #hasBegun = false
  #text = ''

  constructor(call: HttpCall, scan: HandlerScan, limit: number) {
    this.#call = call
    this.#scan = scan
    this.#left = limit
  }

  /** Rejects with what should be answered while nothing was. */
  async run(): Promise<void> {
    const call = this.#call
    const { share } = call.connection
    share.openScan()
    try {
      const session = await call.context.handler.openScan(this.#scan, call)
      try {
        await this.#stream(session)
      } finally {
        session.close()
      }
    } catch (error) {
      if (!this.#hasBegun) throw error
      this.#cut(error)
    } finally {
      if (!call.connection.isClosed) share.closeScan()
    }
  }

  async #stream(session: ScanSession): Promise<void> {
    const { response } = this.#call
    for (let isDone = false; !isDone; ) {
      const page = await session.next(Math.min(this.#left, PAGE_ENTRIES_MAX), PAGE_BYTES_MAX)
      this.#left -= page.keys.length
      isDone = page.done || this.#left <= 0
      if (!this.#begin()) return
      await this.#writePage(page)
      if (isDone) response.end(this.#text)
      else await this.#flush()
    }
  }

  /** False when nobody is there, or its deadline has passed. */
  #begin(): boolean {
    const call = this.#call
    if (this.#hasBegun) {
      // `cancelled` also means answered, and this has been for a while.
      if (call.connection.isClosed) return false
      if (call.context.clock.monotonicMs() <= call.deadlineMs) return true
      throw new AbortedError('the scan was not over by its deadline')
    }
    if (!call.begin(200)) return false
    this.#hasBegun = true
    call.response.writeHead(200, [
      ...['Content-Type', LINES_TYPE, 'X-Content-Type-Options', 'nosniff'],
      ...['Cache-Control', 'no-store'],
    ])
    return true
  }

  async #writePage(page: ScanPage): Promise<void> {
    const { turns } = this.#call.context
    const { connection } = this.#call
    let pause = turns.begin(connection)
    for (const [at, key] of page.keys.entries()) {
      const value = this.#scan.keysOnly ? undefined : page.values[at]!
      for (const piece of entryPieces(key, value)) {
        if (pause !== undefined) await pause
        this.#text += piece
        if (this.#text.length >= FLUSH_SIZE) await this.#flush()
        if (connection.isClosed) return
        pause = turns.isOver ? turns.pause(connection) : undefined
      }
    }
  }

  async #flush(): Promise<void> {
    const text = this.#text
    this.#text = ''
    if (text !== '' && !this.#call.response.write(text)) await this.#call.drained()
  }

  /** The status has said that all is well: says that it is not, and lacks the last chunk. */
  #cut(error: unknown): void {
    const { connection, response, context } = this.#call
    if (!isTold(error)) {
      const stack = error instanceof Error ? error.stack : undefined
      context.logger.error('a scan failed with a bug of the server', { error, stack })
    }
    context.stats.connectionsFailed++
    if (connection.isClosed) return
    response.write(Buffer.concat([Buffer.from(this.#text), errorLine(error)]), () => {
      connection.socket.destroySoon()
    })
  }
}
