/**
 * One life of a simulated program. Everything that happens to it (a timer, bytes from the network,
 * the end of a file call) goes through `later`: nothing of that reaches a dead process, and what
 * comes while it is paused waits until it goes on, in order.
 *
 *   running <--pause, resume--> paused
 *      |                          |
 *      +---------- kill ----------+--> dead
 *
 * JavaScript cannot be stopped in the middle: what a dead process has begun runs on until it waits
 * for something, on a disk that nobody looks at and with connections that carry nothing.
 */
import type { CancelTimer, Clock } from '../../../src/clock.ts'
import type { MachineClock } from './machine-clock.ts'
import type { Scheduler } from './scheduler.ts'

export class SimProcess {
  readonly name: string
  readonly clock: Clock
  readonly #scheduler: Scheduler
  #state: 'running' | 'paused' | 'dead' = 'running'
  #held: (() => void)[] = []

  constructor(name: string, scheduler: Scheduler, machine: MachineClock) {
    this.name = name
    this.#scheduler = scheduler
    this.clock = processClock(this, machine)
  }

  get isAlive(): boolean {
    return this.#state !== 'dead'
  }

  get isPaused(): boolean {
    return this.#state === 'paused'
  }

  /** Calls back after `delayMs` of simulated time, if it is alive and runs then. */
  later(delayMs: number, callback: () => void): CancelTimer {
    let isCancelled = false
    const cancel = this.#scheduler.after(delayMs, () => {
      this.happens(() => {
        if (!isCancelled) callback()
      })
    })
    return () => {
      isCancelled = true
      cancel()
    }
  }

  /** Calls back at once; or once it runs again, after all that waits for that already. */
  happens(callback: () => void): void {
    if (this.#state === 'running' && this.#held.length === 0) callback()
    else if (this.#state !== 'dead') this.#held.push(callback)
  }

  pause(): void {
    if (this.#state === 'running') this.#state = 'paused'
  }

  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'running'
    this.#catchUp()
  }

  /** One after another, each as an event of its own. */
  #catchUp(): void {
    if (this.#held.length === 0) return
    this.#scheduler.after(0, () => {
      if (this.#state !== 'running') return
      this.#held.shift()?.()
      this.#catchUp()
    })
  }

  kill(): void {
    this.#state = 'dead'
    this.#held = []
  }
}

function processClock(process: SimProcess, machine: MachineClock): Clock {
  const startMs = machine.runMs
  let floorMs = 0
  // A timer that fires is due by the clock, whatever rounding says.
  const monotonicMs = () => Math.max(floorMs, machine.runMs - startMs)
  return {
    monotonicMs,
    wallMs: () => machine.wallMs,
    setTimer(delayMs, callback) {
      const dueMs = monotonicMs() + delayMs
      return process.later(delayMs / machine.rate, () => {
        floorMs = Math.max(floorMs, dueMs)
        callback()
      })
    },
  }
}
