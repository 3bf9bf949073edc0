/**
 * The server's side of a conversation with a Redis client.
 *
 *   strange --AUTH or HELLO, or no password is asked for--> open --QUIT, malformed input--> ending
 *
 * Invariants:
 *  1. Every command gets exactly one reply, in the order of the commands.
 *  2. A command sees what the commands before it on this connection wrote (keyed-dispatch.ts).
 *  3. What works on all keys begins when everything before it is over, and nothing begins behind it
 *     until it is over.
 *  4. While `blocked`, no command is begun. A run of commands ends after SLICE_MS, with input left.
 *  5. Nothing a client sends throws out of this class.
 */

import type { KvError } from '../../errors.ts'
import { AuthenticationError, OverloadedError, TimeoutError } from '../../errors.ts'
import type { Share } from '../admission.ts'
import { AnsweredRun } from '../answered-run.ts'
import type { Conversation, ConversationSink } from '../conversation.ts'
import { DEFAULT_USER, encodeCredentials } from '../credentials.ts'
import { FirstBytes } from '../first-bytes.ts'
import { OutputBuffer } from '../output-buffer.ts'
import type { ServerContext } from '../server-context.ts'
import { CommandArguments } from './command-arguments.ts'
import type { Command, RunCommand } from './command-table.ts'
import { errorReply, noAuth, slowReader } from './error-reply.ts'
import type { KeyViewTerms } from './key-view.ts'
import { KeyedDispatch, type KeyedOwner } from './keyed-dispatch.ts'
import { ProtocolViolation } from './protocol-violation.ts'
import { CommandError, encodeReply, QUEUED, type Reply, type RespVersion } from './reply.ts'
import { ReplyLine } from './reply-line.ts'
import { RespDecoder } from './resp-decoder.ts'
import type { RespDoor } from './resp-door.ts'
import { operationOf, RespOperation } from './resp-operation.ts'
import { RespRequest } from './resp-request.ts'
import type { Transaction } from './transaction.ts'
import { WatchedKeys } from './watched-keys.ts'

/** Output is handed to the socket during a long run of commands once it exceeds this. */
const FLUSH_BYTES = 64 * 1024
const SLICE_MS = 0.5
const COMMANDS_PER_LOOK = 8
const OUTPUT_CAPACITY = 1024
/** With fewer free places than this part, connections that say nothing are closed. */
const SCARCE = 0.25

/** A command that must wait before it begins. */
interface Stalled {
  readonly command: Command
  readonly args: CommandArguments
  readonly request: RespRequest
}

export class RespSession implements Conversation, KeyedOwner {
  readonly output = new OutputBuffer(OUTPUT_CAPACITY)
  readonly share: Share
  readonly context: ServerContext
  readonly sink: ConversationSink
  readonly id: number
  readonly connectedMs: number
  version: RespVersion = 2
  clientName = ''
  strangeSinceMs = 0
  driver = { name: '', version: '' }
  /** The last command, for CLIENT LIST. */
  lastCommand = ''
  lastRequestMs: number
  frameBeganMs: number | undefined
  transaction: Transaction | undefined
  watched: WatchedKeys
  /** True while no command is replied to: CLIENT REPLY OFF. */
  isMuted = false
  /** True when the next command is not: CLIENT REPLY SKIP. */
  skipsNext = false
  readonly #door: RespDoor
  readonly #decoder: RespDecoder
  readonly #args: CommandArguments
  readonly #line: ReplyLine
  readonly #keyed: KeyedDispatch
  #request: RespRequest
  #isAdmitted = false
  #hasJoined = false
  #isEnding = false
  #failure: string | undefined
  #stalled: Stalled | undefined
  /** True while a command runs that nothing may pass. */
  #isAlone = false
  /** Writes that wait for their answer. */
  pendingWrites = 0
  #receivedMs: number
  readonly #answered: AnsweredRun
  readonly #firstBytes = new FirstBytes()

