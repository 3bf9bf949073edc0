/**
 * Keys to which nothing may be submitted for now: those that are being compared, each until its
 * write is, and those of the large write that is being prepared, one after another. By the names
 * of keys (last-of-keys.ts).
 */
import { assert } from '../assert.ts'

/** The keys of a large write that are locked so far: the last operation on each, by name. */
interface LargeLock {
  readonly last: ReadonlyMap<string, number>
  readonly over: Promise<void>
}

export class KeyLocks {
  /** Keys that are being compared, and when that is over. */
  readonly #locks = new Map<string, Promise<void>>()
  /** The large write that is being prepared. */
  #large: LargeLock | undefined

  /** True when no key is locked. */
  get isEmpty(): boolean {
    return this.#locks.size === 0 && this.#large === undefined
  }

  /**
   * When each lock on these keys is over; empty when there is none. Ask again once they are: who
   * waited as well may have locked them, and nothing may come between an empty answer and what
   * is done by it.
   */
  on(names: readonly string[]): Promise<void>[] {
    const large = this.#large
    return names.flatMap(name => {
      const lock = this.#locks.get(name)
      if (lock !== undefined) return lock
      return large?.last.has(name) === true ? large.over : []
    })
  }

  /** When the comparison that locks the key is over; undefined when none does. */
  comparing(name: string): Promise<void> | undefined {
    return this.#locks.get(name)
  }

  /** Returns how to end it. Requires that none of the keys is locked. */
  lock(names: readonly string[]): () => void {
    let resolve: () => void
    const over = new Promise<void>(settle => {
      resolve = settle
    })
    for (const name of names) this.#locks.set(name, over)
    return () => {
      for (const name of names) this.#locks.delete(name)
      resolve()
    }
  }

  /** Locks whatever `last` comes to hold. Returns how to end it. Requires that no other one is. */
  lockLarge(last: ReadonlyMap<string, number>): () => void {
    assert(this.#large === undefined, 'one large write is prepared at a time')
    let resolve: () => void
    const over = new Promise<void>(settle => {
      resolve = settle
    })
    this.#large = { last, over }
    return () => {
      this.#large = undefined
      resolve()
    }
  }
}
