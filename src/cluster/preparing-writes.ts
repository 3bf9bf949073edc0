/**
 * Writes that were asked for and may not be submitted to the store yet: large ones, which take
 * their turns, and those that wait for a record or for another write to their keys. The store does
 * not know of them; whoever must know that nothing more comes by a former ring waits for them.
 */
export class PreparingWrites {
  readonly #writes = new Set<Promise<void>>()

  /** Remembers the write until it is over; returns it. */
  track(write: Promise<void>): Promise<void> {
    const forget = (): void => void this.#writes.delete(over)
    const over: Promise<void> = write.then(forget, forget)
    this.#writes.add(over)
    return write
  }

  /** Resolves once all of this moment are over, whichever way; undefined when there is none. */
  over(): Promise<void> | undefined {
    if (this.#writes.size === 0) return undefined
    return Promise.all(this.#writes).then(() => undefined)
  }
}
