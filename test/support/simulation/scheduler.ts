/**
 * Simulated time: runs one event after another, and the next only when nothing is left of what the
 * last one began: promises, ticks, and turns that code yields for (`setImmediate`). So whatever
 * does not wait for an event takes no time, and the same events in the same order do the same.
 *
 * While a scheduler runs, the global `setImmediate` is its own, and it is the scheduler that lets
 * promises and ticks run, without a turn of the real event loop: such a turn takes as long as most
 * events. Nothing of a simulation may wait for the machine (a file, a socket, a timer, a thread).
 */
import type { CancelTimer } from '../../../src/clock.ts'
import { EventQueue } from './event-queue.ts'

/** Turns of the event loop that one event may take; code that needs more waits for time to pass. */
const TURNS_MAX = 200_000
/** Events without any time between them; what goes on like that does not end. */
const EVENTS_AT_ONCE_MAX = 300_000
/** Events until the real event loop has a turn, for the messages and signals of this process. */
const SLICE_EVENTS = 256

export class Scheduler {
  readonly #queue = new EventQueue()
  #nowMs = 0
  #leaptMs = 0
  #eventCount = 0
  #eventsAtOnce = 0
  /** What was given to `setImmediate` and did not run yet. */
  #turns: (() => void)[] = []
  #failure: unknown
  #hasFailed = false

  /** Simulated milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Simulated milliseconds that were leapt over. */
  get leaptMs(): number {
    return this.#leaptMs
  }

  /** Time passes in which nothing happens, as if all machines were suspended together. */
  leap(ms: number): void {
    this.#nowMs += ms
    this.#leaptMs += ms
  }

  /** Events that ran so far. */
  get eventCount(): number {
    return this.#eventCount
  }

  /** Runs `callback` after `delayMs`. */
  after(delayMs: number, callback: () => void): CancelTimer {
    const event = this.#queue.add(this.#nowMs + Math.max(0, delayMs), callback)
    return () => {
      event.run = undefined
    }
  }

  /** Ends the run with this error as soon as the present event is over. The first one stays. */
  fail(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#failure = error
  }

  /**
   * Runs events until `isOver`, asked after each. Rejects with what an event threw, with what was
   * rejected and not handled, and when nothing is left to happen before it is over.
   */
  async run(isOver: () => boolean): Promise<void> {
    const realImmediate = globalThis.setImmediate
    const unhandled = (error: unknown) => this.fail(error)
    globalThis.setImmediate = this.#ownImmediate()
    process.on('unhandledRejection', unhandled)
    process.on('uncaughtException', unhandled)
    try {
      while (!(await this.#runSlice(isOver, realImmediate)));
    } finally {
      globalThis.setImmediate = realImmediate
      process.off('unhandledRejection', unhandled)
      process.off('uncaughtException', unhandled)
    }
  }

  /** Runs events for a while, outside of any promise. Resolves to whether it is over. */
  #runSlice(isOver: () => boolean, realImmediate: typeof setImmediate): Promise<boolean> {
    return new Promise((resolve, reject) => {
      realImmediate(() => {
        for (let count = 0; count < SLICE_EVENTS; count++) {
          this.#settle()
          if (this.#hasFailed) return reject(this.#failure)
          if (isOver()) return resolve(true)
          if (!this.#runNext()) return reject(new Error('nothing is left to happen: it hangs'))
        }
        resolve(false)
      })
    })
  }

  /** Lets everything happen that needs no more time. */
  #settle(): void {
    this.#guard(runTicks)
    let turns = 0
    while (this.#turns.length > 0 && turns++ < TURNS_MAX) {
      const callbacks = this.#turns
      this.#turns = []
      for (const callback of callbacks) {
        this.#guard(callback)
        this.#guard(runTicks)
      }
    }
    if (turns > TURNS_MAX) this.fail(new Error(`no end after ${TURNS_MAX} turns: it spins`))
  }

  #runNext(): boolean {
    const event = this.#queue.take()
    if (event?.run === undefined) return false
    const { run } = event
    event.run = undefined
    if (event.atMs > this.#nowMs) {
      this.#nowMs = event.atMs
      this.#eventsAtOnce = 0
    } else if (++this.#eventsAtOnce > EVENTS_AT_ONCE_MAX) {
      // What fell due during a leap happens after it, at once; but that comes to an end.
      this.fail(new Error(`${EVENTS_AT_ONCE_MAX} events, and no time has passed: it spins`))
    }
    this.#eventCount++
    this.#guard(run)
    return true
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.fail(error)
    }
  }

  #ownImmediate(): typeof setImmediate {
    const own = (callback: (...given: unknown[]) => void, ...given: unknown[]) => {
      this.#turns.push(given.length === 0 ? callback : () => callback(...given))
    }
    return own as unknown as typeof setImmediate
  }
}

/** Runs what `process.nextTick` and promises wait for, as Node does after every callback. */
const runTicks = (process as unknown as { readonly _tickCallback: () => void })._tickCallback
