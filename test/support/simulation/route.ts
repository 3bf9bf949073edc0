/**
 * The way from one simulated machine to another: how long bytes take, and whether they get through
 * at all. A way that is cut loses packets; the sender's TCP repeats them with growing intervals, so
 * it notices some time after the way is free again.
 */
import type { Random } from '../../../src/random.ts'
import type { Route } from './pipe.ts'
import type { Scheduler } from './scheduler.ts'

export interface RouteConditions {
  /** Of most segments; uniform between them. Milliseconds. */
  readonly latencyMinMs: number
  readonly latencyMaxMs: number
  /** The chance that a segment is lost once: it arrives, and so does all behind it, this later. */
  readonly lossProbability: number
  readonly retransmitMs: number
  readonly bytesPerMs: number
}

/** What a way needs to know of its ends. */
export interface RouteState {
  readonly conditions: RouteConditions
  /** Whether packets from here arrive there. */
  isOpen(from: string, to: string): boolean
}

/** The first repetition of TCP comes so early after the way is free, at best. */
const NOTICED_MIN_MS = 20
/** Linux doubles the interval from 200 ms on; the way is rarely cut for long here. */
const NOTICED_MAX_MS = 3000

export class SimRoute implements Route {
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #state: RouteState
  readonly #from: string
  readonly #to: string
  #waiting: (() => void)[] = []
  /** When the last byte sent so far has left. */
  #busyUntilMs = 0
  /** Milliseconds that every segment takes longer; set by a fault. */
  extraMs = 0

  constructor(
    scheduler: Scheduler,
    random: Random,
    state: RouteState,
    ends: { readonly from: string; readonly to: string },
  ) {
    this.#scheduler = scheduler
    this.#random = random
    this.#state = state
    this.#from = ends.from
    this.#to = ends.to
  }

  get isCut(): boolean {
    return !this.#state.isOpen(this.#from, this.#to)
  }

  get isOneWay(): boolean {
    return !this.#state.isOpen(this.#to, this.#from)
  }

  latencyMs(size: number): number {
    const { latencyMinMs, latencyMaxMs, lossProbability, retransmitMs, bytesPerMs } =
      this.#state.conditions
    const { nowMs } = this.#scheduler
    this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs) + size / bytesPerMs
    const isLost = this.#random.next() < lossProbability
    return (
      this.#busyUntilMs -
      nowMs +
      latencyMinMs +
      this.#random.next() * (latencyMaxMs - latencyMinMs) +
      this.extraMs +
      (isLost ? retransmitMs * (1 + this.#random.next()) : 0)
    )
  }

  whenFree(callback: () => void): void {
    this.#waiting.push(callback)
  }

  /** Something changed: who waits tries again a little later. */
  changed(): void {
    if (this.isCut && this.isOneWay) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const callback of waiting) {
      const delayMs = NOTICED_MIN_MS + this.#random.next() ** 2 * NOTICED_MAX_MS
      this.#scheduler.after(delayMs, callback)
    }
  }
}
