/**
 * When a read is asked of a second replica before the first has answered: after twice the 95th
 * percentile of what reads take, and for at most one read in twenty (Dean and Barroso, "The Tail at
 * Scale", 2013).
 *
 * The percentile is tracked by small steps: up on each longer latency, down a nineteenth as much on
 * each shorter one, which stand still where one in twenty is longer.
 */

const DELAY_MIN_MS = 15
/** A percentile alone drifts up with a slow node, until nothing is hedged (CASSANDRA-14293). */
const DELAY_MAX_MS = 250
/** Of all reads that might be hedged. */
const HEDGED_PART = 0.05
/** So many at once when nothing was hedged for a while. */
const TOKENS_MAX = 50
const STEP_DOWN = 0.001
const STEP_UP = 19 * STEP_DOWN

export class Hedging {
  #p95Ms = DELAY_MIN_MS / 2
  #tokens = TOKENS_MAX / 5

  /** Milliseconds after which a read is hedged. */
  get delayMs(): number {
    return Math.min(DELAY_MAX_MS, Math.max(DELAY_MIN_MS, 2 * this.#p95Ms))
  }

  /** A read was sent. */
  started(): void {
    this.#tokens = Math.min(TOKENS_MAX, this.#tokens + HEDGED_PART)
  }

  /** A read took so long, or longer when another answer came first. */
  took(latencyMs: number): void {
    const step = latencyMs > this.#p95Ms ? STEP_UP : -STEP_DOWN
    this.#p95Ms = Math.min(DELAY_MAX_MS, Math.max(0.1, this.#p95Ms * (1 + step)))
  }

  /** True when a read may be hedged now. */
  take(): boolean {
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
