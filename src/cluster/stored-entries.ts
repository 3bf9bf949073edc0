/** Stored forms, as replicas exchange them and hold them against what is there. */
import { CorruptionError } from '../errors.ts'
import { keyName, lastOfKeys } from './last-of-keys.ts'
import type { StoredEntry } from './partitioned-store.ts'
import type { MaybePromise, Store } from './store.ts'
import { compareStored } from './versioned-value.ts'

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
