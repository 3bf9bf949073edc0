/**
 * How a node has been doing for this client: a mean of its latency, and a breaker.
 *
 *   closed --3 timeouts in a row--> open --any sign of life--> trial --reply--> closed
 *                                    ^                           |
 *                                    +---------timeout-----------+
 *
 * An open breaker keeps calls away while there are other nodes; the link sends a PING after 250 ms,
 * doubling to 5 s, until the node shows a sign of life. A node that pings and then hangs again
 * costs one timeout a time, at pauses that go on doubling.
 *
 * The mean is exponentially weighted and fades while nothing is measured, so that a node that was
 * slow once is tried again.
 */

/** Timeouts in a row after which a node is left alone. */
const TIMEOUTS_MAX = 3
const PROBE_DELAY_MIN_MS = 250
const PROBE_DELAY_MAX_MS = 5000
/** Weight of a new sample in the mean. */
const SAMPLE_WEIGHT = 0.1
/** Taken for the latency of a node that nothing is known of. */
const LATENCY_UNKNOWN_MS = 1
/** Below this all nodes are equally quick. */
const LATENCY_MIN_MS = 0.1
/** What is above the minimum halves in so much time without a sample. */
const FADE_MS = 1000
/** A node that refuses work answers quickly; that must not make it attractive. */
const REFUSAL_MS = 50

export class NodeHealth {
  readonly #opened: () => void
  #state: 'closed' | 'open' | 'trial' = 'closed'
  #timeouts = 0
  #probeDelayMs = PROBE_DELAY_MIN_MS
  #latencyMs = LATENCY_UNKNOWN_MS
  #sampledMs = 0

  /** `opened` is called whenever the breaker opens. */
  constructor(opened: () => void) {
    this.#opened = opened
  }

  /** True when calls are better sent elsewhere. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** The pause before the next PING to a node that is left alone; doubles from call to call. */
  nextProbeDelayMs(): number {
    const delayMs = this.#probeDelayMs
    this.#probeDelayMs = Math.min(PROBE_DELAY_MAX_MS, 2 * delayMs)
    return delayMs
  }

  /** A call was answered `latencyMs` after it was sent. */
  replied(latencyMs: number, nowMs: number): void {
    this.#timeouts = 0
    if (this.#state !== 'closed') {
      this.#state = 'closed'
      this.#probeDelayMs = PROBE_DELAY_MIN_MS
    }
    this.#sample(latencyMs, nowMs)
  }

  /** The node answered that it cannot do it now. */
  refused(nowMs: number): void {
    this.#timeouts = 0
    this.#sample(Math.max(REFUSAL_MS, this.#latencyMs), nowMs)
  }

  /** A call had no answer after `elapsedMs`. True when that opened the breaker. */
  timedOut(elapsedMs: number, nowMs: number): boolean {
    this.#sample(elapsedMs, nowMs)
    this.#timeouts++
    const isEnough = this.#timeouts >= TIMEOUTS_MAX || this.#state === 'trial'
    if (!isEnough || this.#state === 'open') return false
    this.#state = 'open'
    this.#opened()
    return true
  }

  /** The node shows a sign of life, whatever it is. */
  heard(): void {
    if (this.#state === 'open') this.#state = 'trial'
  }

  #sample(latencyMs: number, nowMs: number): void {
    this.#latencyMs += (latencyMs - this.#latencyMs) * SAMPLE_WEIGHT
    this.#sampledMs = nowMs
  }

  /** About how long a call waits behind `inFlightCount` others: only for comparison. */
  load(inFlightCount: number, nowMs: number): number {
    const fade = 1 + Math.max(0, nowMs - this.#sampledMs) / FADE_MS
    const above = Math.max(0, this.#latencyMs - LATENCY_MIN_MS)
    return (inFlightCount + 1) * (LATENCY_MIN_MS + above / fade)
  }
}
