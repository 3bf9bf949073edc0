/**
 * How much a node should trust its own view: the more signs that it is itself slow or cut off, the
 * longer it waits before it blames another (Dadgar et al., Lifeguard, 2018, section IV-A).
 */

/** The worst score; times are multiplied by up to one more. */
export const HEALTH_SCORE_MAX = 7

export class LocalHealth {
  #score = 0

  /** 0 when all is well. */
  get score(): number {
    return this.#score
  }

  /** An ordinary time as it should be now. */
  scale(timeMs: number): number {
    return timeMs * (this.#score + 1)
  }

  /** Above zero for what speaks against this node, below for what speaks for it. */
  note(change: number): void {
    this.#score = Math.min(HEALTH_SCORE_MAX, Math.max(0, this.#score + change))
  }
}
