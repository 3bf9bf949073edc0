/**
 * What replicas hold in the end, against what clients were told:
 *
 *  1. No acknowledged write is lost: every owner holds it, or one with a later version. Of one that
 *     a node has versioned, and nobody stored, no version may be known: then it had lost against
 *     something that was stored while it was under way.
 *  2. Nothing comes from nowhere: what is stored was written by a client that was not told that it
 *     was rejected.
 *  3. No deleted key returns: a record that is gone altogether was deleted last, or has expired.
 *  4. An expiry is one moment: that of the version, and the time to live.
 *  5. All owners of a key hold the same bytes, and nobody else holds anything of it.
 */
import { describeWrite, expiryOf, type History, type Write } from './history.ts'
import type { ReplicaState, StoredRecord } from './replica-state.ts'
import { Violations } from './violations.ts'

export interface StoredCheck {
  readonly history: History
  /** By node. */
  readonly replicas: ReadonlyMap<string, ReplicaState>
  /** The nodes that must hold a key. */
  readonly ownersOf: (key: string) => readonly string[]
  /** True time, in milliseconds since the Unix epoch. */
  readonly nowMs: number
  /** Writes that were not acknowledged may be at some owners only. @defaultValue false */
  readonly mayDiffer?: boolean | undefined
}

/** What keeps the replicas from being as they must be in the end; undefined: nothing. */
export function findUnfinished(check: StoredCheck): string | undefined {
  if (check.mayDiffer !== true) return findDifference(check)
  const violations = new Violations()
  checkAcknowledged(check, violations)
  return violations.all[0]
}

/** The same bytes at all owners. Returns the first difference, or undefined. */
function findDifference({ replicas, ownersOf }: StoredCheck): string | undefined {
  const keys = new Set([...replicas.values()].flatMap(records => [...records.keys()]))
  for (const key of keys) {
    const owners = ownersOf(key)
    const [first] = owners
    const expected = first === undefined ? undefined : replicas.get(first)?.get(key)
    for (const owner of owners) {
      const record = replicas.get(owner)?.get(key)
      if (record?.bytes === expected?.bytes) continue
      return `${key} is ${describe(expected)} at ${first} and ${describe(record)} at ${owner}`
    }
  }
  return findLeftover(replicas, ownersOf)
}

function findLeftover(
  replicas: StoredCheck['replicas'],
  ownersOf: StoredCheck['ownersOf'],
): string | undefined {
  for (const [node, records] of replicas) {
    for (const [key, record] of records) {
      if (ownersOf(key).includes(node)) continue
      return `${node} does not own ${key}, and holds ${describe(record)}`
    }
  }
  return undefined
}

export function checkStoredRecords(check: StoredCheck, violations: Violations): void {
  const { history, replicas } = check
  checkAcknowledged(check, violations)
  for (const [node, records] of replicas) {
    for (const [key, record] of records) {
      const checkOrigin = record.value === undefined ? checkTombstone : checkValue
      checkOrigin(history, { node, key, record }, violations)
    }
  }
  const difference = check.mayDiffer === true ? undefined : findDifference(check)
  if (difference !== undefined) violations.add('all replicas are equal', difference)
}

function checkAcknowledged(check: StoredCheck, violations: Violations): void {
  const { history, replicas, ownersOf, nowMs } = check
  for (const [key, writes] of history.writesByKey()) {
    for (const write of writes) checkWasStored(history, write, violations)
    for (const owner of ownersOf(key)) {
      const record = replicas.get(owner)?.get(key)
      checkRecord({ owner, record, nowMs, history }, writes, violations)
    }
  }
}

function checkWasStored(history: History, write: Write, violations: Violations): void {
  if (write.outcome !== 'ok' || write.version !== undefined) return
  if (history.wasStoredMeanwhile(write)) return
  violations.add('no write is lost', `nobody stored ${describeWrite(write)}`)
}

interface Held {
  readonly owner: string
  readonly record: StoredRecord | undefined
  readonly nowMs: number
  readonly history: History
}

function checkRecord(
  { owner, record, nowMs, history }: Held,
  writes: readonly Write[],
  violations: Violations,
): void {
  const acknowledged = latest(writes.filter(write => write.outcome === 'ok'))
  if (acknowledged?.version === undefined) return
  if (record !== undefined) {
    if (record.version >= acknowledged.version) return
    const what = acknowledged.value === undefined ? 'no deleted key returns' : 'no write is lost'
    violations.add(what, `${owner} holds ${describe(record)}; ${describeWrite(acknowledged)}`)
    return
  }
  const { key, version } = acknowledged
  if (history.tombstones.wasDeleted(key, version, Number.POSITIVE_INFINITY)) return
  const gone = latest(writes.filter(write => mayBeGone(write, nowMs)))
  if (gone?.version !== undefined && gone.version >= acknowledged.version) return
  violations.add('no write is lost', `${owner} has nothing; ${describeWrite(acknowledged)}`)
}

/** Purged may be what is deleted or has expired. */
export function mayBeGone(write: Write, nowMs: number): boolean {
  return write.outcome !== 'rejected' && (write.value === undefined || expiryOf(write) <= nowMs)
}

/** The one with the greatest version, of those that have one. */
export function latest(writes: readonly Write[]): Write | undefined {
  let result: Write | undefined
  for (const write of writes) {
    if (write.version !== undefined && write.version > (result?.version ?? '')) result = write
  }
  return result
}

interface Place {
  readonly node: string
  readonly key: string
  readonly record: StoredRecord
}

function checkValue(history: History, { node, key, record }: Place, violations: Violations): void {
  const promise = 'what is stored was written'
  const write = history.writeOf(record.value!)
  const what = `${node} holds ${describe(record)} under ${key}`
  if (write === undefined || write.key !== key) violations.add(promise, what)
  else if (write.outcome === 'rejected') {
    violations.add('a rejected write has no effect', `${what}; ${describeWrite(write)}`)
  } else if (write.version !== record.version) {
    violations.add('a write has one version', `${what}; ${describeWrite(write)}`)
  } else if (record.expiryMs !== (write.ttlMs === 0 ? 0 : expiryOf(write))) {
    const what = `${node} holds ${key} until ${record.expiryMs}`
    violations.add('an expiry is one moment', `${what}; ${describeWrite(write)}`)
  }
}

function checkTombstone(history: History, place: Place, violations: Violations): void {
  const { node, key, record } = place
  const origins = history.tombstones.originsOf(key, record.version)
  const what = `${node} holds ${describe(record)} under ${key}`
  if (origins.length === 0) violations.add('what is stored was written', what)
  else if (origins.every(({ outcome }) => outcome === 'rejected')) {
    const which = origins.map(describeWrite).join(', ')
    violations.add('a rejected write has no effect', `${what}; ${which}`)
  }
}

function describe(record: StoredRecord | undefined): string {
  if (record === undefined) return 'nothing'
  const value = record.value === undefined ? 'a tombstone' : record.value.replace(/\.+$/, '')
  return `${value} (version ${record.version})`
}
