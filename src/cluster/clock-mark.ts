/**
 * The durable high-water mark of the node's clock (hybrid-logical-clock.ts), under its node key.
 *
 *   mark := form u8 (1) | mark u48, big-endian, ms since the Unix epoch
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const MARK_FORM = 1
const MARK_SIZE = 7

export function encodeClockMark(markMs: number): Uint8Array {
  const record = new Uint8Array(MARK_SIZE)
  record[0] = MARK_FORM
  writeUint48(record, 1, markMs)
  return record
}

/** The mark that the last process left, or 0. `path` is the directory, for messages. */
export async function readClockMark(store: Store, path: string): Promise<number> {
  const record = await store.read(nodeKey(NodeKey.clock))
  if (record === undefined) return 0
  if (record[0] !== undefined && record[0] > MARK_FORM) {
    throw new VersionMismatchError(
      `${path}: the clock record has form ${record[0]}, this build reads up to ${MARK_FORM}`,
    )
  }
  if (record.length !== MARK_SIZE || record[0] !== MARK_FORM) {
    throw new CorruptionError({ path: `${path}/clock record`, offset: 0 }, 'not a clock record')
  }
  return readUint48(record, 1)
}

/** Resolves once the mark is fsynced. */
export function writeClockMark(store: Store, markMs: number): Promise<void> {
  const put = { key: nodeKey(NodeKey.clock), value: encodeClockMark(markMs), expiryMs: 0 }
  return store.write([{ type: 'put', ...put }], { durability: 'sync' })
}
