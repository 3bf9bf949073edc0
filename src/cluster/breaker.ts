/**
 * Decides that a peer is too slow to be sent what clients wait for, sooner than membership decides
 * that it is down: a node that hangs, or whose disk does, keeps its links open.
 *
 *   closed --3 timeouts in a row, or tripped--> open --a probe succeeds, or a new link--> closed
 *
 * Timeouts within a quarter of a second count as one: many requests are under way at once, and one
 * slow fsync must not make hints of everything.
 *
 * While it is open the peer gets hints. Probes go out after 250 ms, then after twice as long as the
 * last time, up to 5 s. (The pattern is Nygard's, "Release It!", 2007.)
 */
import type { CancelTimer, Clock } from '../clock.ts'

const TIMEOUTS_MAX = 3
/** Others as soon after one do not count. */
const TIMEOUT_SPACING_MS = 250
const PROBE_DELAY_MIN_MS = 250
const PROBE_DELAY_MAX_MS = 5000

export interface BreakerOptions {
  readonly clock: Clock
  /** Resolves to whether the peer answered in time. Never rejects. */
  readonly probe: () => Promise<boolean>
  readonly onChange: (isOpen: boolean) => void
}

export class Breaker {
  readonly #options: BreakerOptions
  #timeouts = 0
  #lastTimeoutMs = Number.NEGATIVE_INFINITY
  #isOpen = false
  #delayMs = PROBE_DELAY_MIN_MS
  #cancelTimer: CancelTimer | undefined
  /** Counts openings and closings, so that a late probe changes nothing. */
  #turn = 0

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** The peer answered in time. An open breaker waits for its own probe. */
  succeeded(): void {
    this.#timeouts = 0
  }

  timedOut(): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs - this.#lastTimeoutMs < TIMEOUT_SPACING_MS) return
    this.#lastTimeoutMs = nowMs
    this.#timeouts++
    if (this.#timeouts >= TIMEOUTS_MAX) this.trip()
  }

  /** Opens at once. */
  trip(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#turn++
    this.#delayMs = PROBE_DELAY_MIN_MS
    this.#probeLater()
    this.#options.onChange(true)
  }

  /** There is a new link: what was held against the old one counts no more. */
  reset(): void {
    this.#timeouts = 0
    this.#cancelTimer?.()
    this.#turn++
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#options.onChange(false)
  }

  /** Nothing is called any more. */
  stop(): void {
    this.#cancelTimer?.()
    this.#turn++
  }

  #probeLater(): void {
    const { clock, probe } = this.#options
    const turn = this.#turn
    const judge = (answered: boolean): void => {
      if (turn !== this.#turn) return
      if (answered) {
        this.reset()
        return
      }
      this.#delayMs = Math.min(2 * this.#delayMs, PROBE_DELAY_MAX_MS)
      this.#probeLater()
    }
    this.#cancelTimer = clock.setTimer(this.#delayMs, () => void probe().then(judge), {
      background: true,
    })
  }
}
