/**
 * What the disk of a node holds, and what is put there before it first runs, past everything that a
 * node does: the engine is opened on the disk, or on a copy of it as after `kill -9`. Records of
 * the node's own are left out.
 */
import { utf8Decode } from '../../../src/bytes.ts'
import type { Clock } from '../../../src/clock.ts'
import { readmit } from '../../../src/cluster/readmission.ts'
import {
  checkStored,
  expiryMs,
  isTombstone,
  liveValue,
  storedVersion,
} from '../../../src/cluster/versioned-value.ts'
import { type Db, InlineExecutor, openInEnvironment } from '../../../src/engine/index.ts'
import type { Hasher } from '../../../src/hash.ts'
import { seededRandom } from '../../../src/random.ts'
import { MemoryFileSystem } from '../memory-file-system.ts'
import { NODE_DIRECTORY, NODE_TUNING } from './node-tuning.ts'

export interface StoredRecord {
  /** 32 hexadecimal digits. */
  readonly version: string
  /** Undefined for a tombstone. */
  readonly value: string | undefined
  /** When it reads as absent, in milliseconds since the Unix epoch; 0 for never. */
  readonly expiryMs: number
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
  const state = new Map<string, StoredRecord>()
  const db = await openAtOnce(disk.processCrashClone(undefined, {}), hasher)
  for await (const [key, stored] of db.entries()) {
    const userKey = userKeyOf(key)
    if (userKey !== undefined) state.set(utf8Decode(userKey), recordOf(stored))
  }
  await db.close()
  return state
}

/** Undefined for records of the node itself. */
export function userKeyOf(engineKey: Uint8Array): Uint8Array | undefined {
  if (engineKey.length <= PARTITION_SIZE) return undefined
  if (engineKey[0]! * 256 + engineKey[1]! === RESERVED_PARTITION) return undefined
  return engineKey.subarray(PARTITION_SIZE)
}

/** A disk on which a node finds these records of its own. */
export async function diskWith(
  records: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
  hasher: Hasher,
): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem()
  const db = await openAtOnce(disk, hasher)
  for (const { key, value } of records) await db.put(key, value)
  await db.close()
  return disk
}

/** The disk after the operator took it back as an old copy, at that time. */
export async function readmitted(
  disk: MemoryFileSystem,
  wallMs: number,
  hasher: Hasher,
): Promise<MemoryFileSystem> {
  const copy = disk.processCrashClone(undefined, {})
  const db = await openAtOnce(copy, hasher)
  await readmit(db, NODE_DIRECTORY, wallMs)
  await db.close()
  return copy
}

/** Opens the engine of a node on a disk that takes no time. */
function openAtOnce(fileSystem: MemoryFileSystem, hasher: Hasher): Promise<Db> {
  const executor = new InlineExecutor({ fileSystem, hasher, clock: STOPPED })
  const environment = { fileSystem, executor, clock: STOPPED, random: seededRandom(1), hasher }
  return openInEnvironment(NODE_DIRECTORY, NODE_TUNING, environment)
}

export function recordOf(stored: Uint8Array): StoredRecord {
  checkStored(stored)
  const value = isTombstone(stored) ? undefined : liveValue(stored, 0)
  return {
    version: Buffer.from(storedVersion(stored)).toString('hex'),
    value: value === undefined ? undefined : utf8Decode(value),
    expiryMs: expiryMs(stored),
    bytes: Buffer.from(stored).toString('hex'),
  }
}
