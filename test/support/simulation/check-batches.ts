/**
 * A batch is all or none in each partition: where one of its writes is what is stored in the end,
 * every other one of the same partition was stored as well. It is there, too, or was overwritten by
 * something later, or was deleted or has expired since.
 */
import { mayBeGone, type StoredCheck } from './check-stored.ts'
import { describeWrite, type Write } from './history.ts'
import type { StoredRecord } from './replica-state.ts'
import type { Violations } from './violations.ts'

const PROMISE = 'a batch is all or none in a partition'

export interface BatchCheck extends StoredCheck {
  readonly partitionOf: (key: string) => number
}

/** Requires that all owners of a key hold the same. */
export function checkBatches(check: BatchCheck, violations: Violations): void {
  const groups = new Map<string, Write[]>()
  for (const write of check.history.writes) {
    if (write.batch === undefined) continue
    const name = `${write.batch} ${check.partitionOf(write.key)}`
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [write])
    else group.push(write)
  }
  const byKey = check.history.writesByKey()
  for (const group of groups.values()) checkGroup(check, group, byKey, violations)
}

/** Writes of one batch to one partition. */
function checkGroup(
  check: BatchCheck,
  group: readonly Write[],
  byKey: ReadonlyMap<string, readonly Write[]>,
  violations: Violations,
): void {
  // A tombstone has nothing by which its call would be known.
  const witness = group.find(
    ({ key, value }) => value !== undefined && recordAt(check, key)?.value === value,
  )
  if (witness === undefined) return
  const { version } = recordAt(check, witness.key)!
  const lacking = group.filter(({ key }) => !wasStored(check, key, version, byKey.get(key)!))
  const [first] = lacking
  if (first === undefined) return
  const what = `${describeWrite(witness)} is there; ${lacking.length} are not`
  violations.add(PROMISE, `${what}, as ${describeWrite(first)}`)
}

/** Something of this version or a later one. */
function wasStored(
  { history, nowMs, ...check }: BatchCheck,
  key: string,
  version: string,
  writes: readonly Write[],
): boolean {
  const record = recordAt(check, key)
  if (record !== undefined) return record.version >= version
  if (history.tombstones.wasDeleted(key, version, Number.POSITIVE_INFINITY)) return true
  const expired = writes.filter(write => write.value !== undefined && mayBeGone(write, nowMs))
  return expired.some(write => (write.version ?? '') >= version)
}

function recordAt(
  { replicas, ownersOf }: Pick<BatchCheck, 'replicas' | 'ownersOf'>,
  key: string,
): StoredRecord | undefined {
  const [owner] = ownersOf(key)
  return owner === undefined ? undefined : replicas.get(owner)?.get(key)
}