  constructor(
    door: RespDoor,
    context: ServerContext,
    sink: ConversationSink,
    nowMs: number,
    id: number,
  ) {
    this.#door = door
    this.context = context
    this.#answered = new AnsweredRun(context)
    this.sink = sink
    this.id = id
    this.share = context.admission.share()
    const { valueSizeMax, frameSizeMax } = context.limits
    const limits = { bulkSizeMax: Math.max(valueSizeMax, LINE), commandSizeMax: frameSizeMax }
    this.#decoder = new RespDecoder(limits, this.share)
    this.#args = new CommandArguments(this.#decoder)
    this.#line = new ReplyLine(reply => this.#encode(reply))
    this.#keyed = new KeyedDispatch(context, this)
    this.#request = new RespRequest(this.share)
    this.watched = new WatchedKeys(this.share)
    this.lastRequestMs = this.#receivedMs = this.connectedMs = nowMs
    if (context.doorkeeper.asksForPassword) this.#decoder.isStranger = true
    else this.#admit()
  }

  get open(): boolean {
    return this.#isAdmitted
  }

  get ending(): boolean {
    return this.#isEnding
  }

  get failure(): string | undefined {
    return this.#failure
  }

  get waitingCount(): number {
    return this.#line.length
  }

  get hasMoreInput(): boolean {
    return this.#decoder.pending > 0
  }

  get inputStays(): boolean {
    return this.#decoder.stays
  }

  get backlogBytes(): number {
    return this.sink.backlogBytes + this.output.length + this.#line.bytes
  }

