/**
 * The server's side of one conversation: bytes come in through `receive`, replies gather in
 * `output`. No sockets and no timers here; connection.ts has the socket.
 *
 *   hello --HELLO accepted--> open --malformed input, end of input--> ending
 *
 * Invariants:
 *  1. Every request gets exactly one reply, unless the conversation ends before.
 *  2. Nothing a client sends throws out of this class: malformed input is answered with an error
 *     and ends this conversation; what a handler throws fails one request.
 *  3. It is `blocked` while too many requests wait, or too many replies were not taken.
 */
import { copyBytes, DecodeError } from '../bytes.ts'
import {
  AbortedError,
  InvalidArgumentError,
  KvError,
  ProtocolError,
  TimeoutError,
} from '../errors.ts'
import { Access, type Caller } from './auth/index.ts'
import type { Conversation, ConversationSink } from './conversation.ts'
import { beginningOfKey } from './first-key.ts'
import { FRAME_LENGTH_SIZE, FrameDecoder } from './frame.ts'
import { acceptHello } from './handshake.ts'
import { FRAME_OVERHEAD_MAX, HELLO_FRAME_SIZE_MAX, WRITE_VERSION_SIZE } from './limits.ts'
import {
  CONSISTENCY_CODE_MAX,
  consistencyOf,
  DURABILITY_CODE_MAX,
  durabilityOf,
  Feature,
  OPERATION_NAMES,
  Opcode,
} from './opcode.ts'
import { type EncodeReply, Operations, type Responder } from './operations.ts'
import { RequestHeader } from './request.ts'
import { decodeHello } from './request-body.ts'
import type { MaybePromise } from './request-handler.ts'
import { FLUSH_BYTES, RequestLoop } from './request-loop.ts'
import {
  encodeBytesReply,
  encodeErrorReply,
  encodeGoaway,
  encodeHelloReply,
  GoawayReason,
  type HelloReply,
} from './response-body.ts'
import type { ServerContext } from './server-context.ts'
import { ServerRequest } from './server-request.ts'
import { SessionScans } from './session-scans.ts'
import type { LateAnswer } from './shared-waits.ts'
import { errorBodyOf, statusOfError } from './status-error.ts'
import { WaitingRequests } from './waiting-requests.ts'

