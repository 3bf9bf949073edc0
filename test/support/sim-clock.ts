/**
 * A clock that moves only when told. Timers run in order of their time, those of one time in the
 * order in which they were set; a timer set by a timer runs in the same advance when it is due.
 */
import { assert } from '../../src/assert.ts'
import {
  type CancelTimer,
  type Clock,
  type TimerOptions,
  yieldToEventLoop,
} from '../../src/clock.ts'

interface Timer {
  readonly atMs: number
  readonly callback: () => void
  readonly background: boolean
}

export interface SimClockOptions {
  /** Where the wall clock starts: ms since the Unix epoch. Default: 2026-01-01T00:00:00Z. */
  readonly wallMs?: number
}

const WALL_START_MS = 1_767_225_600_000

export class SimClock implements Clock {
  /** Ascending by time. */
  readonly #timers: Timer[] = []
  #nowMs = 0
  #wallOffsetMs: number

  constructor(options: SimClockOptions = {}) {
    this.#wallOffsetMs = options.wallMs ?? WALL_START_MS
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs + this.#wallOffsetMs
  }

  setTimer(delayMs: number, callback: () => void, options: TimerOptions = {}): CancelTimer {
    assert(delayMs >= 0, 'a timer lies in the future')
    const background = options.background === true
    const timer = { atMs: this.#nowMs + delayMs, callback, background }
    const after = this.#timers.findIndex(other => other.atMs > timer.atMs)
    this.#timers.splice(after < 0 ? this.#timers.length : after, 0, timer)
    return () => {
      const index = this.#timers.indexOf(timer)
      if (index >= 0) this.#timers.splice(index, 1)
    }
  }

  /** Timers that would keep a real process alive. */
  get timerCount(): number {
    return this.#timers.filter(timer => !timer.background).length
  }

  /** Monotonic time of the next timer; undefined when there is none. */
  get nextTimerMs(): number | undefined {
    return this.#timers[0]?.atMs
  }

  /** Moves the wall clock alone, forwards or back, as an operator or NTP would. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs
  }

  /** Moves time on and runs nothing: the process stood still. What fell due runs later. */
  jump(byMs: number): void {
    this.#nowMs += byMs
  }

  /** Moves time on and runs what falls due, all in this turn: promises settle only afterwards. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs
    while (this.#runNext(untilMs)) {
      // Each timer may have set or cancelled others.
    }
    this.#nowMs = untilMs
  }

  /**
   * As advance, but before, between and after timers everything else has its chance: microtasks,
   * and `turns` turns of the event loop for code that yields or waits for I/O.
   */
  async advanceAsync(byMs: number, turns = 3): Promise<void> {
    const untilMs = this.#nowMs + byMs
    do {
      await yieldTurns(turns)
    } while (this.#runNext(untilMs))
    this.#nowMs = untilMs
    await yieldTurns(turns)
  }

  #runNext(untilMs: number): boolean {
    const timer = this.#timers[0]
    if (timer === undefined || timer.atMs > untilMs) return false
    this.#timers.shift()
    this.#nowMs = Math.max(this.#nowMs, timer.atMs)
    timer.callback()
    return true
  }
}

async function yieldTurns(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await yieldToEventLoop()
}
