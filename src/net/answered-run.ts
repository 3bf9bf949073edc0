/**
 * Requests of one operation that were answered at once, one behind the other: their durations are
 * recorded together, with one look at the clock, which costs as much as answering a GET.
 */
import type { Clock } from '../clock.ts'
import type { ServerStats } from './server-stats.ts'

export class AnsweredRun {
  readonly #stats: ServerStats
  readonly #clock: Clock
  #operation = 0
  #count = 0

  constructor({ stats, clock }: { readonly stats: ServerStats; readonly clock: Clock }) {
    this.#stats = stats
    this.#clock = clock
  }

  /** A request of `operation`, which came at `receivedMs`, has its answer. */
  add(operation: number, receivedMs: number): void {
    if (operation !== this.#operation) this.end(receivedMs)
    this.#operation = operation
    this.#count++
  }

  /** Records what was added. */
  end(receivedMs: number): void {
    if (this.#count === 0) return
    const elapsedMs = this.#clock.monotonicMs() - receivedMs
    this.#stats.recordDuration(this.#operation, elapsedMs, this.#count)
    this.#count = 0
  }
}
