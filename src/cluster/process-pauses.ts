/**
 * When this process stood still, as after SIGSTOP or under a debugger, by how late a look is that
 * comes every so often; and until when a request may be worked on that may have waited meanwhile.
 * Its sender counts from when it was sent, and has long given up.
 */

/** A look that comes so much late was held up by this process, not by the others. */
export const LATE_LOOK_MS = 1000
/** What had come by then has been read so long afterwards. */
const READ_WITHIN_MS = 100

export class ProcessPauses {
  readonly #everyMs: number
  #lookedMs: number | undefined
  #heldMs = 0
  #untilMs = Number.NEGATIVE_INFINITY

  /** Somebody looks every `everyMs`. */
  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  /** To be called every so often; how much too late this is. */
  look(nowMs: number): number {
    const lateMs = this.#lateMs(nowMs)
    this.#lookedMs = nowMs
    if (lateMs > LATE_LOOK_MS) {
      this.#heldMs = lateMs
      this.#untilMs = nowMs + READ_WITHIN_MS
    }
    return lateMs
  }

  /**
   * When nobody waits any more for what is read now and may take `budgetMs` from when it was sent,
   * 0 for ever; undefined when that may be over.
   */
  deadlineMs(nowMs: number, budgetMs: number): number | undefined {
    if (budgetMs === 0) return Number.POSITIVE_INFINITY
    const leftMs = budgetMs - this.#waitedMs(nowMs)
    return leftMs > 0 ? nowMs + leftMs : undefined
  }

  /** How long what is read now may have waited for this process to go on. */
  #waitedMs(nowMs: number): number {
    const lateMs = this.#lateMs(nowMs)
    if (lateMs > LATE_LOOK_MS) return lateMs
    return nowMs < this.#untilMs ? this.#heldMs : 0
  }

  #lateMs(nowMs: number): number {
    return this.#lookedMs === undefined ? 0 : nowMs - this.#lookedMs - this.#everyMs
  }
}
