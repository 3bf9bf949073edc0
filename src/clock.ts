/** Time, as everything in Duramen sees it. The only file that asks the machine for the time. */

/** Stops a timer that has not fired; harmless when it has. */
export type CancelTimer = () => void

export interface TimerOptions {
  /** True for housekeeping that must not keep an otherwise finished process alive. */
  readonly background?: boolean
}

/** Injected so that tests and the simulation advance time by hand. */
export interface Clock {
  /** Milliseconds (fractional) that never go backwards. Meaningful only within this process. */
  monotonicMs(): number
  /** Milliseconds since the Unix epoch; may jump either way. Only for times that leave the node. */
  wallMs(): number
  /** Calls back once after at least `delayMs` milliseconds. */
  setTimer(delayMs: number, callback: () => void, options?: TimerOptions): CancelTimer
}

/** Node fires a longer timeout at once. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1

/**
 * The machine's clocks and Node's timers. Node counts whole milliseconds and may fire up to one
 * early, so a timer looks at the clock before it calls back.
 */
export function systemClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    setTimer(delayMs, callback, options) {
      const dueMs = performance.now() + delayMs
      let timer: NodeJS.Timeout
      function arm(restMs: number): void {
        timer = setTimeout(fire, Math.min(restMs, TIMEOUT_MAX_MS))
        if (options?.background === true) timer.unref()
      }
      function fire(): void {
        const restMs = dueMs - performance.now()
        if (restMs > 0) arm(restMs)
        else callback()
      }
      arm(delayMs)
      return () => clearTimeout(timer)
    },
  }
}

/** Resolves after at least `delayMs` milliseconds of `clock`. */
export function delay(clock: Clock, delayMs: number, options?: TimerOptions): Promise<void> {
  return new Promise(resolve => {
    clock.setTimer(delayMs, resolve, options)
  })
}

/** Resolves in a later turn of the event loop, after input and output had their chance. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}

/** Resolves when the microtasks that are queued now, and those they queue, have run. */
export function endOfTick(): Promise<void> {
  return new Promise(resolve => {
    process.nextTick(resolve)
  })
}
