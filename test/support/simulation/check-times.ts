/**
 * Whatever clocks did meanwhile: no version is of a time that is yet to come, and whoever
 * overwrites or deletes something once all is well finds that it is so. A version from the future
 * would win over everything that is written until then, and all of that would be acknowledged.
 */
import { versionTimeMs } from '../../../src/write-version.ts'
import { describeWrite, type History } from './history.ts'
import type { ReplicaState } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'no version is ahead of the time'
/**
 * What clocks are wrong by in peace, twice (the server's, and what one more is allowed), the mark
 * of a node that has just started, and drift.
 */
const AHEAD_MAX_MS = 2000

export interface TimesCheck {
  readonly history: History
  /** By node. */
  readonly replicas: ReadonlyMap<string, ReplicaState>
  /** True time, in milliseconds since the Unix epoch. */
  readonly nowMs: number
}

export function checkTimes(check: TimesCheck, violations: Violations): void {
  const { history, replicas, nowMs } = check
  for (const write of history.writes) {
    const aheadMs = write.aheadMs ?? 0
    if (write.outcome !== 'ok' || aheadMs <= AHEAD_MAX_MS) continue
    violations.add(PROMISE, `${describeWrite(write)} was ${Math.round(aheadMs)} ms ahead`)
  }
  for (const [node, records] of replicas) {
    for (const [key, { version }] of records) {
      const aheadMs = timeOf(version) - nowMs
      if (aheadMs <= AHEAD_MAX_MS) continue
      violations.add(PROMISE, `${node} has ${key} from ${Math.round(aheadMs)} ms ahead`)
    }
  }
}

/** Of a version in hexadecimal digits. */
export function timeOf(version: string): number {
  return versionTimeMs(Buffer.from(version, 'hex'))
}

/** The keys whose versions are the latest: what is ahead of the time is among them. */
export function latestKeys(
  replicas: ReadonlyMap<string, ReplicaState>,
  countMax: number,
): readonly string[] {
  const latest = new Map<string, string>()
  for (const records of replicas.values()) {
    for (const [key, { version }] of records) {
      if (version > (latest.get(key) ?? '')) latest.set(key, version)
    }
  }
  const keys = [...latest].sort(([, one], [, other]) => (one < other ? 1 : -1))
  return keys.slice(0, countMax).map(([key]) => key)
}
