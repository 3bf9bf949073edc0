/**
 * One request and its answer: the context that the handler sees, and the one way to reply.
 *
 *   begun --answer: at once, or the promise settles--> replied --bytes taken--> gone
 *     |--its deadline passes: 504        |--the client is gone: nothing
 *
 * Invariants:
 *  1. It is replied to once. What comes later is dropped.
 *  2. Nothing that a client sends, and nothing that the handler throws, throws out of it.
 */
import { PermissionError, TimeoutError } from '../../errors.ts'
import type { ClientIdentity } from '../../fair-queue.ts'
import type { Consistency, Durability } from '../../key-value-store.ts'
import { Access, type Caller } from '../auth/index.ts'
import type { MaybePromise, RequestContext } from '../request-handler.ts'
import type { CallResponse, RequestBody, RequestHead } from './call-parts.ts'
import type { HttpConnection } from './http-connection.ts'
import type { HttpContext } from './http-context.ts'
import { errorReply, HttpError, isTold, JSON_TYPE } from './http-error.ts'
import type { HttpOperation } from './http-stats.ts'
import { type RequestFields, readFields } from './request-fields.ts'

/** Longer bodies go out in pieces of this size, so that it shows whether the client takes them. */
const PIECE_SIZE = 256 * 1024
/**
 * Bodies up to here go out as text of one character a byte: node:http joins it with the head, where
 * a buffer is written beside it, with a vector of writes.
 */
const TEXT_SIZE_MAX = 4 * 1024
const NOTHING = Buffer.alloc(0)

export class HttpCall implements RequestContext, Caller {
  readonly door = 'http'
  /** Set once it is known who asks. */
  access = Access.none()
  readonly context: HttpContext
  readonly connection: HttpConnection
  readonly request: RequestHead
  readonly body: RequestBody
  readonly response: CallResponse
  readonly fields: RequestFields
  readonly receivedMs: number
  operation: HttpOperation = 'other'
  deadlineMs: number
  consistency: Consistency = 'one'
  durability: Durability | undefined
  readonly version = undefined
  onVersion: ((version: Uint8Array) => void) | undefined
  /** That its path names. */
  key: Uint8Array | undefined
  /** Bytes of the body. */
  size = 0
  /** The client waits for a word before it sends its body. */
  expectsContinue = false
  isWrite = false
  /** The answer is written, and whoever set this ends it. */
  lingers = false
  #isDone = false

  /** Throws HttpError for header fields that contradict each other. */
  constructor(
    context: HttpContext,
    connection: HttpConnection,
    request: RequestHead,
    body: RequestBody,
    response: CallResponse,
  ) {
    this.context = context
    this.connection = connection
    this.request = request
    this.body = body
    this.response = response
    this.receivedMs = context.clock.monotonicMs()
    this.deadlineMs = this.receivedMs + context.limits.budgetDefaultMs
    this.fields = readFields(request.rawHeaders)
  }

  get method(): string {
    return this.request.method ?? ''
  }

  get caller(): Caller {
    return this
  }

  get remoteAddress(): string {
    return this.connection.remoteAddress
  }

  get client(): ClientIdentity {
    return this.connection
  }

  get cancelled(): boolean {
    return this.#isDone || this.connection.isClosed
  }

