/**
 * Reading entries and writing what follows from them, with no other write of this node in between:
 * counters, conditions, changes of an expiry. What is seen may still be on its way to the disk;
 * the result counts once it has arrived.
 *
 * Only where this node takes every write: nobody else is owed what is written here.
 */
import type { EntryVersions } from '../net/index.ts'
import type { PartitionedStore, StoredEntry, WriteTerms } from './partitioned-store.ts'
import type { MaybePromise } from './store.ts'
import type { StoreWrite } from './store-operation.ts'
import { expiryMs, storedVersion } from './versioned-value.ts'
import type { Updated, VersionedWriter } from './versioned-writer.ts'

/** A value that is neither deleted nor expired. */
export interface LiveEntry {
  /** Borrowed. */
  readonly value: Uint8Array
  /** Milliseconds since the Unix epoch; 0 for never. */
  readonly expiryMs: number
  /** Borrowed. */
  readonly version: Uint8Array
}

/** What an update writes: at most one operation on a key. */
export interface StoreDecision<T> {
  readonly operations: readonly StoreWrite[]
  readonly result: T
}

export interface StoreUpdatesOptions {
  readonly store: PartitionedStore
  readonly writer: VersionedWriter
  /** The operations as they are stored under a version greater than all before. */
  readonly newest: (operations: readonly StoreWrite[]) => readonly StoredEntry[]
  /** Settles with the write, once a restart cannot give its version again. */
  readonly covered: (written: Promise<void>) => Promise<void>
}

export class StoreUpdates {
  readonly #options: StoreUpdatesOptions

  constructor(options: StoreUpdatesOptions) {
    this.#options = options
  }

  /** The live value in a buffer of the caller's own, with its expiry. */
  entry(key: Uint8Array): MaybePromise<LiveEntry | undefined> {
    const { store } = this.#options
    const engineKey = store.partitioner.engineKey(key)
    const stored = store.store.read(engineKey)
    const entryOf = (late: Uint8Array | undefined) =>
      this.#entryAt(engineKey, late, store.clock.wallMs())
    return stored instanceof Promise ? stored.then(entryOf) : entryOf(stored)
  }

  /** See RequestHandler.update. Copies the keys. */
  update<T>(
    keys: readonly Uint8Array[],
    decide: (
      entries: readonly (LiveEntry | undefined)[],
      versions: EntryVersions,
    ) => StoreDecision<T>,
    { durability, onVersion }: Pick<WriteTerms, 'durability' | 'onVersion'>,
  ): MaybePromise<Updated<T>> {
    const { store, writer, newest } = this.#options
    const engineKeys = keys.map(key => store.partitioner.engineKey(key))
    const decideStored = (currents: readonly (Uint8Array | undefined)[]) => {
      const nowMs = store.clock.wallMs()
      const entries = currents.map((stored, at) => this.#entryAt(engineKeys[at]!, stored, nowMs))
      const { operations, result } = decide(entries, at => {
        const stored = currents[at]
        return stored === undefined ? undefined : storedVersion(stored)
      })
      const written = operations.length === 0 ? [] : newest(operations)
      if (written.length > 0) onVersion?.(storedVersion(written[0]!.stored))
      return {
        result,
        keys: written.map(({ engineKey }) => engineKey),
        stored: written.map(({ stored }) => stored),
      }
    }
    const updated = writer.update(engineKeys, decideStored, durability)
    if (updated instanceof Promise) return updated.then(late => this.#covered(late))
    return this.#covered(updated)
  }

  #covered<T>(updated: Updated<T>): Updated<T> {
    const { result, done } = updated
    if (done === undefined) return updated
    const covered = this.#options.covered(done)
    return covered === done ? updated : { result, done: covered }
  }

  #entryAt(
    engineKey: Uint8Array,
    stored: Uint8Array | undefined,
    nowMs: number,
  ): LiveEntry | undefined {
    if (stored === undefined) return undefined
    const value = this.#options.store.liveAt(engineKey, stored, nowMs)
    if (value === undefined) return undefined
    return { value, expiryMs: expiryMs(stored), version: storedVersion(stored) }
  }
}
