/**
 * Lets so much in at once, counted by weight, and the rest in the order in which it came. What
 * weighs more than all there may be is let in when nothing else is in.
 *
 * Invariants:
 *  1. No more is in than the bound, or one alone.
 *  2. Whoever waits is let in as soon as those before him are and what leaves makes room for him.
 */

/** Entries already served that may stand at the front of the queue. */
const SERVED_MAX = 1024

interface Waiting {
  readonly weight: number
  readonly admit: () => void
}

export class Admission {
  readonly #weightMax: number
  #weight = 0
  #waiting: Waiting[] = []
  #waitingStart = 0

  constructor(weightMax: number) {
    this.#weightMax = weightMax
  }

  /** How many wait. Who calls enter() bounds it. */
  get waiting(): number {
    return this.#waiting.length - this.#waitingStart
  }

  /** Resolves once admitted; undefined when that is at once. To be followed by leave(). */
  enter(weight: number): Promise<void> | undefined {
    if (this.waiting === 0 && this.#fits(weight)) {
      this.#weight += weight
      return undefined
    }
    return new Promise(admit => this.#waiting.push({ weight, admit }))
  }

  /** Lets those in for whom there is room now. */
  leave(weight: number): void {
    this.#weight -= weight
    for (;;) {
      const next = this.#waiting[this.#waitingStart]
      if (next === undefined || !this.#fits(next.weight)) break
      this.#waitingStart++
      this.#weight += next.weight
      next.admit()
    }
    if (this.#waitingStart < Math.min(this.#waiting.length, SERVED_MAX)) return
    this.#waiting = this.#waiting.slice(this.#waitingStart)
    this.#waitingStart = 0
  }

  #fits(weight: number): boolean {
    return this.#weight === 0 || this.#weight + weight <= this.#weightMax
  }
}
