/**
 * A tournament of sorted sources: who has the next entry? A tree of losers (Knuth, The Art of
 * Computer Programming, vol. 3, section 5.4.1) replays only the path of the last winner, with
 * exactly one comparison a level: about half of what a heap needs.
 *
 * Invariants:
 *  1. losers[node] lost the match at `node`, for nodes 1 to count - 1; losers[0] won the last.
 *  2. Between replays only the winner may have changed.
 */
import { assert } from '../assert.ts'

export class LoserTree {
  readonly #losers: Int32Array
  readonly #isBefore: (a: number, b: number) => boolean
  readonly #count: number

  /**
   * Sources are numbers from 0 to count - 1. `isBefore` is a strict order; a source that is used
   * up comes after all others.
   */
  constructor(count: number, isBefore: (a: number, b: number) => boolean) {
    assert(count >= 1, 'a tournament has players')
    this.#count = count
    this.#isBefore = isBefore
    this.#losers = new Int32Array(count).fill(NOBODY)
    for (let source = count - 1; source >= 0; source--) this.#play(source)
  }

  /** The source that comes first. */
  get winner(): number {
    return this.#losers[0]!
  }

  /** Call after the winner moved on to its next entry. */
  replay(): void {
    this.#play(this.winner)
  }

  #play(source: number): void {
    const losers = this.#losers
    let winner = source
    for (let node = (source + this.#count) >>> 1; node > 0; node >>>= 1) {
      const opponent = losers[node]!
      // While the tree is built, the first to come waits for the other side.
      if (opponent === NOBODY) {
        losers[node] = winner
        return
      }
      if (!this.#isBefore(opponent, winner)) continue
      losers[node] = winner
      winner = opponent
    }
    losers[0] = winner
  }
}

const NOBODY = -1