  /** Replies with the result, now or when it comes. */
  answer<T>(result: MaybePromise<T>, reply: (value: T) => void): void {
    if (!(result instanceof Promise)) {
      reply(result)
      return
    }
    const { connection, context, size } = this
    connection.share.begin(size)
    connection.waiting++
    context.waiting.add(this)
    const settled = (then: () => void): void => {
      context.waiting.delete(this)
      if (connection.isClosed) return
      connection.share.end(size)
      connection.waiting--
      if (this.#isDone) return
      try {
        then()
      } catch (error) {
        this.fail(error)
      }
    }
    result.then(
      value => settled(() => reply(value)),
      error => settled(() => this.fail(error)),
    )
  }

  /** Throws HttpError or OverloadedError when it must not begin now. */
  admit(): void {
    const { connection, context } = this
    if (connection.waiting >= context.limits.connectionInFlightMax) {
      const message = `${connection.waiting} requests of this connection wait for an answer`
      throw new HttpError('HTTP_TOO_MANY_REQUESTS', message)
    }
    connection.share.check(this.size)
  }

  /** `headers`: names and values in turn, all but Content-Length; taken over. */
  reply(status: number, headers: string[], body: Uint8Array = NOTHING): void {
    if (!this.begin(status)) return
    const { response, connection } = this
    const { length } = body
    if (status === 204 || status === 304) {
      response.writeHead(status, headers)
      response.end()
      return
    }
    headers.push('Content-Length', String(length))
    response.writeHead(status, headers)
    if (length > PIECE_SIZE && this.method !== 'HEAD') {
      connection.hold(response, length)
      void this.#sendPieces(body)
      return
    }
    if (this.lingers) response.write(body)
    else if (length <= TEXT_SIZE_MAX) response.end(latin1(body), 'latin1')
    else response.end(body)
    // Nothing left in the stream means that the kernel has it; a queued response has no socket.
    const { socket } = response
    if (length > 0 && (socket === null || socket.writableLength > 0)) {
      connection.hold(response, length)
    }
  }

  /** Counts the answer that is about to be given. False when there was one, or nobody is there. */
  begin(status: number): boolean {
    if (this.#isDone) return false
    this.#isDone = true
    const { context, response, operation } = this
    const tookMs = context.clock.monotonicMs() - this.receivedMs
    context.stats.record(operation, status, tookMs)
    if (tookMs >= context.slow.fromMs) this.#tellSlow(tookMs)
    if (this.connection.isClosed) return false
    if (context.isDraining || this.connection.isRefused) response.shouldKeepAlive = false
    return true
  }

  #tellSlow(tookMs: number): void {
    const { door, operation, access, remoteAddress: address } = this
    const { user } = access
    this.context.slow.add({ tookMs, door, operation, key: this.key, address, user })
  }

  async #sendPieces(body: Uint8Array): Promise<void> {
    const { response } = this
    let at = 0
    for (; body.length - at > PIECE_SIZE; at += PIECE_SIZE) {
      if (!response.write(body.subarray(at, at + PIECE_SIZE))) await this.drained()
      if (this.connection.isClosed) return
    }
    response.end(body.subarray(at))
  }

  /** Resolves once the client has taken what was written, or is gone. */
  drained(): Promise<void> {
    const { response, connection } = this
    if (connection.isClosed || !response.writableNeedDrain) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        response.removeListener('drain', done)
        connection.socket.removeListener('close', done)
        resolve()
      }
      response.once('drain', done)
      connection.socket.once('close', done)
    })
  }

  json(status: number, value: unknown): void {
    this.reply(
      status,
      ['Content-Type', JSON_TYPE, 'Cache-Control', 'no-store'],
      Buffer.from(`${JSON.stringify(value)}\n`),
    )
  }

  fail(error: unknown): void {
    if (this.#isDone) return
    const { status, code, headers, body } = errorReply(error)
    this.context.stats.countError(code)
    if (!isTold(error)) this.#logBug(error)
    if (status === 401 || status === 403) this.#notice(code, error)
    this.reply(status, headers, body)
  }

  #notice(code: string, error: unknown): void {
    const { connection, context } = this
    // Every browser asks without a password first, to hear that there is one.
    if (code === 'KV_AUTHENTICATION' && this.fields.authorization === undefined) return
    // The audit has it, with who and what.
    if (error instanceof PermissionError) return
    context.notice(connection.remoteAddress, code, error instanceof Error ? error.message : '')
  }

  #logBug(error: unknown): void {
    const { connection, context, operation } = this
    const stack = error instanceof Error ? error.stack : undefined
    const fields = { client: connection.remoteAddress, operation, error, stack }
    context.logger.error('an HTTP request failed with a bug of the server', fields)
  }

  /** Fails it when its deadline has passed. */
  sweep(nowMs: number): void {
    if (nowMs <= this.deadlineMs || this.#isDone) return
    const ms = Math.round(nowMs - this.receivedMs)
    const outcome = this.isWrite ? 'unknown' : 'rejected'
    this.fail(new TimeoutError(`no answer within ${ms} ms`, { outcome }))
  }
}

function latin1({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, length).toString('latin1')
}
