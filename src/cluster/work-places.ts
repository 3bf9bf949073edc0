/**
 * How many pieces of work that hold memory while they go on (pages of scans, values of a getMany
 * that wait for the disk) are under way at the same time. The others hold nothing until it is their
 * turn, client by client.
 */
import { type ClientIdentity, FairQueue } from '../fair-queue.ts'

export class WorkPlaces {
  readonly #waiting = new FairQueue<() => void>()
  #freeCount: number

  constructor(count: number) {
    this.#freeCount = count
  }

  get waitingCount(): number {
    return this.#waiting.length
  }

  /** Does the work once there is a place for it. */
  async use<T>(client: ClientIdentity, work: () => T | Promise<T>): Promise<T> {
    if (this.#freeCount > 0) this.#freeCount--
    else await new Promise<void>(resolve => this.#waiting.push(client, resolve))
    try {
      return await work()
    } finally {
      // The place goes on to the next, so that nobody overtakes.
      const next = this.#waiting.shift()
      if (next === undefined) this.#freeCount++
      else next()
    }
  }
}
