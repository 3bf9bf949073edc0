/**
 * One piece of long work as the node's turns see it (work-turns.ts): work for a while, look here,
 * let others have their turn. What runs at the same time within one piece of work, such as the
 * lanes of a scan, waits for its next turn together.
 */
import type { ClientIdentity } from '../fair-queue.ts'
import type { WorkTurns } from '../work-turns.ts'

export class TimeSlice {
  readonly #turns: WorkTurns
  readonly #client: ClientIdentity
  #pause: Promise<void> | undefined

  /** `client` is whom the work is for. */
  constructor(turns: WorkTurns, client: ClientIdentity) {
    this.#turns = turns
    this.#client = client
  }

  /** True when the work should pause before it goes on. */
  get isOver(): boolean {
    return this.#turns.isOver
  }

  /** Undefined when the work may begin now, or go on after time that passed elsewhere. */
  begin(): Promise<void> | undefined {
    return this.#turns.begin(this.#client)
  }

  /** Resolves when it is the turn of this work again. */
  pause(): Promise<void> {
    this.#pause ??= this.#turns.pause(this.#client).then(() => {
      this.#pause = undefined
    })
    return this.#pause
  }
}
