/**
 * The durable high-water mark of the node's clock (hybrid-logical-clock.ts), under its node key.
 *
 *   mark := form u8 (1) | mark u48
 *         | form u8 (2) | mark u48 | stored u48     big-endian, ms since the Unix epoch
 *
 * `stored` is the time up to which versions may be stored, where that is later than the mark: what
 * others made by a clock that was far ahead, or this node itself before its clock was set back.
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const MARK_FORM = 1
const MARK_SIZE = 7
const STORED_FORM = 2
const STORED_SIZE = 13

/** Both in milliseconds since the Unix epoch. */
export interface ClockMarks {
  readonly markMs: number
  /** At least the mark. */
  readonly storedMs: number
}

export function encodeClockMark({ markMs, storedMs }: ClockMarks): Uint8Array {
  const hasStored = storedMs > markMs
  const record = new Uint8Array(hasStored ? STORED_SIZE : MARK_SIZE)
  record[0] = hasStored ? STORED_FORM : MARK_FORM
  writeUint48(record, 1, markMs)
  if (hasStored) writeUint48(record, MARK_SIZE, storedMs)
  return record
}

/** What the last process left, or 0. `path` is the directory, for messages. */
export async function readClockMark(store: Store, path: string): Promise<ClockMarks> {
  const record = await store.read(nodeKey(NodeKey.clock))
  if (record === undefined) return { markMs: 0, storedMs: 0 }
  const [form] = record
  if (form !== undefined && form > STORED_FORM) {
    throw new VersionMismatchError(
      `${path}: the clock record has form ${form}, this build reads up to ${STORED_FORM}`,
    )
  }
  if (form === MARK_FORM && record.length === MARK_SIZE) {
    const markMs = readUint48(record, 1)
    return { markMs, storedMs: markMs }
  }
  if (form === STORED_FORM && record.length === STORED_SIZE) {
    return { markMs: readUint48(record, 1), storedMs: readUint48(record, MARK_SIZE) }
  }
  throw new CorruptionError({ path: `${path}/clock record`, offset: 0 }, 'not a clock record')
}

/** Resolves once both are fsynced. */
export function writeClockMark(store: Store, marks: ClockMarks): Promise<void> {
  const put = { key: nodeKey(NodeKey.clock), value: encodeClockMark(marks), expiryMs: 0 }
  return store.write([{ type: 'put', ...put }], { durability: 'sync' })
}
