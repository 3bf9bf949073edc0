/**
 * The clock by which a node with peers versions writes, and tells what has expired: its machine's,
 * as far as that is believed.
 *
 * Against the monotonic clock a wall clock that was set shows at once, at every look. Whether it
 * was set right only the other members can tell (clock-watch.ts). Until they have, time goes on
 * from where it was, so that not one version is made by a clock that nobody has confirmed. Nothing
 * that this makes late is lost: a version that is behind can be overwritten, one ahead cannot.
 *
 * A machine that was suspended looks the same: its wall clock jumps, and is right. After a process
 * stood still for long, the monotonic clock is no better than a wall clock that was kept: a step of
 * no more than what clocks drift by meanwhile is told, and not doubted; nor is one that ends so
 * near to what was believed.
 *
 * Invariant: while steps are doubted, wallMs() of two looks differs by what the monotonic clock
 * says, within STEP_MS and drift, but for believe() and setDoubt() between them.
 */
import type { CancelTimer, Clock, TimerOptions } from '../clock.ts'

/** A wall clock that moved by more against the monotonic one was set, or the machine slept. */
const STEP_MS = 100
/** Clocks drift by so much of the time at most: what ntpd corrects, 500 millionths. */
const DRIFT_MAX = 0.0005

export class BelievedClock implements Clock {
  readonly #clock: Clock
  readonly #doubtsSteps: () => boolean
  /** Told of each step, in the moment in which it shows. */
  onStep: () => void = () => undefined
  /** The machine's wall clock less the monotonic one, when that was looked at last. */
  #differenceMs: number
  #lookedMs: number
  #doubtMs = 0

  /** `doubtsSteps`: whether there is anybody who could confirm the clock; else it is believed. */
  constructor(clock: Clock, doubtsSteps: () => boolean) {
    this.#clock = clock
    this.#doubtsSteps = doubtsSteps
    this.#lookedMs = clock.monotonicMs()
    this.#differenceMs = clock.wallMs() - this.#lookedMs
  }

  /** By how much the machine's clock is taken to be ahead of the time. */
  get doubtMs(): number {
    return this.#doubtMs
  }

  /** What the clock of the machine says. */
  get machineMs(): number {
    const machineMs = this.#clock.wallMs()
    this.#notice(machineMs)
    return machineMs
  }

  wallMs(): number {
    const { machineMs } = this
    return machineMs - this.#doubtMs
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  setTimer(delayMs: number, callback: () => void, options?: TimerOptions): CancelTimer {
    return this.#clock.setTimer(delayMs, callback, options)
  }

  /** The machine's clock is right. */
  believe(): void {
    this.#doubtMs = 0
  }

  /** The machine's clock is known to be so far ahead of the time; negative: behind. */
  setDoubt(aheadMs: number): void {
    this.#doubtMs = aheadMs
  }

  /** A clock that was off, and is set to what is believed as exactly as that is known, is right. */
  #doubt(stepMs: number, toleranceMs: number): void {
    const doubtMs = this.#doubtMs + stepMs
    this.#doubtMs = Math.abs(doubtMs) <= toleranceMs ? 0 : doubtMs
  }

  #notice(machineMs: number): void {
    const nowMs = this.#clock.monotonicMs()
    const differenceMs = machineMs - nowMs
    const stepMs = differenceMs - this.#differenceMs
    const driftMs = DRIFT_MAX * (nowMs - this.#lookedMs)
    this.#differenceMs = differenceMs
    this.#lookedMs = nowMs
    if (Math.abs(stepMs) <= STEP_MS) return
    if (!this.#doubtsSteps()) this.#doubtMs = 0
    else if (Math.abs(stepMs) > STEP_MS + driftMs) this.#doubt(stepMs, STEP_MS + driftMs)
    this.onStep()
  }
}
