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
 *  4. Nothing a client sends throws out of this class.
 */

import type { KvError } from '../../errors.ts'
import { AuthenticationError, OverloadedError } from '../../errors.ts'
import { Access, type Caller } from '../auth/index.ts'
import type { Conversation, ConversationSink } from '../conversation.ts'
import { DEFAULT_USER, encodeCredentials } from '../credentials.ts'
import type { MaybePromise } from '../request-handler.ts'
import { RequestLoop } from '../request-loop.ts'
import type { ServerContext } from '../server-context.ts'
import { CommandArguments } from './command-arguments.ts'
import { checkCommand, isAudited } from './command-permission.ts'
import type { Command, RunCommand } from './command-table.ts'
import { noAuth } from './error-reply.ts'
import type { KeyViewTerms } from './key-view.ts'
import { KeyedDispatch, type KeyedOwner } from './keyed-dispatch.ts'
import { ProtocolViolation } from './protocol-violation.ts'
import { CommandError, encodeReply, QUEUED, type RespVersion } from './reply.ts'
import { RespDecoder } from './resp-decoder.ts'
import type { RespDoor } from './resp-door.ts'
import { operationOf, RespOperation } from './resp-operation.ts'
import { RespReplies } from './resp-replies.ts'
import type { RespRequest } from './resp-request.ts'
import type { Transaction } from './transaction.ts'
import { WatchedKeys } from './watched-keys.ts'

/** With fewer free places than this part, connections that say nothing are closed. */
const SCARCE = 0.25

/** A command that must wait before it begins. */
interface Stalled {
  readonly command: Command
  readonly args: CommandArguments
  readonly request: RespRequest
}

export class RespSession extends RequestLoop implements Conversation, KeyedOwner, Caller {
  readonly id: number
  readonly connectedMs: number
  version: RespVersion = 2
  clientName = ''
  strangeSinceMs = 0
  driver = { name: '', version: '' }
  /** The last command, for CLIENT LIST. */
  lastCommand = ''
  transaction: Transaction | undefined
  watched: WatchedKeys
  /** True while no command is replied to: CLIENT REPLY OFF. */
  isMuted = false
  /** True when the next command is not: CLIENT REPLY SKIP. */
  skipsNext = false
  protected readonly decoder: RespDecoder
  readonly #server: RespDoor
  readonly #args: CommandArguments
  readonly #replies: RespReplies
  readonly #keyed: KeyedDispatch
  access = Access.none()
  readonly door = 'redis'
  #isAdmitted = false
  #hasJoined = false
  #isEnding = false
  #isDisposed = false
  #failure: string | undefined
  #stalled: Stalled | undefined

  constructor(
    door: RespDoor,
    context: ServerContext,
    sink: ConversationSink,
    nowMs: number,
    id: number,
  ) {
    super(context, sink, nowMs)
    this.#server = door
    this.id = id
    const { valueSizeMax, frameSizeMax } = context.limits
    const limits = { bulkSizeMax: Math.max(valueSizeMax, LINE), commandSizeMax: frameSizeMax }
    this.decoder = new RespDecoder(limits, this.share)
    this.#args = new CommandArguments(this.decoder)
    this.#replies = new RespReplies(this, door.slowLog, this.#args)
    this.#keyed = new KeyedDispatch(context, this, this.#replies)
    this.watched = new WatchedKeys(this.share)
    this.connectedMs = nowMs
    if (context.doorkeeper.asksForPassword) this.decoder.isStranger = true
    else this.#admit(context.doorkeeper.everybody)
  }

  get open(): boolean {
    return this.#isAdmitted
  }

  get ending(): boolean {
    return this.#isEnding
  }

  /** True once it has given back everything that its share held. */
  get isDisposed(): boolean {
    return this.#isDisposed
  }

  get failure(): string | undefined {
    return this.#failure
  }

  get waitingCount(): number {
    return this.#replies.waitingCount
  }

  get hasMoreInput(): boolean {
    return this.decoder.pending > 0
  }

  get inputStays(): boolean {
    return this.decoder.stays
  }

  get backlogBytes(): number {
    return this.#replies.backlogBytes
  }

