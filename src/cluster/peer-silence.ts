/**
 * Whether another node keeps silent: it is asked, and pinged, and nothing comes from it on any
 * lane. That is known long before its links are closed or the members have agreed that it is down,
 * so a call which cannot succeed without it is refused then, in place of waiting.
 *
 *   heard --asked, and nothing for a sweep--> pinged at every sweep --for so long--> silent
 *     ^------------------------------anything comes-------------------------------------+
 *
 * Time is counted in sweeps, and one that comes late does not count: then this process was held up,
 * and answers may lie there unread. Who is asked nothing owes no sign of life.
 */

export class PeerSilence {
  readonly #sweepsMax: number
  #heardMs = Number.NEGATIVE_INFINITY
  #sweeps = 0

  /** Silent from `silentAfterMs` on, as far as sweeps every `sweepMs` can tell. */
  constructor(silentAfterMs: number, sweepMs: number) {
    this.#sweepsMax = Math.max(2, Math.ceil(silentAfterMs / sweepMs))
  }

  get isSilent(): boolean {
    return this.#sweeps >= this.#sweepsMax
  }

  /** There is a new link to it. */
  reset(): void {
    this.#sweeps = 0
  }

  /**
   * A sweep: `heardMs` says when anything came last, `isAsked` whether it is to answer something.
   * True when it should be pinged.
   */
  swept(heardMs: number, isAsked: boolean, isLate: boolean): boolean {
    if (heardMs !== this.#heardMs) {
      this.#heardMs = heardMs
      this.#sweeps = 0
      return false
    }
    if (!isAsked && this.#sweeps === 0) return false
    if (!isLate && !this.isSilent) this.#sweeps++
    return true
  }
}
