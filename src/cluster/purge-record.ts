/**
 * What a node has recorded of its purge marks (purge-marks.ts), under its node keys: of so many
 * partitions together that raising one writes little, and raising all few records.
 *
 *   node key 09           := form u8 (2)
 *   node key 09 group u8  := (mark u48 | confirmed u48) * partitions of the group      big-endian
 *   node key 09, before   := form u8 (1) | (mark u48 | confirmed u48) * partition count
 *
 * Group g has the 256 partitions from 256 g on, or as many as there are; one that has no record has
 * only zeros. What has form 1 is written anew, whole and in one write, when it is opened: from
 * then on the first record says to builds that know only that form that they cannot read it.
 *
 * Invariants:
 *  1. A record of a group lies there only with the form, so no two forms are there at once.
 *  2. Whatever belongs together is written at once: all of it is there after a crash, or nothing.
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store, StorePut } from './store.ts'

/** Part of the stored form. Never reuse a number. */
const WHOLE_FORM = 1
const GROUPS_FORM = 2
const PARTITION_BYTES = 12
const GROUP_PARTITIONS = 256

/** By partition, milliseconds since the Unix epoch; 0 for none. */
export interface PurgeTimes {
  readonly marks: Float64Array
  readonly confirmed: Float64Array
}

/**
 * Reads what an earlier process left. `path` is the directory, for messages. Rejects with
 * CorruptionError when a record is damaged, and VersionMismatchError when a later build wrote it.
 */
export async function openPurgeTimes(
  store: Store,
  count: number,
  path: string,
): Promise<PurgeTimes> {
  const times = { marks: new Float64Array(count), confirmed: new Float64Array(count) }
  const record = await store.read(nodeKey(NodeKey.purge))
  if (record === undefined) return times
  const [form] = record
  if (form !== undefined && form > GROUPS_FORM) {
    throw new VersionMismatchError(
      `${path}: the purge record has form ${form}, this build reads up to ${GROUPS_FORM}`,
    )
  }
  if (form === WHOLE_FORM && record.length >= 1 + count * PARTITION_BYTES) {
    decodeTimes(record.subarray(1), times, 0, count)
    const all = Array.from({ length: count }, (_, partition) => partition)
    await writePurgeTimes(store, times, all)
    return times
  }
  if (form !== GROUPS_FORM) throw unreadable(path)
  for (let from = 0; from < count; from += GROUP_PARTITIONS) {
    const group = await store.read(groupKey(from / GROUP_PARTITIONS))
    if (group === undefined) continue
    const size = Math.min(GROUP_PARTITIONS, count - from)
    if (group.length < size * PARTITION_BYTES) throw unreadable(path)
    decodeTimes(group, times, from, size)
  }
  return times
}

/** Writes what the groups of the partitions have; resolves once it is fsynced, all of it. */
export function writePurgeTimes(
  store: Store,
  times: PurgeTimes,
  partitions: readonly number[],
): Promise<void> {
  const groups = new Set(partitions.map(partition => Math.floor(partition / GROUP_PARTITIONS)))
  const puts = [putOf(nodeKey(NodeKey.purge), Uint8Array.of(GROUPS_FORM))]
  for (const group of groups) puts.push(putOf(groupKey(group), encodeGroup(times, group)))
  return store.write(puts, { durability: 'sync' })
}

function encodeGroup({ marks, confirmed }: PurgeTimes, group: number): Uint8Array {
  const from = group * GROUP_PARTITIONS
  const size = Math.min(GROUP_PARTITIONS, marks.length - from)
  const record = new Uint8Array(size * PARTITION_BYTES)
  for (let at = 0; at < size; at++) {
    writeUint48(record, at * PARTITION_BYTES, marks[from + at]!)
    writeUint48(record, at * PARTITION_BYTES + 6, confirmed[from + at]!)
  }
  return record
}

function decodeTimes(
  bytes: Uint8Array,
  { marks, confirmed }: PurgeTimes,
  from: number,
  size: number,
): void {
  for (let at = 0; at < size; at++) {
    marks[from + at] = readUint48(bytes, at * PARTITION_BYTES)
    confirmed[from + at] = readUint48(bytes, at * PARTITION_BYTES + 6)
  }
}

/** The node keys of all groups of so many partitions. */
export function purgeGroupKeys(count: number): Uint8Array[] {
  const groups = Math.ceil(count / GROUP_PARTITIONS)
  return Array.from({ length: groups }, (_, group) => groupKey(group))
}

function groupKey(group: number): Uint8Array {
  return Uint8Array.of(NodeKey.purge, group)
}

function putOf(key: Uint8Array, value: Uint8Array): StorePut {
  return { type: 'put', key, value, expiryMs: 0 }
}

function unreadable(path: string): CorruptionError {
  const place = { path: `${path}/purge record`, offset: 0 }
  return new CorruptionError(place, 'the record of what was purged cannot be read')
}
