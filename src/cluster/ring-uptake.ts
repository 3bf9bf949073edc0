/**
 * Makes the writes of this node go by each ring that becomes current, and tries again what did not
 * succeed, as when the disk is full: a node that goes on by a former ring holds up every change of
 * the ring, and its writes miss whoever is new.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { CurrentRing } from './current-ring.ts'
import type { RingTable } from './ring-table.ts'

const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 10_000

export interface RingUptakeOptions {
  readonly ring: Pick<CurrentRing, 'onChange' | 'table'>
  readonly clock: Clock
  readonly logger: Logger
  /** Resolves once writes go by the ring, or by a later one. */
  readonly changeRing: (table: RingTable) => Promise<void>
}

export class RingUptake {
  readonly #options: RingUptakeOptions
  readonly #stopListening: () => void
  #cancelRetry: CancelTimer = () => undefined
  #retryMs = RETRY_MIN_MS
  #isStopped = false

  constructor(options: RingUptakeOptions) {
    this.#options = options
    this.#stopListening = options.ring.onChange(() => {
      this.#retryMs = RETRY_MIN_MS
      this.#take()
    })
  }

  /** Takes up no ring any more. */
  stop(): void {
    this.#isStopped = true
    this.#stopListening()
    this.#cancelRetry()
  }

  #take(): void {
    this.#cancelRetry()
    const { ring, changeRing } = this.#options
    changeRing(ring.table).catch(error => this.#failed(error))
  }

  #failed(error: unknown): void {
    if (this.#isStopped) return
    const { clock, logger } = this.#options
    const retryMs = this.#retryMs
    const what = 'writes still go by the ring before the current one; it is tried again'
    logger.error(error instanceof KvError ? what : `${what}; this is a bug`, { error, retryMs })
    this.#cancelRetry()
    this.#cancelRetry = clock.setTimer(retryMs, () => this.#take(), { background: true })
    this.#retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)
  }
}
