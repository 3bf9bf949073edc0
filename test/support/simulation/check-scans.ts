/** What a scan over all keys finds, and a count of them: every live record, once, and no other. */
import type { Survey } from './operator.ts'
import type { ReplicaState } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'scans find what is stored'

/** By key, what the owners hold, who are equal. Who was an owner once may hold something older. */
export function liveRecords(
  replicas: ReadonlyMap<string, ReplicaState>,
  ownersOf: (key: string) => readonly string[],
): ReadonlyMap<string, string> {
  const live = new Map<string, string>()
  for (const [node, records] of replicas) {
    for (const [key, { value }] of records) {
      if (value !== undefined && ownersOf(key)[0] === node) live.set(key, value)
    }
  }
  return live
}

/** What `node` found while nothing was written, against what there is. */
export function checkScans(
  node: string,
  { entries, count }: Survey,
  records: ReadonlyMap<string, string>,
  violations: Violations,
): void {
  const live = new Map(records)
  if (count !== live.size) {
    violations.add(PROMISE, `${node} counts ${count} keys, there are ${live.size}`)
  }
  for (const [key, value] of entries) {
    if (live.get(key) === value) live.delete(key)
    else violations.add(PROMISE, `${node} finds ${value} under ${key}, again or wrongly`)
  }
  for (const key of live.keys()) violations.add(PROMISE, `${node} does not find ${key}`)
}
