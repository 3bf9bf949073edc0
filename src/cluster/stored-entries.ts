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

/** What the store has under the key; what it cannot read counts as missing. */
export function readIntact(store: Store, key: Uint8Array): MaybePromise<Uint8Array | undefined> {
  try {
    const found = store.read(key)
    return found instanceof Promise ? found.catch(missing) : found
  } catch (error) {
    return missing(error)
  }
}

function missing(error: unknown): undefined {
  if (!(error instanceof CorruptionError)) throw error
}

/** Whether what is there stays, in the place of a form that comes. Requires checked bytes of it. */
export function hasLost(stored: Uint8Array, current: Uint8Array | undefined): boolean {
  return current !== undefined && isIntact(current) && compareStored(stored, current) <= 0
}

/** Damaged bytes count as missing: the next write to the key heals it. */
export function isIntact(stored: Uint8Array): boolean {
  try {
    checkStored(stored)
    return true
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}
