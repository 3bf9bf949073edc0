/**
 * What background work may send and receive: so many bytes a second, with a burst of a tenth of a
 * second, and less while the event loop lags, for then clients wait already. (A token bucket.)
 */
import { type Clock, delay } from '../clock.ts'

/** A timer that fires so much later than it should says that the loop has too much to do. */
const LAG_MAX_MS = 50
/** Background work then rests for so many times as long, */
const REST_FACTOR = 4
/** and no longer than this: what differs must be evened out on a busy machine, too. */
const REST_MAX_MS = 500
const PROBE_MS = 5

export class BackgroundBudget {
  readonly #clock: Clock
  readonly #bytesPerMs: number
  readonly #burstBytes: number
  #bytes: number
  #atMs: number

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerMs = bytesPerSecond / 1000
    this.#burstBytes = bytesPerSecond / 10
    this.#bytes = this.#burstBytes
    this.#atMs = clock.monotonicMs()
  }

  /** Pays for bytes that were or will be moved; resolves when there is something left to spend. */
  async spend(bytes: number): Promise<void> {
    this.#refill()
    this.#bytes -= bytes
    while (this.#bytes < 0) {
      await delay(this.#clock, Math.max(1, -this.#bytes / this.#bytesPerMs), { background: true })
      this.#refill()
    }
  }

  /** Resolves at once when the event loop is in time, else after a rest. */
  async yieldToForeground(): Promise<void> {
    const beganMs = this.#clock.monotonicMs()
    await delay(this.#clock, PROBE_MS, { background: true })
    const lateMs = this.#clock.monotonicMs() - beganMs - PROBE_MS
    if (lateMs <= LAG_MAX_MS) return
    const restMs = Math.min(REST_MAX_MS, REST_FACTOR * lateMs)
    await delay(this.#clock, restMs, { background: true })
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs()
    const gained = (nowMs - this.#atMs) * this.#bytesPerMs
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + gained)
    this.#atMs = nowMs
  }
}
