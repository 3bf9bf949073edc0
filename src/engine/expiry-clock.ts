/**
 * The time that expiry goes by: wall-clock time from which the steps were taken out.
 *
 * A time to live is a span, and somebody who sets the wall clock does not change how long ago a
 * write was. So while the database is open this clock runs evenly: it follows the wall clock, as
 * that is what expiry is recorded in, but a difference between wall and monotonic clock of more
 * than STEP_MS at once is a step, and is left out. It starts at the wall clock or at the latest
 * time that the MANIFEST recorded, whichever is later.
 *
 *   step forward by a day    nothing expires early; the next process, which cannot know how long
 *                            it was away, begins with the wall clock as it is then
 *   step back by a day       everything expires on time, also after a restart
 *   machine asleep           counts as a step: times to live go on when it wakes
 *
 * Invariants:
 *  1. It never runs backwards, and what has expired stays so; over a restart, as far as recorded.
 *  2. Absolute times of the caller are meant by the wall clock at the time of the call. What is
 *     stored is in the time of this clock, converted at the door (fromWall, toWall).
 */
import type { Clock } from '../clock.ts'

/** Milliseconds; NTP slews up to 0.5 ms a second and steps from 128 ms on, at most now and then. */
const STEP_MS = 500

export class ExpiryClock {
  readonly #clock: Clock
  /** Added to the wall clock. Whole milliseconds. */
  #offsetMs: number
  #wallMs: number
  #monotonicMs: number
  #nowMs: number

  /** `recordedMs` is the latest time that the MANIFEST knows of. */
  constructor(clock: Clock, recordedMs: number) {
    this.#clock = clock
    this.#monotonicMs = clock.monotonicMs()
    this.#wallMs = clock.wallMs()
    this.#offsetMs = Math.max(0, Math.ceil(recordedMs - this.#wallMs))
    this.#nowMs = this.#wallMs + this.#offsetMs
  }

  /** Milliseconds since the Unix epoch. */
  get nowMs(): number {
    this.#update()
    return this.#nowMs
  }

  /** The expiry to store for one that the caller gave; 0 is never, in both. */
  fromWall(expiryMs: number): number {
    if (expiryMs === 0) return 0
    this.#update()
    return Math.max(1, Math.ceil(expiryMs) + this.#offsetMs)
  }

  /** The expiry to tell the caller for one that is stored. */
  toWall(expiryMs: number): number {
    if (expiryMs === 0) return 0
    this.#update()
    return Math.max(1, expiryMs - this.#offsetMs)
  }

  #update(): void {
    let stepMs = this.#sample()
    // The thread may have been stopped between the two clocks: what is no step goes away.
    if (Math.abs(stepMs) > STEP_MS) stepMs = this.#sample() + stepMs
    if (Math.abs(stepMs) > STEP_MS) this.#offsetMs -= Math.round(stepMs)
    this.#nowMs = Math.max(this.#nowMs, this.#wallMs + this.#offsetMs)
  }

  /** Reads both clocks and returns by how much more the wall clock has moved on. */
  #sample(): number {
    const wallMs = this.#clock.wallMs()
    const monotonicMs = this.#clock.monotonicMs()
    const stepMs = wallMs - this.#wallMs - (monotonicMs - this.#monotonicMs)
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    return stepMs
  }
}
