/**
 * Who breaks off the handshake of TLS at the door for nodes. Once says nothing: a node was stopped.
 * Again and again it does not take the certificate that it is shown, and tells only its own log.
 */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'

const INTERVAL_MS = 60_000
/** In one interval, of one host. */
const COUNT_TOLD = 3
const HOSTS_MAX = 1000

export class LeftHandshakes {
  readonly #clock: Clock
  readonly #logger: Logger
  /** By host, since #beganMs. */
  readonly #counts = new Map<string, number>()
  #beganMs: number

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
    this.#beganMs = clock.monotonicMs()
  }

  /** `remoteAddress`: host:port. Told once a host and interval. */
  left(remoteAddress: string): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#beganMs >= INTERVAL_MS || this.#counts.size >= HOSTS_MAX) {
      this.#counts.clear()
      this.#beganMs = nowMs
    }
    const host = remoteAddress.slice(0, Math.max(0, remoteAddress.lastIndexOf(':')))
    const count = (this.#counts.get(host) ?? 0) + 1
    this.#counts.set(host, count)
    if (count !== COUNT_TOLD) return
    this.#logger.warn(
      'a node breaks off every handshake: it does not take the certificate of this one, and its ' +
        'log says why',
      { host },
    )
  }
}
