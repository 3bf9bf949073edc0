/** What a scan over all keys finds, and a count of them: every live record, once, and no other. */
import type { Survey } from './operator.ts'
import type { ReplicaState } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'scans find what is stored'

/** What `node` found while nothing was written, against what replicas hold that are equal. */
export function checkScans(
  node: string,
  { entries, count }: Survey,
  replicas: ReadonlyMap<string, ReplicaState>,
  violations: Violations,
): void {
  const live = new Map<string, string>()
  for (const records of replicas.values()) {
    for (const [key, { value }] of records) if (value !== undefined) live.set(key, value)
  }
  if (count !== live.size) {
    violations.add(PROMISE, `${node} counts ${count} keys, there are ${live.size}`)
  }
  for (const [key, value] of entries) {
    if (live.get(key) === value) live.delete(key)
    else violations.add(PROMISE, `${node} finds ${value} under ${key}, again or wrongly`)
  }
  for (const key of live.keys()) violations.add(PROMISE, `${node} does not find ${key}`)
}
