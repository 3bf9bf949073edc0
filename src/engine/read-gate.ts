/**
 * How many reads may wait for the disk at once: so many go on, the rest stands in line in the order
 * in which it came, and above a bound reads are refused. What a caller forgets to await is then
 * bounded, also where all wait for the same block or for a table to be opened.
 *
 * Invariants:
 *  1. At most IN_MAX reads are in, and no more wait than may.
 *  2. A turn of the event loop lets in no more than IN_MAX, however many of them find in memory
 *     what they want: what those before them loaded, often.
 */
import { yieldToEventLoop } from '../clock.ts'
import { OverloadedError } from '../errors.ts'

/** Many times what the disk does at once (block-loader.ts), and below a millisecond of lookups. */
const IN_MAX = 512
const RETRY_AFTER_MS = 20

export class ReadGate {
  readonly #waitingMax: number
  #in = 0
  /** Those in line, the next one last; and those who came since, in their order. */
  #next: (() => void)[] = []
  #behind: (() => void)[] = []
  #opening = false

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax
  }

  /**
   * Undefined when the read is in at once, else it is once this resolves; leave() follows either.
   * Throws OverloadedError when too many wait.
   */
  enter(): Promise<void> | undefined {
    const waiting = this.#next.length + this.#behind.length
    if (waiting === 0 && this.#in < IN_MAX) {
      this.#in++
      return undefined
    }
    if (waiting >= this.#waitingMax) {
      const message = `${waiting} reads wait for the disk; await reads before sending more`
      throw new OverloadedError(message, RETRY_AFTER_MS)
    }
    return new Promise(resolve => this.#behind.push(resolve))
  }

  leave(): void {
    this.#in--
    if (this.#opening || this.#next.length + this.#behind.length === 0) return
    this.#opening = true
    void yieldToEventLoop().then(() => this.#letIn())
  }

  #letIn(): void {
    this.#opening = false
    while (this.#in < IN_MAX) {
      if (this.#next.length === 0) {
        this.#next = this.#behind.reverse()
        this.#behind = []
      }
      const enter = this.#next.pop()
      if (enter === undefined) return
      this.#in++
      enter()
    }
  }
}
