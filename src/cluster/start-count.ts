/**
 * How often a node was started as a member of a cluster, under its node key: what tells the later
 * of two processes that are the same node.
 *
 *   starts := form u8 (1) | count u48, big-endian
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const STARTS_FORM = 1
const STARTS_SIZE = 7

/**
 * Counts this start; resolves to its number, from 1, once that is fsynced. Nobody may hear of the
 * node before. `path` is the directory, for messages.
 */
export async function countStart(store: Store, path: string): Promise<number> {
  const record = await store.read(nodeKey(NodeKey.starts))
  const count = (record === undefined ? 0 : decodeStarts(record, path)) + 1
  const put = { key: nodeKey(NodeKey.starts), value: encodeStarts(count), expiryMs: 0 }
  await store.write([{ type: 'put', ...put }], { durability: 'sync' })
  return count
}

function encodeStarts(count: number): Uint8Array {
  const record = new Uint8Array(STARTS_SIZE)
  record[0] = STARTS_FORM
  writeUint48(record, 1, count)
  return record
}

function decodeStarts(record: Uint8Array, path: string): number {
  if (record[0] !== undefined && record[0] > STARTS_FORM) {
    throw new VersionMismatchError(
      `${path}: the count of starts has form ${record[0]}, this build reads up to ${STARTS_FORM}`,
    )
  }
  if (record.length === STARTS_SIZE && record[0] === STARTS_FORM) return readUint48(record, 1)
  throw new CorruptionError({ path: `${path}/start count`, offset: 0 }, 'not a count of starts')
}
