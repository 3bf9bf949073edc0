/**
 * One accepted wire: bytes in, bytes out, and when to stop either. What the bytes mean is the
 * session's business.
 *
 * Invariants:
 *  1. All replies of a tick leave in one write.
 *  2. The socket is not read while the session is blocked.
 *  3. Whatever goes wrong here ends this connection and nothing else.
 *  4. Before closing on an error, the peer gets time to read why: closing a socket with unread
 *     input resets it, and a reset discards what the peer has not read yet.
 *  5. What a client sends faster than its turns allow waits here, and its socket is not read.
 */
import type { KvError } from '../errors.ts'
import type { AcceptedEvents, AcceptedWire } from './acceptor.ts'
import { loginAgain } from './auth/index.ts'
import type { Conversation, ConversationSink, ServerProtocol } from './conversation.ts'
import type { ServerContext } from './server-context.ts'

/** After the last word of a connection its input is discarded for so long at most. */
const LINGER_MS = 1000
/** A client that says nothing for so long after GOAWAY has understood, or never will. */
const DRAIN_IDLE_MS = 250
/** A client that takes or brings so many bytes is not stalled. */
const PROGRESS_BYTES = 64 * 1024

/** What a connection tells its server. */
export interface ConnectionOwner {
  /** Calls `flushTick` once this tick's promises have run. */
  scheduleFlush(connection: Connection): void
  /** Calls `goOn` when others have had their turn. */
  scheduleTurn(connection: Connection): void
  /** Something an operator may want to know; `why` is a sentence. */
  notice(connection: Connection, why: string): void
  closed(connection: Connection): void
}

export class Connection implements ConversationSink, AcceptedEvents {
  readonly session: Conversation
  /** True while the owner has a flush of this connection scheduled. */
  flushScheduled = false
  /** True when it was turned away: it does not count as one of the server's connections. */
  isRefused = false
  /** True while it waits for its turn to go on with its input. */
  #awaitsTurn = false
  readonly #wire: AcceptedWire
  readonly #context: ServerContext
  readonly #owner: ConnectionOwner
  readonly #acceptedMs: number
  /** False when the last write was taken at once, so that nothing needs to be asked. */
  #backlogged = false
  #paused = false
  #bytesWritten = 0
  #bytesTaken = 0
  /** When the peer last took something, or had nothing to take. */
  #progressMs: number
  #bytesReceived = 0
  /** When the peer had last taken, or brought, PROGRESS_BYTES since the time before. */
  #output: Progress
  #input: Progress
  /** When the client was told to go; undefined before. */
  #drainingMs: number | undefined
  /** When the last word was said; undefined before. */
  #endedMs: number | undefined
  #closed = false

  constructor(
    wire: AcceptedWire,
    context: ServerContext,
    owner: ConnectionOwner,
    protocol: ServerProtocol,
  ) {
    this.#wire = wire
    this.#context = context
    this.#owner = owner
    this.#acceptedMs = this.#progressMs = context.clock.monotonicMs()
    this.#output = { bytes: 0, atMs: this.#acceptedMs }
    this.#input = { bytes: 0, atMs: this.#acceptedMs }
    this.session = protocol.converse(context, this, this.#acceptedMs)
  }

  get remoteAddress(): string {
    return this.#wire.remoteAddress
  }

  get backlogBytes(): number {
    return this.#backlogged ? this.#wire.backlogBytes : 0
  }

  /** Runs what an event asks for; a bug in it costs this connection only. */
  #contain(handle: () => void): void {
    try {
      handle()
    } catch (error) {
      this.#failWithBug(error)
    }
  }

