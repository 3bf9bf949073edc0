/**
 * Keeps readers whose every answer is in memory from holding the event loop: promises that are
 * kept at once let nothing else run. What was delivered is counted, and from time to time a reader
 * pauses. One budget serves all scans of a database: a caller who awaits one short scan after
 * another would hold the loop as one long scan does.
 */
import { yieldToEventLoop } from './clock.ts'

/** About a third of a millisecond's work each. */
const ENTRIES_MAX = 1000
const BYTES_MAX = 256 * 1024
/** What a read costs that finds little: its seek takes as long as so many entries. */
const READ_ENTRIES = 50

export class EventLoopBudget {
  #entries = 0
  #bytes = 0

  /** Counts a read that gave so many entries, with so many bytes. */
  spend(entries: number, bytes: number): void {
    this.#entries += Math.max(entries, READ_ENTRIES)
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
