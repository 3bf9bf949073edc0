/**
 * Sends calls and brings them to their end: queue, deadlines, retries, abortion.
 *
 * What a call that fails may do next, as long as its deadline and the retry budget allow:
 *
 *   not sent yet, connection lost        send it again (costs no budget: no server saw it)
 *   reply overloaded                     send it again after the pause the server asked for
 *   reply unavailable, outcome rejected  send it again after a pause
 *   may have been sent, connection lost  send it again only when it is idempotent
 *   reply unavailable, outcome unknown   the same
 *   reply clockSkew                      send it once more by the server's time, if surely not done
 *   anything else                        fail
 *
 * With several servers a call is sent on at once where it was lost, and an attempt that may be
 * repeated and has no answer in `attemptTimeoutMs` is given up for another server; a read that
 * takes long is asked of a second one as well (hedging.ts).
 *
 * A write gets its version when it is first sent, after HELLO told the server's time, and keeps it.
 *
 * Invariants:
 *  1. Every call is settled once, by its deadline at the latest.
 *  2. A write that fails says truly whether it may have happened: `unknown` if any attempt may have
 *     reached a server and none was answered with a refusal.
 */
import {
  AbortedError,
  AuthenticationError,
  ClockSkewError,
  ClosedError,
  KvError,
  OverloadedError,
  TimeoutError,
  toError,
  UnavailableError,
  type WriteOutcome,
} from '../errors.ts'
import { Call, type CallSpec, NO_VERSION, type PendingCall } from './call.ts'
import { CallQueue } from './call-queue.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ResolvedClientOptions } from './client-options.ts'
import {
  type ConnectionEvent,
  ConnectionPool,
  type ConnectionPoolOwner,
} from './connection-pool.ts'
import { formatAddress } from './connection-url.ts'
import { WRITE_VERSION_SIZE } from './limits.ts'
import { STATUS_ERROR_MIN } from './opcode.ts'
import { OutstandingCalls } from './outstanding-calls.ts'
import { decodeTimeReply } from './response-body.ts'
import { decodeRingMap } from './result.ts'
import { backoffMs, CALL_BACKOFF, lacksReplicas, RetryBudget } from './retry.ts'
import { RingWatch } from './ring-watch.ts'
import { SignalWatch } from './signal-watch.ts'
import { SlowCalls } from './slow-calls.ts'
import { decodeErrorBody, remoteError } from './status-error.ts'

/** A clock so far from the server's is set to it when the server refuses a version. */
const SKEW_WORTH_MS = 100
/** For a question about the ring. */
const RING_TIMEOUT_MS = 3000

export class Requester implements ConnectionPoolOwner {
  readonly #options: ResolvedClientOptions
  readonly #pool: ConnectionPool
  readonly #queue: CallQueue
  readonly #outstanding: OutstandingCalls
  readonly #budget: RetryBudget
  readonly #slowCalls: SlowCalls
  readonly #signals = new SignalWatch((call, signal) => this.#aborted(call, signal))
  readonly #ringWatch: RingWatch | undefined
  readonly #onConnection: (event: ConnectionEvent) => void
  #closed = false

