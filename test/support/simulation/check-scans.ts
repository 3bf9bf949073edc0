/**
 * What a scan over all keys finds, and a count of them: every live record, once, and no other. What
 * expires at about that time may be found or not.
 */
import type { Survey } from './operator.ts'
import type { ReplicaState, StoredRecord } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'scans find what is stored'

/** Clocks, once all is well, are wrong by less. */
const CLOCK_ERROR_MS = 1000

/** By key, what the owners hold, who are equal. Who was an owner once may hold something older. */
export function liveRecords(
  replicas: ReadonlyMap<string, ReplicaState>,
  ownersOf: (key: string) => readonly string[],
): ReadonlyMap<string, StoredRecord> {
  const live = new Map<string, StoredRecord>()
  for (const [node, records] of replicas) {
    for (const [key, record] of records) {
      if (record.value !== undefined && ownersOf(key)[0] === node) live.set(key, record)
    }
  }
  return live
}

/** What `node` found while nothing was written, against what there is. */
export function checkScans(
  node: string,
  { entries, count, fromMs, toMs }: Survey,
  records: ReadonlyMap<string, StoredRecord>,
  violations: Violations,
): void {
  const live = new Map<string, string>()
  const expiring = new Map<string, string>()
  for (const [key, { value, expiryMs }] of records) {
    if (value === undefined) continue
    if (expiryMs === 0 || expiryMs > toMs + CLOCK_ERROR_MS) live.set(key, value)
    else if (expiryMs >= fromMs - CLOCK_ERROR_MS) expiring.set(key, value)
  }
  const countMax = live.size + expiring.size
  if (count < live.size || count > countMax) {
    violations.add(PROMISE, `${node} counts ${count} keys, there are ${live.size} to ${countMax}`)
  }
  for (const [key, value] of entries) {
    if (live.get(key) === value) live.delete(key)
    else if (expiring.get(key) === value) expiring.delete(key)
    else violations.add(PROMISE, `${node} finds ${value} under ${key}, again or wrongly`)
  }
  for (const key of live.keys()) violations.add(PROMISE, `${node} does not find ${key}`)
}
