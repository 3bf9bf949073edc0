/**
 * What is held against stored forms that cannot be read on this node. Others have them, so whatever
 * comes is better than nothing; but it may be older than what was there, and hides that.
 *
 * Invariant: before anything takes the place of what cannot be read somebody is told, unless a
 * quorum agreed on it: then it is as late as anything that a quorum ever had.
 */
import { keyName } from './last-of-keys.ts'
import type { StoredEntry } from './partitioned-store.ts'
import type { MaybePromise, Store } from './store.ts'
import { readIntact } from './stored-entries.ts'

export class UnreadableForms {
  readonly #store: Store
  #listener: ((engineKey: Uint8Array) => MaybePromise<void>) | undefined
  /** Names of keys for which something comes on which a quorum agreed. */
  readonly #agreed = new Set<string>()

  constructor(store: Store) {
    this.#store = store
  }

  /** What `listener` returns has to resolve before something takes the place of the key's form. */
  beforeHiding(listener: (engineKey: Uint8Array) => MaybePromise<void>): void {
    this.#listener = listener
  }

  /** What a form that comes is compared with: what is there, if that can be read. */
  current(key: Uint8Array): MaybePromise<Uint8Array | undefined> {
    return readIntact(this.#store, key, unreadable => {
      return this.#agreed.has(keyName(unreadable)) ? undefined : this.#listener?.(unreadable)
    })
  }

  /** Runs `apply`, which stores forms on which a quorum agreed. */
  async asAgreed(entries: readonly StoredEntry[], apply: () => Promise<void>): Promise<void> {
    const names = entries.map(({ engineKey }) => keyName(engineKey))
    for (const name of names) this.#agreed.add(name)
    try {
      await apply()
    } finally {
      for (const name of names) this.#agreed.delete(name)
    }
  }
}