  get blocked(): boolean {
    const { limits } = this.context
    return (
      this.#isAlone ||
      (this.#stalled !== undefined && this.#line.length > 0) ||
      this.#line.length >= limits.connectionInFlightMax ||
      this.backlogBytes > limits.outputPauseBytes
    )
  }

  get hasInput(): boolean {
    return this.#decoder.pending > 0 || this.#stalled !== undefined
  }

  /** Clients of Redis expect to be left alone: strangers are not, and when places are scarce. */
  get idleTimeoutMs(): number {
    const { limits, freePlaces } = this.context
    const isScarce = freePlaces() < limits.connectionsMax * SCARCE
    return this.#isAdmitted && !isScarce ? Number.POSITIVE_INFINITY : limits.idleTimeoutMs
  }

  receive(bytes: Uint8Array, size: number, nowMs: number): void {
    if (this.#isEnding) return
    if (!this.#isAdmitted) this.#firstBytes.remember(bytes, size)
    this.#receivedMs = nowMs
    this.#decoder.push(bytes, size)
    this.process(nowMs)
  }

  keepInput(): boolean {
    return this.#decoder.keep()
  }

  describeFirstBytes(): string {
    return this.#firstBytes.describe()
  }

  process(nowMs: number): void {
    const { clock } = this.context
    const endMs = nowMs + SLICE_MS
    let count = 0
    this.#keyed.begin()
    try {
      if (!this.blocked) this.#goOnWithStalled()
      while (!this.#isEnding && !this.blocked && this.#decoder.next()) {
        this.lastRequestMs = nowMs
        this.frameBeganMs = undefined
        this.#begin(this.#args)
        if (this.output.length > FLUSH_BYTES) this.sink.flush()
        if (++count % COMMANDS_PER_LOOK === 0 && clock.monotonicMs() >= endMs) break
      }
    } catch (error) {
      this.#failInput(error)
    }
    this.#keyed.submitGathered()
    this.frameBeganMs = this.#decoder.incomplete ? (this.frameBeganMs ?? nowMs) : undefined
    this.#answered.end(this.#receivedMs)
  }

  #begin(args: CommandArguments): void {
    const request = this.#request
    request.receivedMs = this.#receivedMs
    request.deadlineMs = this.#receivedMs + this.context.limits.budgetDefaultMs
    request.size = args.size
    request.count = 1
    request.isSilent = this.isMuted || this.skipsNext
    this.skipsNext = false
    request.reply = undefined
    request.operation = RespOperation.other
    request.isDone = request.cancelled = request.isAlone = request.isWrite = false
    let isQueued = this.transaction !== undefined
    request.firstArgument = undefined
    try {
      const command = this.#door.table.find(args)
      this.lastCommand = request.name = command.name
      request.argCount = args.count
      request.operation = operationOf(command.flags)
      this.#door.countCommand(command.name)
      if (!this.#isAdmitted && !command.flags.includes('no_auth')) throw noAuth(command)
      if (!('apply' in command) && command.isImmediate === true) isQueued = false
      if (isQueued) {
        this.transaction?.queue(command, args)
        this.#answer(request, QUEUED)
      } else this.#dispatch(command, args, request)
    } catch (error) {
      if (isQueued && this.transaction !== undefined) this.transaction.isBroken = true
      this.#fail(request, error)
    }
  }

  #goOnWithStalled(): void {
    const stalled = this.#stalled
    if (stalled === undefined) return
    this.#stalled = undefined
    const { command, args, request } = stalled
    try {
      this.#dispatch(command, args, request)
    } catch (error) {
      this.#fail(request, error)
    }
  }

  /** Keeps the command until everything before it is over. */
  stall(command: Command, args: CommandArguments, request: RespRequest): void {
    this.#stalled = { command, args: args.detached(), request }
    this.#holdRequest(request)
  }

  #dispatch(command: Command, args: CommandArguments, request: RespRequest): void {
    if ('apply' in command) {
      this.#keyed.dispatch(command, args, request)
      return
    }
    this.#keyed.submitGathered()
    if (command.isAlone === true && this.#line.length > 0) this.stall(command, args, request)
    else this.#run(command, args, request)
  }

  get keyTerms(): KeyViewTerms {
    return this.#keyed.terms
  }

  /** Nothing behind the request begins until it is answered. */
  runAlone(request: RespRequest): void {
    request.isAlone = this.#isAlone = true
  }

  #run(command: RunCommand, args: CommandArguments, request: RespRequest): void {
    if (command.isAlone === true) {
      request.deadlineMs = request.receivedMs + this.context.limits.budgetMaxMs
      request.isAlone = true
    }
    const call = { session: this, door: this.#door, context: this.context, args, request }
    const result = command.run(call)
    if (result instanceof Promise) {
      if (request.isAlone) this.#isAlone = true
      this.settle(request, result, request.isWrite)
    } else this.#answer(request, result)
  }

  /** Replies with the result, now or when it comes. */
  settle(request: RespRequest, result: unknown, isWrite: boolean): void {
    if (!(result instanceof Promise)) {
      this.#answer(request, request.reply ?? ((result ?? null) as Reply))
      return
    }
    this.enter(request, isWrite)
    this.context.waits.wait(result, request, this)
  }

  /** The request is not that of the next command any more. */
  #holdRequest(request: RespRequest): void {
    if (request !== this.#request) return
    this.#door.slowLog.remember(request, this.#args)
    this.#request = new RespRequest(this.share)
  }

  /** The request waits for its answer from here on. */
  enter(request: RespRequest, isWrite: boolean): void {
    this.#holdRequest(request)
    request.isWrite = isWrite
    if (isWrite) this.pendingWrites++
    this.share.begin(request.size)
    this.#line.push(request)
  }

  extend(request: RespRequest, size: number): boolean {
    if (!this.#line.extend(request)) return false
    request.size += size
    this.share.begin(size)
    return true
  }

  #answer(request: RespRequest, reply: Reply): void {
    this.#answered.add(request.operation, this.#receivedMs)
    const { slowLog } = this.#door
    if (slowLog.isTight && request === this.#request) slowLog.answered(request, this.#args, this)
    if (this.#line.length === 0) {
      if (!request.isSilent) this.#encode(reply)
      return
    }
    if (request === this.#request) this.#request = new RespRequest(this.share)
    request.reply = reply
    request.isDone = true
    this.#line.push(request)
  }

  #fail(request: RespRequest, error: unknown): void {
    this.#answer(request, this.#errorReply(error))
  }

  #errorReply(error: unknown): CommandError {
    return errorReply(error, this.context, this.sink.remoteAddress)
  }

  resolved(request: RespRequest, value: unknown): void {
    this.#endWait(request, request.reply ?? ((value ?? null) as Reply))
  }

  rejected(request: RespRequest, error: unknown): void {
    if (!request.isDone) this.#endWait(request, this.#errorReply(error))
  }

  #endWait(request: RespRequest, reply: Reply): void {
    if (request.isDone) return
    this.share.end(request.size, request.count)
    if (request.isWrite) this.pendingWrites--
    if (request.isAlone) this.#isAlone = false
    const elapsedMs = this.context.clock.monotonicMs() - request.receivedMs
    this.context.stats.recordDuration(request.operation, elapsedMs, request.count)
    const { slowLog } = this.#door
    if (elapsedMs >= slowLog.fromMs) slowLog.took(request, elapsedMs, this)
    this.#line.done(request, reply)
    this.sink.scheduleFlush()
  }

  #encode(reply: Reply): void {
    const before = this.output.length
    encodeReply(this.output, reply, this.version)
    const size = this.output.length - before
    if (size <= FLUSH_BYTES) return
    const { outputBytesMax } = this.context.limits
    try {
      if (this.backlogBytes > outputBytesMax) throw slowReader(this.context)
      this.share.checkOutput(this.backlogBytes - this.share.outputBytes)
    } catch (error) {
      this.output.truncate(before)
      encodeReply(this.output, this.#errorReply(error), this.version)
    }
  }

  /** Throws AuthenticationError. */
  login(user: string, password: string): void {
    const { doorkeeper } = this.context
    if (doorkeeper.asksForPassword) {
      if (password === '') throw new AuthenticationError('the password is empty')
      doorkeeper.admit(encodeCredentials({ user, password }))
    } else if (user !== DEFAULT_USER) throw new AuthenticationError(`there is no user ${user}`)
    this.#admit()
  }

  #admit(): void {
    if (!this.#hasJoined) this.share.join()
    this.#hasJoined = this.#isAdmitted = true
    this.#decoder.isStranger = false
  }

  /** Back to how it began, the password included. */
  reset(): void {
    this.version = 2
    this.clientName = ''
    this.isMuted = false
    this.endTransaction()
    this.takeWatched().clear()
    if (!this.context.doorkeeper.asksForPassword) return
    this.#isAdmitted = false
    this.strangeSinceMs = this.context.clock.monotonicMs()
    this.#decoder.isStranger = true
  }

  endTransaction(): void {
    this.transaction?.dispose()
    this.transaction = undefined
  }

  /** The watched keys, for the last time: from here on none is. Whoever takes them clears them. */
  takeWatched(): WatchedKeys {
    const { watched } = this
    this.watched = new WatchedKeys(this.share)
    return watched
  }

  /** Fails commands whose deadline passed without an answer. */
  sweep(nowMs: number): void {
    if (this.blocked) this.frameBeganMs = undefined
    for (const request of this.#line.expired(nowMs)) {
      request.cancelled = true
      request.reply = undefined
      const late = new TimeoutError('the server found no answer within the deadline')
      this.#endWait(request, this.#errorReply(late))
    }
  }

  outputDrained(): void {
    // Commands produce all of their reply at once: nobody waits for room.
  }

  goAway(): void {
    // The protocol has no word for it; who is silent is disconnected.
  }

  pushRing(): void {
    // Clients of Redis know no rings: any node answers for all.
  }

  refuse(error: KvError): void {
    const isFull = error instanceof OverloadedError
    const reply = isFull
      ? new CommandError('ERR max number of clients reached')
      : this.#errorReply(error)
    encodeReply(this.output, reply, this.version)
    this.#failure = error.message
    this.end()
  }

  endInput(): void {
    this.end()
  }

  /** Reads nothing more; what waits is still answered. */
  end(): void {
    this.#isEnding = true
  }

  /** The input cannot be cut into commands any more. */
  #failInput(error: unknown): void {
    const isMalformed = error instanceof ProtocolViolation
    if (!isMalformed && !(error instanceof OverloadedError)) throw error
    const reply = isMalformed
      ? new CommandError(`ERR Protocol error: ${error.message}`)
      : this.#errorReply(error)
    this.#request.isSilent = this.isMuted
    this.#answer(this.#request, reply)
    const isForeign = !this.#isAdmitted
    this.#failure = isForeign
      ? `${error.message}; it sent ${this.describeFirstBytes()}`
      : error.message
    this.end()
  }

  dispose(): void {
    this.end()
    this.endTransaction()
    this.watched.clear()
    for (const request of this.#line.waiting()) {
      request.cancelled = true
      request.isDone = true
      this.share.end(request.size, request.count)
    }
    this.#line.clear()
    this.#stalled = undefined
    this.#isAlone = false
    this.#decoder.dispose()
    this.share.leave()
    this.#door.closed(this)
  }
}

/** Keys may be longer than values, where these are kept short. */
const LINE = 65_535
