/**
 * Makes hints of what peers are owed and cannot be sent, for as long as it takes.
 *
 * Invariants:
 *  1. The hold of the log stays before what is being made a hint until that hint is durable, or,
 *     where it never can be, for good: then a restart makes it of the log.
 *  2. A peer with new hints is replayed to as soon as they are durable.
 */
import { type Clock, delay } from '../clock.ts'
import { ClosedError, KvError, PoisonedError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { DutyLedger } from './duty-ledger.ts'
import type { HintStore } from './hint-store.ts'
import type { PeerNumbers } from './peer-numbers.ts'

/** Between two attempts to write hints, when the disk is full for example. */
const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 10_000

export interface HintMakerOptions {
  readonly hints: HintStore
  readonly numbers: PeerNumbers
  readonly ledger: DutyLedger
  readonly clock: Clock
  readonly logger: Logger
  /** The peer of this number has hints. */
  readonly onHints: (number: number) => void
}

/** Keys of the engine that are owed, by the number of the peer. */
export class OwedKeys {
  readonly byNumber = new Map<number, Uint8Array[]>()
  /** Of the log, before all of them. */
  floor = Number.POSITIVE_INFINITY

  add(number: number, key: Uint8Array, floor: number): void {
    const keys = this.byNumber.get(number)
    if (keys === undefined) this.byNumber.set(number, [key])
    else keys.push(key)
    this.floor = Math.min(this.floor, floor)
  }
}

export class HintMaker {
  readonly #options: HintMakerOptions
  #isStopped = false

  constructor(options: HintMakerOptions) {
    this.#options = options
  }

  /** Makes them hints, and holds the log for them meanwhile. */
  make(owed: OwedKeys): void {
    if (owed.byNumber.size === 0) return
    const reservation = this.#options.ledger.reserve(owed.floor)
    void this.#make(owed.byNumber).then(() => reservation.release())
  }

  /** Corrects the estimates of these hints. Never rejects: an estimate will do. */
  async recount(isWanted: (number: number) => boolean): Promise<void> {
    const { hints, numbers, logger } = this.#options
    try {
      for (let number = 0; number < numbers.count; number++) {
        if (isWanted(number)) await hints.recount(number)
      }
    } catch (error) {
      logger.debug('hints were not counted', { error })
    }
  }

  /** What is under way is not tried again. */
  stop(): void {
    this.#isStopped = true
  }

  /** Resolves once they are durable, or never can be: then a restart makes them of the log. */
  async #make(byNumber: ReadonlyMap<number, readonly Uint8Array[]>): Promise<void> {
    const { hints, clock, logger, onHints } = this.#options
    for (const [number, keys] of byNumber) {
      for (let retryMs = RETRY_MIN_MS; ; retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)) {
        try {
          await hints.add(number, keys)
          break
        } catch (error) {
          if (!(error instanceof KvError)) throw error
          // The hold stays where it is, for the next process.
          if (error instanceof ClosedError || error instanceof PoisonedError || this.#isStopped) {
            await new Promise<never>(() => undefined)
          }
          logger.warn('hints could not be written; they are tried again', { error })
          await delay(clock, retryMs, { background: true })
        }
      }
      if (hints.isFull(number)) await this.recount(counted => counted === number)
      onHints(number)
    }
  }
}
