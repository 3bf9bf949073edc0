/**
 * Keeps the client's map of the ring current: asks each server that it connects to, takes what
 * servers push, and asks again every half minute and after a connection was lost. Without a map,
 * or with an old one, everything still works, with a hop more; so what fails here is only logged.
 */
import { equalBytes } from '../bytes.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { ClientConnection } from './client-connection.ts'
import { formatAddress } from './connection-url.ts'
import type { DecodeRoutes, Routes } from './routes.ts'

const POLL_INTERVAL_MS = 30_000
/** So much of the interval is random, so that clients do not ask together. */
const POLL_JITTER = 0.4
/** After a loss at most so often. */
const REFRESH_PAUSE_MS = 1000

export interface RingWatchOptions {
  readonly decodeRoutes: DecodeRoutes
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Asks the server for its ring. */
  ask(connection: ClientConnection): Promise<Uint8Array>
  /** A connection to ask on; undefined when there is none. */
  pick(): ClientConnection | undefined
  /** Takes a map; false when it is an old one, or of another cluster. */
  learn(routes: Routes): boolean
}

export class RingWatch {
  readonly #options: RingWatchOptions
  #cancelPoll: CancelTimer | undefined
  #refreshedMs = Number.NEGATIVE_INFINITY
  /** What was learnt last. Who connects again hears it again, and decoding is most of that. */
  #known: Uint8Array | undefined
  #closed = false

  constructor(options: RingWatchOptions) {
    this.#options = options
    this.#pollLater()
  }

  #pollLater(): void {
    const { clock, random } = this.#options
    const delayMs = POLL_INTERVAL_MS * (1 - POLL_JITTER / 2 + random.next() * POLL_JITTER)
    const poll = (): void => {
      this.refresh()
      this.#pollLater()
    }
    this.#cancelPoll = clock.setTimer(delayMs, poll, { background: true })
  }

  /** A connection was made. */
  connected(connection: ClientConnection): void {
    void this.#fetch(connection)
  }

  /** A connection was lost: who is left may know why. */
  lost(): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs - this.#refreshedMs >= REFRESH_PAUSE_MS) this.refresh()
  }

  /** Asks one of the servers. */
  refresh(): void {
    this.#refreshedMs = this.#options.clock.monotonicMs()
    const connection = this.#options.pick()
    if (connection !== undefined) void this.#fetch(connection)
  }

  /** A server told its ring unasked. */
  pushed(connection: ClientConnection, ring: Uint8Array): void {
    void this.#take(connection, ring)
  }

  async #fetch(connection: ClientConnection): Promise<void> {
    if (this.#closed) return
    try {
      await this.#take(connection, await this.#options.ask(connection))
    } catch (error) {
      this.#log('a server does not tell its ring', connection, error)
    }
  }

  async #take(connection: ClientConnection, ring: Uint8Array): Promise<void> {
    const { decodeRoutes, learn } = this.#options
    if (this.#known !== undefined && equalBytes(this.#known, ring)) return
    try {
      const routes = await decodeRoutes(ring, formatAddress(connection.address))
      if (!this.#closed && learn(routes)) this.#known = ring
    } catch (error) {
      this.#log('a server told what is no ring', connection, error)
    }
  }

  #log(what: string, { address }: ClientConnection, error: unknown): void {
    this.#options.logger.debug(what, { address: formatAddress(address), error })
  }

  close(): void {
    this.#closed = true
    this.#cancelPoll?.()
  }
}
