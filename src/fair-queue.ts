/**
 * What waits, by whose it is: the clients that have something take turns, so that one with a
 * thousand things in the queue delays another by one of them and not by a thousand.
 *
 * Invariants:
 *  1. Items of one client leave in the order in which they came.
 *  2. Between two items of a client every other client that waits has had its turn.
 */

/** Whose an item is: anything with an identity, such as a connection. */
export type ClientIdentity = object

export class FairQueue<T> {
  /** In the order of their turns; a client without items is not there. */
  readonly #lines = new Map<ClientIdentity, T[]>()
  #length = 0

  get length(): number {
    return this.#length
  }

  push(client: ClientIdentity, item: T): void {
    this.#length++
    const line = this.#lines.get(client)
    if (line === undefined) this.#lines.set(client, [item])
    else line.push(item)
  }

  /** The next item, or undefined when there is none. */
  shift(): T | undefined {
    for (const [client, line] of this.#lines) {
      const item = line.shift()
      this.#lines.delete(client)
      if (line.length > 0) this.#lines.set(client, line)
      this.#length--
      return item
    }
    return undefined
  }
}
