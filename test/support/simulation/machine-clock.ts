/**
 * The clock of one simulated machine: it starts wrong, runs fast or slow, and can be set. The
 * monotonic clock that a process sees runs at the same rate, and never goes back.
 */
import type { Scheduler } from './scheduler.ts'

/** 2026-01-01T00:00:00Z */
const WALL_START_MS = 1_767_225_600_000
/** A clock that is wrong by more is far off. */
const FAR_OFF_MS = 1000

/** The true time, in milliseconds since the Unix epoch. */
export function trueWallMs({ nowMs }: Pick<Scheduler, 'nowMs'>): number {
  return WALL_START_MS + nowMs
}

export class MachineClock {
  readonly #scheduler: Scheduler
  /** Milliseconds of this machine in one of simulated time. */
  readonly rate: number
  #offsetMs: number

  /** `driftPpm`: millionths by which it runs fast (or slow, below 0). */
  constructor(scheduler: Scheduler, offsetMs: number, driftPpm: number) {
    this.#scheduler = scheduler
    this.#offsetMs = offsetMs
    this.rate = 1 + driftPpm / 1_000_000
  }

  /** Milliseconds that the machine has run. */
  get runMs(): number {
    return this.#scheduler.nowMs * this.rate
  }

  get wallMs(): number {
    return WALL_START_MS + this.runMs + this.#offsetMs
  }

  /** How far the wall clock is ahead of the true time. */
  get errorMs(): number {
    return this.wallMs - trueWallMs(this.#scheduler)
  }

  get isFarOff(): boolean {
    return Math.abs(this.errorMs) > FAR_OFF_MS
  }

  /** Sets the wall clock, as an operator or NTP would. */
  step(byMs: number): void {
    this.#offsetMs += byMs
  }
}