  get blocked(): boolean {
    const { limits } = this.context
    const { isAlone, waitingCount, backlogBytes } = this.#replies
    return (
      isAlone ||
      (this.#stalled !== undefined && waitingCount > 0) ||
      waitingCount >= limits.connectionInFlightMax ||
      backlogBytes > limits.outputPauseBytes
    )
  }

  override get hasInput(): boolean {
    return this.decoder.pending > 0 || this.#stalled !== undefined
  }

  /** Clients of Redis expect to be left alone: strangers are not, and when places are scarce. */
  get idleTimeoutMs(): number {
    const { limits, freePlaces } = this.context
    const isScarce = freePlaces() < limits.connectionsMax * SCARCE
    return this.#isAdmitted && !isScarce ? Number.POSITIVE_INFINITY : limits.idleTimeoutMs
  }

  protected override beginRun(): void {
    this.#keyed.begin()
  }

  protected override resumeRun(): void {
    if (!this.blocked) this.#goOnWithStalled()
  }

  protected override endRun(): void {
    this.#keyed.submitGathered()
  }

  protected begin(): void {
    const args = this.#args
    const request = this.#replies.current
    request.receivedMs = this.receivedMs
    request.deadlineMs = this.receivedMs + this.context.limits.budgetDefaultMs
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
      const command = this.#server.table.find(args)
      this.lastCommand = request.name = command.name
      request.argCount = args.count
      request.operation = operationOf(command.flags)
      this.#server.countCommand(command.name)
      if (!this.#isAdmitted && !command.flags.includes('no_auth')) throw noAuth(command)
      if (!this.access.isFull) checkCommand(command, args, this, this.context.audit)
      if (!('apply' in command) && command.isImmediate === true) isQueued = false
      if (isQueued) {
        this.transaction?.queue(command, args)
        this.#replies.answer(request, QUEUED)
      } else this.#dispatch(command, args, request)
    } catch (error) {
      if (error instanceof ProtocolViolation) {
        this.failInput(error)
        return
      }
      if (isQueued && this.transaction !== undefined) this.transaction.isBroken = true
      this.#replies.fail(request, error)
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
      this.#replies.fail(request, error)
    }
  }

  /** Keeps the command until everything before it is over. */
  stall(command: Command, args: CommandArguments, request: RespRequest): void {
    this.#stalled = { command, args: args.detached(), request }
    this.#replies.hold(request)
  }

  #dispatch(command: Command, args: CommandArguments, request: RespRequest): void {
    if ('apply' in command) {
      this.#keyed.dispatch(command, args, request)
      return
    }
    this.#keyed.submitGathered()
    if (command.isAlone === true && this.#replies.waitingCount > 0)
      this.stall(command, args, request)
    else this.#run(command, args, request)
  }

  get keyTerms(): KeyViewTerms {
    return this.#keyed.terms
  }

  #run(command: RunCommand, args: CommandArguments, request: RespRequest): void {
    if (command.isAlone === true) {
      request.deadlineMs = request.receivedMs + this.context.limits.budgetMaxMs
      request.isAlone = true
    }
    if (isAudited(command)) {
      this.context.audit.administered(this, this.access.user, command.name)
    }
    const call = { session: this, door: this.#server, context: this.context, args, request }
    const result = command.run(call)
    if (result instanceof Promise) {
      if (request.isAlone) this.#replies.runAlone(request)
      this.#replies.settle(request, result, request.isWrite)
    } else this.#replies.answer(request, result)
  }

  get caller(): Caller {
    return this
  }

  /** Throws or rejects with AuthenticationError, or OverloadedError. */
  login(user: string, password: string): MaybePromise<void> {
    const { doorkeeper } = this.context
    if (!doorkeeper.asksForPassword) {
      if (user !== DEFAULT_USER) throw new AuthenticationError(`there is no user ${user}`)
      this.#admit(doorkeeper.everybody)
      return
    }
    if (password === '') throw new AuthenticationError('the password is empty')
    const admitted = doorkeeper.admit(encodeCredentials({ user, password }), this)
    if (admitted instanceof Promise) return admitted.then(access => this.#admit(access))
    this.#admit(admitted)
  }

  #admit(access: Access): void {
    if (this.#isDisposed) return
    this.access = access
    if (!this.#hasJoined) this.share.join()
    this.#hasJoined = this.#isAdmitted = true
    this.decoder.isStranger = false
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
    this.access = Access.none()
    this.strangeSinceMs = this.context.clock.monotonicMs()
    this.decoder.isStranger = true
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
    this.#replies.sweep(nowMs)
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
      : this.#replies.errorReply(error)
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
  protected failInput(error: unknown): void {
    const isMalformed = error instanceof ProtocolViolation
    if (!isMalformed && !(error instanceof OverloadedError)) throw error
    const reply = isMalformed
      ? new CommandError(`ERR Protocol error: ${error.message}`)
      : this.#replies.errorReply(error)
    const { current } = this.#replies
    current.isSilent = this.isMuted
    this.#replies.answer(current, reply)
    const isForeign = !this.#isAdmitted
    this.#failure = isForeign
      ? `${error.message}; it sent ${this.describeFirstBytes()}`
      : error.message
    this.end()
  }

  dispose(): void {
    this.end()
    this.#isDisposed = true
    this.endTransaction()
    this.watched.clear()
    this.#replies.dispose()
    this.#stalled = undefined
    this.decoder.dispose()
    this.share.leave()
    this.#server.closed(this)
  }
}

/** Keys may be longer than values, where these are kept short. */
const LINE = 65_535
