/**
 * How long writers have been held back, and why: counted for the stats, and told as one event at
 * the beginning and one at the end of a stall, however many group commits it holds back.
 */
import type { Clock } from '../clock.ts'
import type { StallReason } from './db-event.ts'
import type { EventStream } from './event-stream.ts'

export interface StallStats {
  /** Group commits that were held back. */
  readonly count: number
  /** Including the time so far of one that is held back now. */
  readonly totalMs: number
  /** Bytes a second that writers are granted now; undefined when they are not limited. */
  readonly grantedRate: number | undefined
  /** Why, the last time. */
  readonly reason: StallReason | undefined
  /** The same by reason; they add up to the whole. */
  readonly byReason: Readonly<Partial<Record<StallReason, ReasonStats>>>
}

export interface ReasonStats {
  readonly count: number
  readonly totalMs: number
}

interface OpenStall {
  readonly reason: StallReason
  readonly startMs: number
  commits: number
  heldMs: number
}

export class Stalls {
  readonly #clock: Clock
  readonly #events: EventStream
  #open: OpenStall | undefined
  /** Since when a group commit is held back; undefined while none is. */
  #holdStartMs: number | undefined
  readonly #byReason = new Map<StallReason, { count: number; totalMs: number }>()
  #reason: StallReason | undefined

  constructor(clock: Clock, events: EventStream) {
    this.#clock = clock
    this.#events = events
  }

  get stats(): Omit<StallStats, 'grantedRate'> {
    let count = 0
    let totalMs = 0
    const startMs = this.#holdStartMs
    const openMs = startMs === undefined ? 0 : this.#clock.monotonicMs() - startMs
    const byReason: Partial<Record<StallReason, ReasonStats>> = {}
    for (const [reason, stats] of this.#byReason) {
      count += stats.count
      const reasonMs = stats.totalMs + (reason === this.#reason ? openMs : 0)
      totalMs += reasonMs
      byReason[reason] = { count: stats.count, totalMs: reasonMs }
    }
    return { count, totalMs, reason: this.#reason, byReason }
  }

  /** Holds a group commit back until `wait` is over, which is counted also when it rejects. */
  async hold(reason: StallReason, wait: () => Promise<void>): Promise<void> {
    const startMs = this.#clock.monotonicMs()
    if (this.#open?.reason !== reason) {
      this.end()
      this.#open = { reason, startMs, commits: 0, heldMs: 0 }
      if (this.#events.active) this.#events.emit({ type: 'stallBegin', reason })
    }
    const stall = this.#open
    stall.commits++
    const stats = this.#byReason.get(reason) ?? { count: 0, totalMs: 0 }
    this.#byReason.set(reason, stats)
    stats.count++
    this.#reason = reason
    this.#holdStartMs = startMs
    try {
      await wait()
    } finally {
      this.#holdStartMs = undefined
      const heldMs = this.#clock.monotonicMs() - startMs
      stall.heldMs += heldMs
      stats.totalMs += heldMs
    }
  }

  /** There is no reason to hold writers back any more. Nothing happens while one is held. */
  end(): void {
    const stall = this.#open
    if (stall === undefined || this.#holdStartMs !== undefined) return
    this.#open = undefined
    if (!this.#events.active) return
    const { reason, startMs, commits, heldMs } = stall
    const durationMs = this.#clock.monotonicMs() - startMs
    this.#events.emit({ type: 'stallEnd', reason, durationMs, commits, heldMs })
  }
}
