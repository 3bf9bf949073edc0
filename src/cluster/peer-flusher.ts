/** Sends what was written to links at the end of the tick, with one write for each wire. */
import { endOfTick } from '../clock.ts'

/** What has something to send. */
export interface Flushable {
  flushScheduled: boolean
  flush(): void
}

export class PeerFlusher {
  #waiting: Flushable[] = []
  #isFlushing = false

  schedule(stream: Flushable): void {
    if (stream.flushScheduled) return
    stream.flushScheduled = true
    this.#waiting.push(stream)
    if (this.#isFlushing) return
    this.#isFlushing = true
    void this.#flushAll()
  }

  async #flushAll(): Promise<void> {
    // After all promises that were settled in this tick; and once more, after what is done then.
    await endOfTick()
    await endOfTick()
    while (this.#waiting.length > 0) {
      const streams = this.#waiting
      this.#waiting = []
      for (const stream of streams) {
        stream.flushScheduled = false
        stream.flush()
      }
    }
    // In the same step as the last look: who is scheduled a moment later must start it anew.
    this.#isFlushing = false
  }
}
