/**
 * What the disk of a node holds, read past everything that a node does: the engine is opened on a
 * copy of the disk, as after `kill -9`, and everything that is no record of the node's own is read.
 */
import { utf8Decode } from '../../../src/bytes.ts'
import type { Clock } from '../../../src/clock.ts'
import {
  checkStored,
  isTombstone,
  liveValue,
  storedVersion,
} from '../../../src/cluster/versioned-value.ts'
import { InlineExecutor, openInEnvironment } from '../../../src/engine/index.ts'
import type { Hasher } from '../../../src/hash.ts'
import { seededRandom } from '../../../src/random.ts'
import type { MemoryFileSystem } from '../memory-file-system.ts'
import { NODE_DIRECTORY, NODE_TUNING } from './node-tuning.ts'

export interface StoredRecord {
  /** 32 hexadecimal digits. */
  readonly version: string
  /** Undefined for a tombstone. */
  readonly value: string | undefined
  /** The stored form in hexadecimal digits: what replicas must agree on. */
  readonly bytes: string
}

/** By user key. */
export type ReplicaState = ReadonlyMap<string, StoredRecord>

const PARTITION_SIZE = 2
/** Records under it belong to the node itself. */
const RESERVED_PARTITION = 0xffff

/** A time that stands still: nothing here waits. */
const STOPPED: Clock = { monotonicMs: () => 0, wallMs: () => 0, setTimer: () => () => undefined }

export async function readReplica(disk: MemoryFileSystem, hasher: Hasher): Promise<ReplicaState> {
  const fileSystem = disk.processCrashClone(undefined, {})
  const state = new Map<string, StoredRecord>()
  const executor = new InlineExecutor({ fileSystem, hasher, clock: STOPPED })
  const environment = { fileSystem, executor, clock: STOPPED, random: seededRandom(1), hasher }
  const options = { ...NODE_TUNING, createIfMissing: false }
  const db = await openInEnvironment(NODE_DIRECTORY, options, environment)
  for await (const [key, stored] of db.entries()) {
    if (key.length <= PARTITION_SIZE) continue
    if (key[0]! * 256 + key[1]! === RESERVED_PARTITION) continue
    state.set(utf8Decode(key.subarray(PARTITION_SIZE)), recordOf(stored))
  }
  await db.close()
  return state
}

function recordOf(stored: Uint8Array): StoredRecord {
  checkStored(stored)
  const value = isTombstone(stored) ? undefined : liveValue(stored, 0)
  return {
    version: Buffer.from(storedVersion(stored)).toString('hex'),
    value: value === undefined ? undefined : utf8Decode(value),
    bytes: Buffer.from(stored).toString('hex'),
  }
}