  #failWithBug(error: unknown): void {
    const stack = error instanceof Error ? error.stack : undefined
    const fields = { client: this.remoteAddress, error, stack }
    this.#context.logger.error('a connection is closed because of a bug', fields)
    this.destroy()
  }

  received(bytes: Uint8Array, size: number): void {
    this.#context.stats.bytesReceived += size
    this.#bytesReceived += size
    if (this.session.ending) return
    try {
      this.session.receive(bytes, size, this.#context.clock.monotonicMs())
      this.flush()
      this.#readOrWait()
    } catch (error) {
      this.#failWithBug(error)
    }
  }

  /** Reads on when everything that came was looked at; else lets the socket wait. */
  #readOrWait(): void {
    const { session } = this
    if (session.ending || !(session.blocked || session.hasInput)) {
      if (this.#paused) this.#wire.resume()
      this.#paused = false
      return
    }
    if (!session.keepInput()) {
      this.#fail('memory for requests that wait is short, and it sends on')
      return
    }
    if (!this.#paused) this.#wire.pause()
    this.#paused = true
    if (session.blocked || this.#awaitsTurn) return
    this.#awaitsTurn = true
    this.#owner.scheduleTurn(this)
  }

  flush(): void {
    const output = this.session.output
    if (output.length > 0 && !this.#closed) {
      const { length } = output
      this.#context.stats.bytesSent += length
      this.#bytesWritten += length
      this.#backlogged = !this.#wire.write(output.writtenBuffer)
      if (this.#backlogged) output.release()
      else output.reset()
      this.session.share.setOutput(this.backlogBytes)
      // Who waited for room while the output was long gets no event of the socket.
      if (!this.#backlogged) this.session.outputDrained()
    }
    if (this.session.ending) this.#finish()
  }

  scheduleFlush(): void {
    this.#owner.scheduleFlush(this)
  }

  /** Flushes at the end of a tick, and goes on reading when there is room again. */
  flushTick(): void {
    this.#contain(() => {
      this.flush()
      this.#resume()
    })
  }

  /** Its turn has come. */
  goOn(): void {
    this.#awaitsTurn = false
    this.#contain(() => this.#resume())
  }

  #resume(): void {
    if (!this.#paused || this.#awaitsTurn || this.session.blocked || this.#closed) return
    this.session.process(this.#context.clock.monotonicMs())
    this.flush()
    this.#readOrWait()
  }

  drained(): void {
    this.#contain(() => {
      this.#backlogged = false
      this.session.share.setOutput(0)
      this.session.outputDrained()
      this.#resume()
      this.flush()
    })
  }

  ended(): void {
    this.#contain(() => {
      this.session.endInput()
      this.flush()
    })
  }

  /** Half-closes once everything that waits was answered. */
  #finish(): void {
    if (this.#endedMs !== undefined || this.session.waitingCount > 0) return
    const { failure } = this.session
    if (failure !== undefined) {
      this.#context.stats.connectionsFailed++
      this.#owner.notice(this, failure)
    }
    this.#endedMs = this.#context.clock.monotonicMs()
    this.#wire.end()
    this.#wire.resume()
  }

  /** Tells the client to go elsewhere; the connection ends when it has. */
  goAway(graceMs: number): void {
    if (this.session.ending) return
    this.#drainingMs = this.#context.clock.monotonicMs()
    if (this.session.open) this.session.goAway(graceMs)
    this.flush()
  }

  /** Tells the client of a new ring. */
  pushRing(ring: Uint8Array): void {
    this.session.pushRing(ring)
    this.scheduleFlush()
  }

  /** Turns the connection away. */
  refuse(error: KvError): void {
    this.session.refuse(error)
    this.flush()
  }

  /** Called every so often: everything that a limit says about time. */
  sweep(nowMs: number): void {
    const { limits } = this.#context
    this.session.sweep(nowMs)
    const taken = this.#bytesWritten - this.backlogBytes
    if (taken !== this.#bytesTaken || this.backlogBytes === 0) {
      this.#bytesTaken = taken
      this.#progressMs = nowMs
    }
    this.#output = progressOf(this.#output, taken, this.backlogBytes === 0, nowMs)
    const isComplete = this.session.frameBeganMs === undefined
    this.#input = progressOf(this.#input, this.#bytesReceived, isComplete, nowMs)
    this.session.share.setOutput(this.#closed ? 0 : this.backlogBytes)
    if (nowMs - this.#progressMs > limits.outputStallMs) {
      this.#fail('it took none of its replies for too long')
    } else if (this.#endedMs !== undefined) {
      if (nowMs - this.#endedMs > LINGER_MS && this.backlogBytes === 0) this.destroy()
    } else if (!this.session.open && !this.session.ending) {
      if (this.#drainingMs !== undefined && nowMs - this.#drainingMs > DRAIN_IDLE_MS) {
        this.destroy()
      } else if (nowMs - this.#strangeSinceMs > limits.handshakeTimeoutMs) {
        this.#fail(`no HELLO came in time; it sent ${this.session.describeFirstBytes()}`)
      }
    } else if (this.session.access.isRevoked && !this.session.ending) {
      this.refuse(loginAgain())
    } else if (this.#isOverdue(nowMs)) {
      this.#fail('a frame did not arrive completely in time')
    } else if (this.#isIdle(nowMs)) {
      this.session.endInput()
      this.flush()
    }
  }

  get #strangeSinceMs(): number {
    return Math.max(this.#acceptedMs, this.session.strangeSinceMs)
  }

  #isOverdue(nowMs: number): boolean {
    const { frameBeganMs } = this.session
    if (frameBeganMs === undefined) return false
    return nowMs - frameBeganMs > this.#context.limits.frameTimeoutMs
  }

  #isIdle(nowMs: number): boolean {
    if (this.session.waitingCount > 0 || this.backlogBytes > 0) return false
    if (this.session.hasInput) return false
    const { lastRequestMs } = this.session
    if (this.#drainingMs === undefined) {
      return nowMs - lastRequestMs > this.session.idleTimeoutMs
    }
    return nowMs - Math.max(lastRequestMs, this.#drainingMs) > DRAIN_IDLE_MS
  }

  /** Milliseconds for which the peer has hardly taken any of what waits for it. */
  outputStalledMs(nowMs: number): number {
    return nowMs - this.#output.atMs
  }

  /** Milliseconds for which the peer has hardly brought any of the frame it began. */
  inputStalledMs(nowMs: number): number {
    return nowMs - this.#input.atMs
  }

  /** Ends a connection that holds memory which others need. */
  failUnderPressure(what: string): void {
    this.#fail(`memory for ${what} is short, and this client does not move`)
  }

  #fail(why: string): void {
    this.#context.stats.connectionsFailed++
    this.#owner.notice(this, why)
    this.destroy()
  }

  destroy(): void {
    this.#wire.destroy()
    this.#close()
  }

  closed(error: Error | undefined): void {
    if (error !== undefined) {
      const fields = { client: this.remoteAddress, error }
      this.#context.logger.debug('a connection failed', fields)
    }
    this.#close()
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.session.dispose()
    this.#owner.closed(this)
  }
}

interface Progress {
  readonly bytes: number
  readonly atMs: number
}

/** The progress at `nowMs`, when `bytes` were moved in all; `isIdle`: none were to be moved. */
function progressOf(last: Progress, bytes: number, isIdle: boolean, nowMs: number): Progress {
  return isIdle || bytes - last.bytes >= PROGRESS_BYTES ? { bytes, atMs: nowMs } : last
}