export class Session
  extends RequestLoop
  implements Conversation, Responder, Caller, LateAnswer<ServerRequest>
{
  readonly strangeSinceMs = 0
  /** Named in the log. */
  clientName = ''
  /** See Responder. */
  tellsTime = false
  /** True when the client wants to be told of new rings. */
  #wantsRings = false
  protected readonly decoder: FrameDecoder
  readonly #header = new RequestHeader()
  readonly #scans: SessionScans
  readonly #operations: Operations
  readonly #waiting = new WaitingRequests()
  #request: ServerRequest
  access = Access.none()
  readonly door = 'binary'
  #state: 'hello' | 'open' | 'ending' = 'hello'
  /** True while the password of HELLO is checked. */
  #isProving = false
  #isDisposed = false
  #writers: (() => void)[] = []
  #failure: string | undefined

  constructor(context: ServerContext, sink: ConversationSink, nowMs: number) {
    super(context, sink, nowMs)
    this.#request = new ServerRequest(this.share, this)
    this.decoder = new FrameDecoder(HELLO_FRAME_SIZE_MAX, this.share)
    this.#scans = new SessionScans(context, this)
    this.#operations = new Operations(context, this, this.#scans)
  }

  get open(): boolean {
    return this.#state === 'open'
  }

  /** True once nothing more will be read. */
  get ending(): boolean {
    return this.#state === 'ending'
  }

  /** Why the conversation ended early; undefined when it did not. */
  get failure(): string | undefined {
    return this.#failure
  }

  get waitingCount(): number {
    return this.#waiting.count + (this.#isProving ? 1 : 0)
  }

  get idleTimeoutMs(): number {
    return this.context.limits.idleTimeoutMs
  }

  get scanCount(): number {
    return this.#scans.count
  }

  /** Replies that the peer has not taken. */
  get backlogBytes(): number {
    return this.sink.backlogBytes + this.output.length
  }

  /** True while no further request may begin; see invariant 3. */
  get blocked(): boolean {
    const limits = this.context.limits
    return (
      this.#isProving ||
      this.#waiting.count >= limits.connectionInFlightMax ||
      this.backlogBytes > limits.outputPauseBytes
    )
  }

  protected begin(nowMs: number): void {
    const { bytes, start, end, skipped } = this.decoder
    const request = this.#request
    this.#decodeHeader(request, bytes, start, end)
    try {
      if (this.#state === 'hello') {
        this.#hello(request, bytes, end)
        return
      }
      if (skipped) throw this.context.admission.overloaded('no memory for a frame of this size')
      if (request.deadlineMs <= nowMs) throw expiredBeforeStart()
      this.#decodeOptions(request, bytes)
      this.#operations.begin(request, this.#header, bytes, end)
    } catch (error) {
      this.fail(request, error)
      if (error instanceof DecodeError || this.#state === 'hello') this.#end(error)
    }
  }

  #decodeHeader(request: ServerRequest, bytes: Uint8Array, start: number, end: number): void {
    const header = this.#header
    header.decode(bytes, start, end)
    request.id = header.id
    request.opcode = header.opcode
    request.size = end - start + FRAME_LENGTH_SIZE
    request.receivedMs = this.receivedMs
    const { budgetDefaultMs, budgetMaxMs } = this.context.limits
    const budgetMs = header.budgetMs === 0 ? budgetDefaultMs : header.budgetMs
    request.deadlineMs = this.receivedMs + Math.min(budgetMs, budgetMaxMs)
    request.cancelled = false
    this.context.stats.countRequest(header.opcode)
  }

  #decodeOptions(request: ServerRequest, bytes: Uint8Array): void {
    const { consistencyCode, durabilityCode, versionStart } = this.#header
    if (consistencyCode > CONSISTENCY_CODE_MAX) {
      throw new InvalidArgumentError(`unknown consistency code ${consistencyCode}`)
    }
    if (durabilityCode > DURABILITY_CODE_MAX) {
      throw new InvalidArgumentError(`unknown durability code ${durabilityCode}`)
    }
    request.consistency = consistencyOf(consistencyCode) ?? 'one'
    request.durability = durabilityOf(durabilityCode)
    request.version =
      versionStart < 0
        ? undefined
        : copyBytes(bytes, versionStart, versionStart + WRITE_VERSION_SIZE)
  }

  #hello(request: ServerRequest, bytes: Uint8Array, end: number): void {
    if (request.opcode !== Opcode.hello) {
      throw new ProtocolError('the first request of a connection must be HELLO')
    }
    const hello = decodeHello(bytes, this.#header.bodyStart, end)
    const { limits, identity, doorkeeper } = this.context
    this.clientName = hello.clientName
    const answer = acceptHello(hello, identity, limits, this.context.timeMs())
    const admitted = doorkeeper.admit(hello.credentials, this)
    if (admitted instanceof Promise) void this.#openLater(request, answer, admitted)
    else this.#open(request, answer, admitted)
  }

  /** Nothing else begins until the password is known to be right. */
  async #openLater(
    request: ServerRequest,
    answer: HelloReply,
    admitted: Promise<Access>,
  ): Promise<void> {
    this.#isProving = true
    this.#request = new ServerRequest(this.share, this)
    try {
      const access = await admitted
      if (!this.#isDisposed) this.#open(request, answer, access)
    } catch (error) {
      if (this.#isDisposed) return
      this.fail(request, error)
      this.#end(error)
    } finally {
      this.#isProving = false
      this.sink.scheduleFlush()
    }
  }

  #open(request: ServerRequest, answer: HelloReply, access: Access): void {
    this.access = access
    this.tellsTime = (answer.features & Feature.serverTime) !== 0
    this.#wantsRings = (answer.features & Feature.ringPush) !== 0
    encodeHelloReply(this.output, request.id, answer)
    this.decoder.frameSizeMax = this.context.limits.frameSizeMax
    if (!this.ending) this.#state = 'open'
    this.share.join()
    this.answered.add(request.opcode, request.receivedMs)
    this.answered.end(request.receivedMs)
  }

  /** Responder: replies with the result, now or when it comes. */
  answer<T>(request: ServerRequest, result: MaybePromise<T>, encode: EncodeReply<T>): void {
    if (!(result instanceof Promise)) {
      this.#encode(request, result, encode)
      this.answered.add(request.opcode, this.receivedMs)
      return
    }
    if (request === this.#request) this.#request = new ServerRequest(this.share, this)
    this.#waiting.add(request)
    // While its frame is at hand: should it take long, somebody will want to know.
    if (request.id === this.#header.id) {
      request.key = beginningOfKey(this.#header, this.decoder.bytes, this.decoder.end)
    }
    this.share.begin(request.size)
    // The value that comes is the one that it encodes.
    request.encode = encode as EncodeReply<unknown>
    this.context.waits.wait(result, request, this)
  }

  /** LateAnswer: what a request waited for is there. */
  resolved(request: ServerRequest, value: unknown): void {
    const { encode } = request
    if (!this.#endWait(request) || encode === undefined) return
    this.#encode(request, value, encode)
    this.sink.scheduleFlush()
  }

  /** LateAnswer: what a request waited for will not come. */
  rejected(request: ServerRequest, error: unknown): void {
    this.#failWaiting(request, error)
    // Its body turned out to be malformed when the next requests had begun already.
    if (error instanceof DecodeError && !this.ending) this.#end(error)
  }

  #encode<T>(request: ServerRequest, value: T, encode: EncodeReply<T>): void {
    const before = this.output.length
    try {
      encode(this.output, request, value)
    } catch (error) {
      this.output.truncate(before)
      this.fail(request, error)
    }
  }

  /** Replies with an error. Requires that the request does not wait. */
  fail(request: ServerRequest, error: unknown): void {
    if (!(error instanceof KvError) && !(error instanceof DecodeError)) {
      const stack = error instanceof Error ? error.stack : undefined
      const { opcode } = request
      const fields = { opcode, client: this.clientName, error, stack }
      this.context.logger.error('a request failed with a bug of the server', fields)
    }
    const shown = error instanceof DecodeError ? malformed(error) : error
    const status = statusOfError(shown)
    this.context.stats.countError(status)
    encodeErrorReply(this.output, status, request.opcode, request.id, errorBodyOf(shown))
  }

  /** Takes a request from the list; false when its deadline or the end took it before. */
  #endWait(request: ServerRequest): boolean {
    if (!this.#waiting.remove(request)) return false
    this.share.end(request.size)
    const elapsedMs = this.context.clock.monotonicMs() - request.receivedMs
    const { stats, slow } = this.context
    stats.recordDuration(request.opcode, elapsedMs)
    if (elapsedMs >= slow.fromMs) this.#tellSlow(request, elapsedMs)
    return true
  }

  #tellSlow(request: ServerRequest, tookMs: number): void {
    const { opcode, key } = request
    // It waits because it was asked to.
    if (opcode === Opcode.admin) return
    const operation = OPERATION_NAMES.find(name => Opcode[name] === opcode) ?? String(opcode)
    const { door, access } = this
    const address = this.sink.remoteAddress
    this.context.slow.add({ tookMs, door, operation, key, address, user: access.user })
  }

  #failWaiting(request: ServerRequest, error: unknown): void {
    if (!this.#endWait(request)) return
    this.fail(request, error)
    this.sink.scheduleFlush()
  }

  /** Responder: gives up the waiting request `id`, if there is one. */
  cancel(id: number): void {
    const request = this.#waiting.find(id)
    if (request === undefined) return
    request.cancelled = true
    this.#failWaiting(request, new AbortedError('cancelled by the client', { outcome: 'unknown' }))
  }

  /** Responder: throws when a body of `size` bytes is too much for a frame or for this reader. */
  checkReply(size: number): void {
    const { limits, admission } = this.context
    if (size > limits.frameSizeMax - FRAME_OVERHEAD_MAX) {
      throw new InvalidArgumentError(
        `what is stored, ${size} bytes, does not fit in this server's frames of ` +
          `${limits.frameSizeMax} bytes; raise limits.frameSizeMax to read it`,
      )
    }
    const backlogBytes = this.backlogBytes
    // What the next flush hands over anyway; it tells the budgets.
    if (backlogBytes + size <= FLUSH_BYTES) return
    if (backlogBytes + size > limits.outputBytesMax) {
      throw admission.overloaded('this client does not take its replies quickly enough')
    }
    this.share.setOutput(backlogBytes)
    this.share.checkOutput(size)
  }

  /** Responder: the message at hand from `start` on, in memory of its own. */
  takeMessage(start: number): Uint8Array {
    return this.decoder.takeMessage(start)
  }

  /** Responder: undefined when a page may be produced, else a promise to look again after. */
  whenWritable(): Promise<void> | undefined {
    if (this.ending || this.backlogBytes <= this.context.limits.outputPauseBytes) return undefined
    return new Promise(resolve => {
      this.#writers.push(resolve)
    })
  }

  /** The peer took what waited. */
  outputDrained(): void {
    if (this.#writers.length === 0) return
    const writers = this.#writers
    this.#writers = []
    for (const resolve of writers) resolve()
  }

  /** Fails requests whose deadline passed without an answer, and closes forgotten scans. */
  sweep(nowMs: number): void {
    if (this.blocked) this.frameBeganMs = undefined
    for (const request of this.#waiting.expired(nowMs)) {
      request.cancelled = true
      const late = new TimeoutError('the server found no answer within the deadline')
      this.#failWaiting(request, late)
    }
    this.#scans.sweep(nowMs)
  }

  /** Tells the client to go elsewhere. */
  goAway(graceMs: number): void {
    const message = 'the server is shutting down'
    encodeGoaway(this.output, { reason: GoawayReason.shutdown, graceMs, message })
  }

  /** Tells the client of a new ring, unless it reads nothing now: then it asks sooner or later. */
  pushRing(ring: Uint8Array): void {
    if (!this.#wantsRings || !this.open || this.blocked) return
    if (ring.length > this.context.limits.frameSizeMax - FRAME_OVERHEAD_MAX) return
    encodeBytesReply(this.output, Opcode.ringMap, 0, ring)
  }

  /** No more input will come; what waits is still answered. */
  endInput(): void {
    this.#state = 'ending'
  }

  /** Ends the conversation with an error that concerns all of it. */
  refuse(error: KvError): void {
    const status = statusOfError(error)
    this.context.stats.countError(status)
    encodeErrorReply(this.output, status, 0, 0, errorBodyOf(error))
    this.#end(error)
  }

  /** The input cannot be cut into frames, or a header is broken: no request can be named. */
  protected failInput(error: unknown): void {
    if (error instanceof DecodeError) this.refuse(malformed(error))
    else if (error instanceof KvError) this.refuse(error)
    else throw error
  }

  #end(error: unknown): void {
    const what = error instanceof Error ? error.message : String(error)
    const foreign = this.#state === 'hello' && !this.#sawMagic()
    this.#failure = foreign ? `${what}; it sent ${this.describeFirstBytes()}` : what
    this.#state = 'ending'
  }

  /** True when the input began like a HELLO: opcode 1 in a frame of a plausible length. */
  #sawMagic(): boolean {
    const first = this.firstBytes
    return first.at(2) === 0 && first.at(3) === 0 && first.at(4) === Opcode.hello
  }

  /** Nobody is there any more: releases everything. Late answers of the handler are dropped. */
  dispose(): void {
    this.#state = 'ending'
    this.#isDisposed = true
    for (const request of this.#waiting.all()) {
      request.cancelled = true
      this.#endWait(request)
    }
    this.outputDrained()
    this.#scans.closeAll()
    this.decoder.dispose()
    this.share.leave()
  }
}

function malformed(error: DecodeError): ProtocolError {
  return new ProtocolError(`malformed request: ${error.message}`)
}

function expiredBeforeStart(): TimeoutError {
  return new TimeoutError('the deadline passed before the request began', { outcome: 'rejected' })
}