  constructor(options: ResolvedClientOptions, onConnection: (event: ConnectionEvent) => void) {
    const { clock } = options
    this.#options = options
    this.#onConnection = onConnection
    this.#queue = new CallQueue(options.queueCountMax, options.queueBytesMax)
    this.#outstanding = new OutstandingCalls(clock, (call, nowMs) => this.#due(call, nowMs))
    this.#budget = new RetryBudget(clock.monotonicMs())
    this.#pool = new ConnectionPool(options.nodes, options, this)
    this.#slowCalls = new SlowCalls({
      attemptTimeoutMs: options.attemptTimeoutMs,
      choice: this.#pool.choice,
      outstanding: this.#outstanding,
      budget: this.#budget,
      clock,
      logger: options.logger,
      sendOn: (call, connection) => this.#sendOn(call, connection),
    })
    this.#ringWatch = this.#watchRing()
  }

  #watchRing(): RingWatch | undefined {
    const { decodeRoutes, clock, random, logger } = this.#options
    if (decodeRoutes === undefined) return undefined
    return new RingWatch({
      decodeRoutes,
      clock,
      random,
      logger,
      ask: connection => this.#askRing(connection),
      pick: () => this.#pool.choice.healthy(),
      learn: routes => {
        const isNews = this.#pool.learn(routes)
        if (isNews) this.roomy()
        return isNews
      },
    })
  }

  #askRing(connection: ClientConnection): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const deadlineMs = this.#options.clock.monotonicMs() + RING_TIMEOUT_MS
      const request = { type: 'ringMap' } as const
      const spec = { request, decode: decodeRingMap, deadlineMs, idempotent: true, write: false }
      this.start({ ...spec, connection }, resolve, reject)
    })
  }

  /** Calls that wait for a connection with room. */
  get queuedCount(): number {
    return this.#queue.count
  }

  get pool(): ConnectionPool {
    return this.#pool
  }

  /** Takes over a call; its promise says how it went. */
  start<T>(
    spec: CallSpec<T>,
    resolve: (value: T) => void,
    reject: (error: Error) => void,
  ): Call<T> {
    const call = new Call(spec, resolve, reject)
    if (this.#closed) {
      call.state = 'settled'
      reject(new ClosedError('the client was closed'))
      return call
    }
    const { signal } = spec
    if (signal !== undefined) {
      if (signal.aborted) {
        call.state = 'settled'
        reject(new AbortedError('aborted before it began', { cause: signal.reason }))
        return call
      }
      this.#signals.add(call, signal)
    }
    this.#outstanding.add(call)
    this.#send(call)
    return call
  }

  #aborted(call: PendingCall, signal: AbortSignal): void {
    const outcome = this.#outcome(call)
    this.#giveUp(call, new AbortedError('aborted', { cause: signal.reason, outcome }))
  }

  /** Sends the call now if it can, else puts it into the queue. */
  #send(call: PendingCall): void {
    const bound = call.spec.connection
    if (bound !== undefined) {
      this.#sendBound(call, bound)
      return
    }
    const connection = this.#queue.count === 0 ? this.#pool.choice.first(call) : undefined
    if (connection === undefined) this.#enqueue(call)
    else this.#sendOn(call, connection)
  }

  #sendBound(call: PendingCall, connection: ClientConnection): void {
    if (connection.hasReservedRoom) this.#sendOn(call, connection)
    else this.#fail(call, new UnavailableError('the connection that the scan was on is gone'))
  }

  #sendOn(call: PendingCall, connection: ClientConnection): void {
    try {
      call.attempts++
      if (call.spec.stamped === true && call.versionMs < 0) this.#options.writeClock.stamp(call)
      const nowMs = this.#options.clock.monotonicMs()
      connection.send(call, nowMs)
      if (this.#pool.linkCount > 1) this.#slowCalls.sent(call, nowMs)
    } catch (error) {
      this.#fail(call, toError(error))
    }
  }

  /** The time has come that `dueMs` of the call says. */
  #due(call: PendingCall, nowMs: number): void {
    if (nowMs >= call.spec.deadlineMs) this.#expire(call)
    else this.#slowCalls.due(call, nowMs)
  }

  #enqueue(call: PendingCall): void {
    const { refusal } = this.#pool
    if (refusal !== undefined) {
      this.#fail(call, refusal)
      return
    }
    if (this.#queue.push(call)) return
    const waiting = `${this.#queue.count} calls wait already`
    if (this.#pool.connectedCount > 0) {
      const retryAfterMs = CALL_BACKOFF.delayMaxMs
      this.#fail(call, new OverloadedError(`the client's queue is full: ${waiting}`, retryAfterMs))
      return
    }
    const why = this.#pool.describeFailures()
    const outcome = this.#outcome(call)
    this.#fail(call, new UnavailableError(`not connected, and ${waiting} (${why})`, { outcome }))
  }

  /** Pool: sends what waits, as far as there is room. */
  roomy(): void {
    while (this.#queue.count > 0) {
      const call = this.#queue.peek()
      const connection = call && this.#pool.choice.first(call)
      if (call === undefined || connection === undefined) return
      this.#queue.shift()
      this.#sendOn(call, connection)
    }
  }

  /** Pool: a reply came. */
  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void {
    if (call.primary !== undefined) {
      this.#hedgeReplied(call.primary, status, bytes, start, end)
      return
    }
    try {
      if (status >= STATUS_ERROR_MIN) {
        this.#repliedError(call, remoteError(status, decodeErrorBody(bytes, start, end)))
        return
      }
      if (call.versionMs >= 0 && start !== end) this.#tellTime(call, bytes, start, end)
      if (call.spec.write) this.#wrote(call)
      call.complete(status, bytes, start, end)
      if (this.#pool.linkCount > 1) this.#slowCalls.answered(call)
    } catch (error) {
      // The connection ends with this error; the call must not wait for its deadline.
      call.inDoubt = true
      this.#failLost(call, toError(error))
      throw error
    }
    this.#settle(call)
    this.#budget.succeeded()
  }

  /** The second attempt of a read was answered before the first. */
  #hedgeReplied(
    call: PendingCall,
    status: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const { hedge } = call
    call.hedge = undefined
    if (status >= STATUS_ERROR_MIN) return
    // The first may have been lost meanwhile; then the call waits, on no connection.
    if (call.state === 'sent') call.connection?.abandon(call)
    call.connection = hedge?.connection
    this.replied(call, status, bytes, start, end)
  }

  #wrote(call: PendingCall): void {
    const { session, writeClock } = this.#options
    const { onVersion } = call.spec
    if (session === undefined && onVersion === undefined) return
    const version = call.spec.version ?? new Uint8Array(WRITE_VERSION_SIZE)
    if (call.versionMs >= 0) writeClock.encode(call, version)
    session?.wrote(call.spec.request, version)
    onVersion?.(version)
  }

  #tellTime(call: PendingCall, bytes: Uint8Array, start: number, end: number): void {
    const serverMs = decodeTimeReply(bytes, start, end)
    if (serverMs !== undefined) this.#options.writeClock.corrected(serverMs, call)
  }

  #repliedError(call: PendingCall, error: KvError): void {
    if (error instanceof ClockSkewError && this.#restamp(call, error)) return
    if (error.outcome === 'unknown') call.inDoubt = true
    const repeatable = error.outcome === 'rejected' || call.spec.idempotent
    const worthIt = error instanceof OverloadedError || error instanceof UnavailableError
    const pauseMs = error instanceof OverloadedError ? error.retryAfterMs : 0
    const isVain = error instanceof UnavailableError && this.#lacksReplicas(call, error)
    if (worthIt && repeatable && !isVain && this.#retry(call, pauseMs)) return
    this.#fail(call, error)
  }

  #lacksReplicas(call: PendingCall, { outcome }: UnavailableError): boolean {
    // Where it may have happened, the answer of a second attempt tells more.
    const hasOther = outcome !== 'rejected' || this.#pool.linkCount > 1
    return lacksReplicas(call.spec.consistency, call.attempts, hasOther)
  }

  /** Sends a write again whose version was refused, by the server's time; false: it must not. */
  #restamp(call: PendingCall, { serverTimeMs }: ClockSkewError): boolean {
    if (call.versionMs < 0 || serverTimeMs === undefined) return false
    const isStale = call.restamped || call.inDoubt
    // Others that were refused meanwhile have set the clock already.
    if (Math.abs(this.#options.writeClock.timeMs - serverTimeMs) > SKEW_WORTH_MS) {
      this.#options.writeClock.refused(serverTimeMs)
    }
    if (isStale) return false
    // Before it is sent again, which may be at once.
    const { versionMs } = call
    call.restamped = true
    call.versionMs = NO_VERSION
    if (this.#retry(call, 0)) return true
    call.restamped = false
    call.versionMs = versionMs
    return false
  }

  /** Pool: a connection broke under these calls. */
  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void {
    for (const call of calls) {
      if (call.primary !== undefined) {
        call.primary.hedge = undefined
        continue
      }
      const sent = connection.wasFlushed(call)
      if (sent) call.inDoubt = true
      if (!sent && !this.#closed && call.spec.connection === undefined) this.#send(call)
      else if (sent && call.spec.idempotent && this.#retry(call, 0)) continue
      else this.#failLost(call, error)
    }
  }

  #failLost(call: PendingCall, error: Error): void {
    const outcome = this.#outcome(call)
    const what = `the connection was lost before the answer (${error.message})`
    this.#fail(call, new UnavailableError(what, { cause: error, outcome }))
  }

  /** Sends the call again after a pause; false when it must not be. */
  #retry(call: PendingCall, pauseMs: number): boolean {
    if (this.#closed || call.spec.connection !== undefined) return false
    const { clock, random } = this.#options
    const nowMs = clock.monotonicMs()
    const hasOther = this.#pool.linkCount > 1 && this.#pool.choice.other(call, false) !== undefined
    const isFirst = call.attempts === 1 && hasOther
    const backsOffMs = isFirst ? 0 : backoffMs(call.attempts, CALL_BACKOFF, random)
    const delayMs = Math.max(pauseMs, backsOffMs)
    if (nowMs + delayMs >= call.spec.deadlineMs) return false
    if (!this.#budget.take(nowMs)) return false
    call.dueMs = call.spec.deadlineMs
    if (delayMs === 0) {
      call.state = 'new'
      this.#send(call)
      return true
    }
    call.state = 'waiting'
    call.cancelRetry = clock.setTimer(delayMs, () => {
      call.cancelRetry = undefined
      call.state = 'new'
      this.#send(call)
    })
    return true
  }

  #outcome(call: PendingCall): WriteOutcome {
    const inFlight = call.state === 'sent' && call.connection?.wasFlushed(call) === true
    return call.spec.write && (call.inDoubt || inFlight) ? 'unknown' : 'rejected'
  }

  /** The deadline passed. */
  #expire(call: PendingCall): void {
    const outcome = this.#outcome(call)
    const { request } = call.spec
    const isAway = call.state !== 'sent' && this.#pool.connectedCount === 0
    if (isAway) {
      const { lastError } = this.#pool
      if (lastError instanceof AuthenticationError) {
        this.#giveUp(call, lastError)
        return
      }
      const what = `${request.type} found no server in time: ${this.#pool.describeFailures()}`
      this.#giveUp(call, new UnavailableError(what, { outcome }))
      return
    }
    const where = call.state === 'sent' ? 'no answer came' : 'it waited for its turn'
    this.#giveUp(call, new TimeoutError(`${request.type} took too long: ${where}`, { outcome }))
  }

  /** Settles a call that is still on its way somewhere. */
  #giveUp(call: PendingCall, error: KvError): void {
    const { connection } = call
    if (call.state === 'sent' && connection !== undefined) {
      connection.abandon(call)
      // A count may read for minutes; anything else is over before a cancellation arrives.
      if (call.spec.request.type === 'count') this.#cancel(call.id, connection)
    }
    this.#fail(call, error)
  }

  /** Tells the server that nobody waits for a request any more. */
  #cancel(requestId: number, connection: ClientConnection): void {
    if (!connection.hasReservedRoom) return
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.timeoutMs
    this.start<void>(
      {
        request: { type: 'cancel', requestId },
        decode: () => undefined,
        deadlineMs,
        idempotent: false,
        write: false,
        connection,
      },
      () => undefined,
      error => this.#options.logger.debug('a cancellation failed', { error }),
    )
  }

  #fail(call: PendingCall, error: Error): void {
    this.#settle(call)
    const isKnown = error instanceof KvError && error.outcome === 'unknown'
    if (isKnown || !call.inDoubt || !call.spec.write) {
      call.reject(error)
      return
    }
    const what = `an earlier attempt may have been carried out; then: ${error.message}`
    call.reject(new UnavailableError(what, { cause: error, outcome: 'unknown' }))
  }

  #settle(call: PendingCall): void {
    this.#slowCalls.dropHedge(call)
    if (call.state === 'queued') this.#queue.forget(call)
    call.cancelRetry?.()
    call.removeAbortListener?.()
    call.state = 'settled'
    this.#outstanding.remove(call)
  }

  /** Pool: a connection was made or lost. */
  changed(event: ConnectionEvent): void {
    const { type, address } = event
    const error = event.type === 'disconnected' ? event.error : undefined
    this.#options.logger.debug(type, { address: formatAddress(address), error })
    this.#onConnection(event)
    if (event.type === 'connected') return
    this.#ringWatch?.lost()
    const { refusal } = this.#pool
    if (refusal === undefined) return
    // Waiting is no use: who this is does not change.
    for (const call of this.#outstanding.all()) {
      if (call.state !== 'sent') this.#fail(call, refusal)
    }
  }

  /** Pool: a connection takes calls. */
  greeted(connection: ClientConnection): void {
    this.#ringWatch?.connected(connection)
  }

  /** Pool: a server tells its new ring. */
  ringPushed(connection: ClientConnection, ring: Uint8Array): void {
    this.#ringWatch?.pushed(connection, ring)
  }

  /** Lets calls in flight finish; those that were never sent fail. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#ringWatch?.close()
    for (const call of this.#outstanding.all()) {
      if (call.state !== 'sent') this.#fail(call, new ClosedError('the client was closed'))
    }
    await this.#outstanding.untilEmpty()
    this.#outstanding.close()
    this.#pool.close()
  }
}
