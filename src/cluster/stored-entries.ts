/** Stored forms, as replicas exchange them and hold them against what is there. */
import { DecodeError } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import { keyName, lastOfKeys } from './last-of-keys.ts'
import type { StoredEntry } from './partitioned-store.ts'
import type { MaybePromise, Store } from './store.ts'
import { checkStored, compareStored } from './versioned-value.ts'

/** One entry a key: the later one stays. Requires checked bytes. */
export function latestOfKeys(entries: readonly StoredEntry[]): readonly StoredEntry[] {
  if (lastOfKeys(entries.map(({ engineKey }) => engineKey)) === undefined) return entries
  const latest = new Map<string, StoredEntry>()
  for (const entry of entries) {
    const name = keyName(entry.engineKey)
    const rival = latest.get(name)
    if (rival === undefined || compareStored(entry.stored, rival.stored) > 0) {
      latest.set(name, entry)
    }
  }
  return [...latest.values()]
}

/**
 * What the store has under the key. What cannot be read counts as missing, once `unreadable` has
 * resolved for the key; absent: at once.
 */
export function readIntact(
  store: Store,
  key: Uint8Array,
  unreadable?: (key: Uint8Array) => MaybePromise<void>,
): MaybePromise<Uint8Array | undefined> {
  const missing = (): MaybePromise<undefined> => {
    const told = unreadable?.(key)
    return told instanceof Promise ? told.then(() => undefined) : undefined
  }
  const damaged = (error: unknown): MaybePromise<undefined> => {
    if (!(error instanceof CorruptionError)) throw error
    return missing()
  }
  const intact = (stored: Uint8Array | undefined): MaybePromise<Uint8Array | undefined> =>
    stored === undefined || isIntact(stored) ? stored : missing()
  try {
    const found = store.read(key)
    return found instanceof Promise ? found.then(intact, damaged) : intact(found)
  } catch (error) {
    return damaged(error)
  }
}

/** Whether what is there stays, in the place of a form that comes. Requires checked bytes of it. */
export function hasLost(stored: Uint8Array, current: Uint8Array | undefined): boolean {
  return current !== undefined && isIntact(current) && compareStored(stored, current) <= 0
}

/** False for damaged bytes, which count as missing. */
export function isIntact(stored: Uint8Array): boolean {
  try {
    checkStored(stored)
    return true
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}
