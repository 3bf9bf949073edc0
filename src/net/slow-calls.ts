/**
 * What is done about calls that take long while there are other servers: a read is asked of a
 * second replica as well (hedging.ts); a call that may be repeated, and has no answer after
 * `attemptTimeoutMs`, is given up there and sent to another server, under the same version.
 *
 * A hedge is a call of its own in a slot of its own, known to the requester by its `primary`. It is
 * in no list: whatever ends the primary drops it.
 */
import type { Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { Call, isHedgeable, isMovable, type PendingCall, requestSize } from './call.ts'
import type { ClientConnection } from './client-connection.ts'
import { Hedging } from './hedging.ts'
import type { NodeChoice } from './node-choice.ts'
import type { OutstandingCalls } from './outstanding-calls.ts'
import { RetryBudget } from './retry.ts'

/** An attempt has so much more time for each byte of its request. */
const ATTEMPT_MS_PER_BYTE = 1 / 1024
const ATTEMPT_DOUBLINGS_MAX = 5
/**
 * Calls that are given up on servers that do answer others, at once. Few: where all servers are
 * slow because there is too much to do, repeating adds to it.
 */
const SLOW_TOKENS_MAX = 50

export interface SlowCallsOptions {
  readonly attemptTimeoutMs: number
  readonly choice: NodeChoice
  readonly outstanding: OutstandingCalls
  /** For calls on servers that are gone. */
  readonly budget: RetryBudget
  readonly clock: Clock
  readonly logger: Logger
  /** Sends the call, which is on no connection, on this one. */
  sendOn(call: PendingCall, connection: ClientConnection): void
}

export class SlowCalls {
  readonly #options: SlowCallsOptions
  readonly #hedging = new Hedging()
  readonly #slowBudget: RetryBudget

  constructor(options: SlowCallsOptions) {
    this.#options = options
    this.#slowBudget = new RetryBudget(options.clock.monotonicMs(), SLOW_TOKENS_MAX)
  }

  /** A call was sent, and there are other servers: says when to look at it again. */
  sent(call: PendingCall, nowMs: number): void {
    const { spec } = call
    if (!isMovable(spec)) return
    let delayMs = this.#attemptMs(call)
    if (isHedgeable(spec)) {
      this.#hedging.started()
      delayMs = Math.min(delayMs, this.#hedging.delayMs)
    }
    call.dueMs = Math.min(spec.deadlineMs, nowMs + delayMs)
    this.#options.outstanding.scheduled(call)
  }

  /** Each attempt has twice the time of the one before, so that slow servers come to an answer. */
  #attemptMs({ spec: { request }, attempts }: PendingCall): number {
    const firstMs = this.#options.attemptTimeoutMs + requestSize(request) * ATTEMPT_MS_PER_BYTE
    return firstMs * 2 ** Math.min(ATTEMPT_DOUBLINGS_MAX, attempts - 1)
  }

  /** A call had its answer from this connection. */
  answered(call: PendingCall): void {
    this.#slowBudget.succeeded()
    if (call.connection === undefined || !isHedgeable(call.spec)) return
    this.#hedging.took(call.connection.receivedMs - call.sentMs)
  }

  /** The time has come that `dueMs` says, and it is not the deadline. */
  due(call: PendingCall, nowMs: number): void {
    const { deadlineMs } = call.spec
    call.dueMs = deadlineMs
    if (call.state !== 'sent' || !isMovable(call.spec)) return
    const attemptEndMs = call.sentMs + this.#attemptMs(call)
    if (nowMs >= attemptEndMs) {
      this.#attemptEnded(call, nowMs)
      return
    }
    call.dueMs = Math.min(deadlineMs, attemptEndMs)
    if (isHedgeable(call.spec)) this.#hedge(call, nowMs)
  }

  /** Asks a second replica, and lets the first go on. */
  #hedge(call: PendingCall, nowMs: number): void {
    if (call.hedge !== undefined) return
    const other = this.#options.choice.other(call, true)
    if (other === undefined || !this.#hedging.take()) return
    const hedge = new Call<unknown>(call.spec, ignore, ignore, call)
    try {
      other.send(hedge, nowMs)
      call.hedge = hedge
    } catch (error) {
      // That server's frames are too small for it.
      if (!(error instanceof KvError)) throw error
      this.#options.logger.debug('a read was not hedged', { error })
    }
  }

  /** Forgets the second attempt of a call, when there is one. */
  dropHedge(call: PendingCall): void {
    const { hedge } = call
    if (hedge === undefined) return
    call.hedge = undefined
    hedge.state = 'settled'
    hedge.connection?.abandon(hedge)
  }

  #attemptEnded(call: PendingCall, nowMs: number): void {
    const { connection } = call
    const hasOpened = connection?.health.timedOut(nowMs - call.sentMs, nowMs) === true
    this.#moveOn(call, nowMs)
    if (!hasOpened) return
    // What else waits there would find out the same, one after the other.
    for (const waiting of this.#options.outstanding.all()) {
      const isThere = waiting.connection === connection && waiting.state === 'sent'
      if (isThere && isMovable(waiting.spec)) this.#moveOn(waiting, nowMs)
    }
  }

  /** Sends a call that has no answer to another server, if there is one and the budget allows. */
  #moveOn(call: PendingCall, nowMs: number): void {
    const { choice, sendOn } = this.#options
    const isDead = call.connection?.health.isOpen === true
    const budget = isDead ? this.#options.budget : this.#slowBudget
    const other = choice.other(call, false)
    if (other === undefined || !budget.take(nowMs)) {
      call.dueMs = Math.min(call.spec.deadlineMs, nowMs + this.#attemptMs(call))
      return
    }
    call.inDoubt ||= call.connection?.wasFlushed(call) === true
    call.connection?.abandon(call)
    this.dropHedge(call)
    sendOn(call, other)
  }
}

function ignore(): void {}
