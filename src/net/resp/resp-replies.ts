/**
 * How the commands of a session are answered: at once, or when what they wait for is there, and
 * always in the order in which they came.
 *
 *   current --answer--> replied (the request is reused for the next command)
 *      |--settle, enter--> in the line --what it waits for is there--> replied, after those before
 */
import { OverloadedError, TimeoutError } from '../../errors.ts'
import type { Caller } from '../auth/index.ts'
import type { RequestLoop } from '../request-loop.ts'
import { FLUSH_BYTES } from '../request-loop.ts'
import type { LateAnswer } from '../shared-waits.ts'
import type { CommandArguments } from './command-arguments.ts'
import { errorReply, slowReader } from './error-reply.ts'
import {
  type CommandError,
  encodeReply,
  type Reply,
  ReplyMap,
  type RespVersion,
  replySize,
  tooMuch,
} from './reply.ts'
import { ReplyLine } from './reply-line.ts'
import { RespRequest } from './resp-request.ts'
import type { SlowLog } from './slow-log.ts'

/** Whose commands they are. */
export interface ReplyOwner
  extends Pick<RequestLoop, 'output' | 'share' | 'context' | 'sink' | 'answered' | 'receivedMs'> {
  readonly version: RespVersion
  readonly clientName: string
  readonly caller: Caller
}

export class RespReplies implements LateAnswer<RespRequest> {
  /** That of the command at hand. */
  current: RespRequest
  /** Writes that wait for their answer. */
  pendingWrites = 0
  /** True while a command runs that nothing may pass. */
  isAlone = false
  readonly #owner: ReplyOwner
  readonly #slowLog: SlowLog
  /** Of the command at hand. */
  readonly #args: CommandArguments
  readonly #line: ReplyLine

  constructor(owner: ReplyOwner, slowLog: SlowLog, args: CommandArguments) {
    this.#owner = owner
    this.#slowLog = slowLog
    this.#args = args
    this.#line = new ReplyLine(reply => this.encode(reply))
    this.current = new RespRequest(owner.share, owner.caller)
  }

  /** Commands whose replies have not gone out. */
  get waitingCount(): number {
    return this.#line.length
  }

  /** Replies that the peer has not taken. */
  get backlogBytes(): number {
    const { sink, output } = this.#owner
    return sink.backlogBytes + output.length + this.#line.bytes
  }

  /** Nothing behind the request begins until it is answered. */
  runAlone(request: RespRequest): void {
    request.isAlone = this.isAlone = true
  }

  /** Replies with the result, or what the request says, now or when it comes. */
  settle(request: RespRequest, result: unknown, isWrite: boolean): void {
    if (!(result instanceof Promise)) {
      this.answer(request, request.reply ?? ((result ?? null) as Reply))
      return
    }
    this.enter(request, isWrite)
    this.#owner.context.waits.wait(result, request, this)
  }

  /** The request is not that of the next command any more. */
  hold(request: RespRequest): void {
    if (request !== this.current) return
    this.#slowLog.remember(request, this.#args)
    this.current = new RespRequest(this.#owner.share, this.#owner.caller)
  }

  /** The request waits for its answer from here on. */
  enter(request: RespRequest, isWrite: boolean): void {
    this.hold(request)
    request.isWrite = isWrite
    if (isWrite) this.pendingWrites++
    this.#owner.share.begin(request.size)
    this.#line.push(request)
  }

  /**
   * Lets the request stand for one more command, of so many bytes. False when another has come
   * behind it.
   */
  extend(request: RespRequest, size: number): boolean {
    if (!this.#line.extend(request)) return false
    request.size += size
    this.#owner.share.begin(size)
    return true
  }

  answer(request: RespRequest, reply: Reply): void {
    const { answered, receivedMs } = this.#owner
    answered.add(request.operation, receivedMs)
    const log = this.#slowLog
    if (log.isTight && request === this.current) log.answered(request, this.#args, this.#owner)
    if (this.#line.length === 0) {
      if (!request.isSilent) this.encode(reply)
      return
    }
    if (request === this.current)
      this.current = new RespRequest(this.#owner.share, this.#owner.caller)
    request.reply = reply
    request.isDone = true
    this.#line.push(request)
  }

  fail(request: RespRequest, error: unknown): void {
    this.answer(request, this.errorReply(error))
  }

  errorReply(error: unknown): CommandError {
    const { context, sink } = this.#owner
    return errorReply(error, context, sink.remoteAddress)
  }

  resolved(request: RespRequest, value: unknown): void {
    this.#endWait(request, request.reply ?? ((value ?? null) as Reply))
  }

  rejected(request: RespRequest, error: unknown): void {
    if (!request.isDone) this.#endWait(request, this.errorReply(error))
  }

  #endWait(request: RespRequest, reply: Reply): void {
    if (request.isDone) return
    const { context, share, sink } = this.#owner
    share.end(request.size, request.count)
    if (request.isWrite) this.pendingWrites--
    if (request.isAlone) this.isAlone = false
    const elapsedMs = context.clock.monotonicMs() - request.receivedMs
    context.stats.recordDuration(request.operation, elapsedMs, request.count)
    if (elapsedMs >= this.#slowLog.fromMs) this.#slowLog.took(request, elapsedMs, this.#owner)
    if (elapsedMs >= context.slow.fromMs) this.#tellSlow(request, elapsedMs)
    this.#line.done(request, reply)
    sink.scheduleFlush()
  }

  #tellSlow(request: RespRequest, tookMs: number): void {
    const { name, firstArgument } = request
    // Their arguments are passwords.
    if (name === 'auth' || name === 'hello') return
    const { caller, context, sink } = this.#owner
    const key = firstArgument === undefined ? undefined : Buffer.from(firstArgument, 'latin1')
    const { user } = caller.access
    const address = sink.remoteAddress
    context.slow.add({ tookMs, door: 'redis', operation: name, key, address, user })
  }

  encode(reply: Reply): void {
    const { output, version, context, share } = this.#owner
    const { outputBytesMax } = context.limits
    const before = output.length
    // One key named a thousand times is one value in memory, and a thousand in the output.
    const isMany = Array.isArray(reply) || reply instanceof ReplyMap
    const isTooLong = isMany && replySize(reply, outputBytesMax) > outputBytesMax
    encodeReply(output, isTooLong ? tooMuch(outputBytesMax) : reply, version)
    const size = output.length - before
    if (size <= FLUSH_BYTES) return
    try {
      if (this.backlogBytes > outputBytesMax) throw slowReader(context)
      share.checkOutput(this.backlogBytes - share.outputBytes)
    } catch (error) {
      if (!(error instanceof OverloadedError)) throw error
      output.truncate(before)
      encodeReply(output, this.errorReply(error), version)
    }
  }

  /** Fails commands whose deadline passed without an answer. */
  sweep(nowMs: number): void {
    for (const request of this.#line.expired(nowMs)) {
      request.cancelled = true
      request.reply = undefined
      const late = new TimeoutError('the server found no answer within the deadline')
      this.#endWait(request, this.errorReply(late))
    }
  }

  /** Nobody is there any more. */
  dispose(): void {
    for (const request of this.#line.waiting()) {
      request.cancelled = true
      request.isDone = true
      this.#owner.share.end(request.size, request.count)
    }
    this.#line.clear()
    this.isAlone = false
  }
}
