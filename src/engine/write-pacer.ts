/**
 * Lets writers go at the rate that write-pressure.ts grants: each write is charged by its bytes,
 * and the next one waits until what is owed has been paid at the rate of the moment. So a single
 * small write hardly waits while a stream of large ones is slowed, at any durability.
 *
 * A rate that was lowered comes back gradually: compactions of level 0 relieve the pressure at once
 * and for a short while, and writers that went at full speed in between would be stopped the harder
 * afterwards. Flushes are short, so what they held back goes on at once.
 *
 * Invariants:
 *  1. Without pressure, and once the rate is back, nothing waits and nothing is owed.
 *  2. Nobody waits longer than OWED_MS_MAX for what was written before.
 */
import type { Clock } from '../clock.ts'
import type { PressureReason, WritePressure } from './write-pressure.ts'

/** Milliseconds in which a rate that is coming back doubles. */
const DOUBLING_MS = 5000
/** The most that a writer waits for those before it, in milliseconds. */
const OWED_MS_MAX = 1000
/** What timers oversleep is made good, up to so many milliseconds of the granted rate. */
const CREDIT_MS_MAX = 20
/** Waits shorter than this are left to the next write: timers are not finer. */
const WAIT_MS_MIN = 1

export class WritePacer {
  readonly #clock: Clock
  /** Bytes a second above which nobody is held back. */
  readonly #rateMax: number
  #rate = Number.POSITIVE_INFINITY
  #reason: PressureReason | undefined
  /** Negative when less was written than granted. */
  #owedBytes = 0
  #lookedMs = 0

  /** From `rateMax` bytes a second on nobody is held back. */
  constructor(clock: Clock, rateMax: number) {
    this.#clock = clock
    this.#rateMax = rateMax
  }

  /** Bytes a second; Infinity when nobody is held back. */
  get rate(): number {
    return this.#rate
  }

  get isLimited(): boolean {
    return this.#rate !== Number.POSITIVE_INFINITY
  }

  /** Whole milliseconds until the rate is surely not limited any more, without pressure. */
  get recoveryMs(): number {
    if (!this.isLimited) return 0
    return Math.floor(Math.log2(this.#rateMax / this.#rate) * DOUBLING_MS) + 1
  }

  /** Why the rate is limited; undefined when it is not. */
  get reason(): PressureReason | undefined {
    return this.#reason
  }

  /** Takes note of the pressure of the moment. */
  update({ rate, reason }: WritePressure): void {
    if (rate === Number.POSITIVE_INFINITY && !this.isLimited) return
    const nowMs = this.#clock.monotonicMs()
    const elapsedMs = Math.min(nowMs - this.#lookedMs, 60_000)
    this.#lookedMs = nowMs
    if (this.isLimited) this.#pay(elapsedMs)
    const isFalling = rate <= this.#rate
    if (isFalling || this.#reason === 'memtables') this.#rate = rate
    else this.#rate = Math.min(rate, this.#rate * 2 ** (elapsedMs / DOUBLING_MS))
    if (isFalling) this.#reason = reason
    if (this.#rate < this.#rateMax) return
    this.#rate = Number.POSITIVE_INFINITY
    this.#reason = undefined
    this.#owedBytes = 0
  }

  /** Milliseconds until the next write may go, as far as is known now. Call update() before. */
  get waitMs(): number {
    if (this.#owedBytes <= 0) return 0
    const waitMs = (this.#owedBytes / this.#rate) * 1000
    return waitMs < WAIT_MS_MIN ? 0 : waitMs
  }

  #pay(elapsedMs: number): void {
    const rest = this.#owedBytes - (this.#rate * elapsedMs) / 1000
    this.#owedBytes = Math.max(rest, (-this.#rate * CREDIT_MS_MAX) / 1000)
  }

  /** Counts a write that goes now. */
  charge(bytes: number): void {
    if (!this.isLimited) return
    this.#owedBytes = Math.min(this.#owedBytes + bytes, (this.#rate * OWED_MS_MAX) / 1000)
  }
}
