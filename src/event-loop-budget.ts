/**
 * Keeps a reader whose every answer is in memory from holding the event loop: promises that are
 * kept at once let nothing else run. What was delivered is counted, and from time to time the
 * reader pauses.
 */
import { yieldToEventLoop } from './clock.ts'

/** About a third of a millisecond's work each. */
const ENTRIES_MAX = 1000
const BYTES_MAX = 256 * 1024

export class EventLoopBudget {
  #entries = 0
  #bytes = 0

  spend(entries: number, bytes: number): void {
    this.#entries += entries
    this.#bytes += bytes
  }

  /** Resolves at once, or in a later turn of the event loop when the budget is spent. */
  async renew(): Promise<void> {
    if (this.#entries < ENTRIES_MAX && this.#bytes < BYTES_MAX) return
    this.#entries = 0
    this.#bytes = 0
    await yieldToEventLoop()
  }
}
