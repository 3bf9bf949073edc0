/** Lists of stored forms, as replicas exchange them. */
import { keyName, lastOfKeys } from './last-of-keys.ts'
import type { StoredEntry } from './partitioned-store.ts'
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
