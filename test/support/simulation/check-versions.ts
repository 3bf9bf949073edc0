/**
 * Versions are a total order: no two writes to a key have the same version, whoever made them, and
 * a version stands for the same bytes wherever it is stored.
 */
import { describeWrite, type History } from './history.ts'
import type { ReplicaState } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'versions are a total order'

export function checkVersions(
  history: History,
  replicas: ReadonlyMap<string, ReplicaState>,
  violations: Violations,
): void {
  for (const writes of history.writesByKey().values()) {
    const versions = new Map<string, string>()
    for (const write of writes) {
      if (write.version === undefined) continue
      const other = versions.get(write.version)
      const what = describeWrite(write)
      if (other !== undefined) violations.add(PROMISE, `${what} has the version of ${other}`)
      versions.set(write.version, what)
    }
  }
  const bytesOf = new Map<string, string>()
  for (const [node, records] of replicas) {
    for (const [key, { version, bytes }] of records) {
      const name = `${key} ${version}`
      const other = bytesOf.get(name)
      if (other !== undefined && other !== bytes) {
        violations.add(PROMISE, `${node} has other bytes under version ${version} of ${key}`)
      }
      bytesOf.set(name, bytes)
    }
  }
}
