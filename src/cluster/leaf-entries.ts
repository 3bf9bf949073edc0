/**
 * Reads the entries of some leaves of a partition, in the order of their keys. What cannot be read
 * or may be purged is passed over, as in the trees.
 */
import { DecodeError } from '../bytes.ts'
import { afterPartition, beforePartition, engineUserKey, joinEngineKey } from './partition.ts'
import { hasLeaf, leafOf } from './partition-tree.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import type { TimeSlice } from './time-slice.ts'
import { purgeTimeMs } from './versioned-value.ts'

const CHUNK_COUNT = 128
const CHUNK_BYTES = 256 * 1024

export interface LeafRange {
  readonly partition: number
  /** leafSet() of those wanted. */
  readonly leaves: Uint8Array
  /** User key behind which to begin; undefined for the first. */
  readonly after: Uint8Array | undefined
  /** The last user key wanted; undefined for all. */
  readonly upTo: Uint8Array | undefined
  /** What may be purged: versions before that time. */
  readonly markMs: number
}

/** Borrows what it yields to nobody: keys and forms are the caller's own. */
export async function* leafEntries(
  { store }: PartitionedStore,
  range: LeafRange,
  slice: TimeSlice,
): AsyncGenerator<StoredEntry> {
  const { partition, leaves, after, upTo, markMs } = range
  const upper =
    upTo === undefined ? { lt: afterPartition(partition) } : { lte: joinEngineKey(partition, upTo) }
  let gt = after === undefined ? beforePartition(partition) : joinEngineKey(partition, after)
  for (let done = false; !done; ) {
    if (slice.isOver) await slice.pause()
    const chunk = await store.readRange({
      ...upper,
      gt,
      reverse: false,
      keysOnly: false,
      countMax: CHUNK_COUNT,
      bytesMax: CHUNK_BYTES,
    })
    for (const [at, engineKey] of chunk.keys.entries()) {
      const userKey = engineUserKey(engineKey)
      if (!hasLeaf(leaves, leafOf(userKey, 0, userKey.length))) continue
      const stored = chunk.values[at]!
      if (isKept(stored, markMs)) yield { engineKey, stored }
    }
    gt = chunk.keys.at(-1) ?? gt
    done = chunk.done
  }
}

function isKept(stored: Uint8Array, markMs: number): boolean {
  try {
    return purgeTimeMs(stored, 0, stored.length) >= markMs
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}
