/**
 * Makes hints of what peers are owed and cannot be sent, for as long as it takes.
 *
 * Invariants:
 *  1. The hold of the log stays before what is being made a hint until that hint is durable, or,
 *     where it never can be, for good: then a restart makes it of the log.
 *  2. A peer with new hints is replayed to as soon as they are durable.
 *  3. What a queue holds, some hundred thousand entries, is worked through in slices of well under
 *     a millisecond.
 */
import { type Clock, delay, yieldToEventLoop } from '../clock.ts'
import { ClosedError, KvError, PoisonedError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { DutyLedger } from './duty-ledger.ts'
import type { HintStore } from './hint-store.ts'
import type { PeerNumbers } from './peer-numbers.ts'
import type { OwedEntry, OwedRuns } from './replica-queue.ts'

/** Between two attempts to write hints, when the disk is full for example. */
const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 10_000
/** Entries between two turns of the event loop: 2 us each at worst, as all of it is cold. */
export const ENTRIES_PER_TURN = 256

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

  add(number: number, key: Uint8Array): void {
    const keys = this.byNumber.get(number)
    if (keys === undefined) this.byNumber.set(number, [key])
    else keys.push(key)
  }
}

/** Adds to `owed` what the entry is owed to. */
export type OwedPlan = (entry: OwedEntry, owed: OwedKeys) => void

export class HintMaker {
  readonly #options: HintMakerOptions
  #making = 0
  #isStopped = false

  constructor(options: HintMakerOptions) {
    this.#options = options
  }

  /** Whether anything is owed that is in no queue any more, and no hint yet. */
  get isMaking(): boolean {
    return this.#making > 0
  }

  /** Makes hints of what the plan says of these, and holds the log for all of them meanwhile. */
  make(runs: OwedRuns, plan: OwedPlan): void {
    const floor = floorOf(runs)
    if (floor === undefined) return
    const reservation = this.#options.ledger.reserve(floor)
    this.#making++
    void this.#planAndMake(runs, plan).then(() => {
      this.#making--
      reservation.release()
    })
  }

  async #planAndMake(runs: OwedRuns, plan: OwedPlan): Promise<void> {
    const owed = new OwedKeys()
    let count = 0
    for (const run of runs) {
      for (const entry of run) {
        if (count++ % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await yieldToEventLoop()
        plan(entry, owed)
      }
    }
    await this.#make(owed.byNumber)
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

/** The floor of the oldest; each run is in the order of the log. */
function floorOf(runs: OwedRuns): number | undefined {
  let floor: number | undefined
  for (const [first] of runs) {
    if (first !== undefined) floor = Math.min(floor ?? first.floor, first.floor)
  }
  return floor
}
