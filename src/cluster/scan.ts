/**
 * What a scan over partitions is asked for and what it delivers, and the one way in which scans
 * look for entries: leaping over partitions that have none in the range.
 */
import type { ClientIdentity } from '../fair-queue.ts'
import type { Snapshot } from '../key-value-store.ts'
import {
  afterPartition,
  beforePartition,
  type EngineRange,
  enginePartition,
  engineUserKey,
  isNodeKey,
  type KeyBounds,
} from './partition.ts'
import type { Store } from './store.ts'
import type { TimeSlice } from './time-slice.ts'

export interface ScanRequest {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
  readonly reverse: boolean
  readonly keysOnly: boolean
  /** From an earlier page of an unordered scan, to go on after it. */
  readonly cursor: Uint8Array | undefined
  /** Whom the scan is for: long work is divided between clients. Absent: a client of its own. */
  readonly client?: ClientIdentity | undefined
}

export interface ScanPage {
  readonly keys: readonly Uint8Array[]
  /** As many as keys, or none when only keys were asked for. */
  readonly values: readonly Uint8Array[]
  readonly cursor: Uint8Array | undefined
  readonly done: boolean
}

/** A scan in progress, of one frozen state. */
export interface PartitionScan {
  /** At most so many entries and about so many bytes; at least one entry unless done. */
  next(entriesMax: number, bytesMax: number): Promise<ScanPage>
  /** Releases what the scan holds. Idempotent. */
  close(): void
}

/** Where scans read from. */
export interface ScanSource {
  readonly store: Store
  readonly snapshot: Snapshot
  readonly bounds: KeyBounds
  readonly reverse: boolean
}

export interface FoundEntry {
  readonly partition: number
  readonly engineKey: Uint8Array
  readonly stored: Uint8Array
}

/**
 * The first entry inside the bounds in the partitions from `first` to `last`, both included, in
 * scan direction (`first` is the higher one of a reverse scan). Takes about one seek for every
 * partition that holds anything, and none for those that do not.
 */
export async function findEntry(
  source: ScanSource,
  first: number,
  last: number,
  slice: TimeSlice,
): Promise<FoundEntry | undefined> {
  const { store, snapshot, bounds, reverse } = source
  const step = reverse ? -1 : 1
  const end = endOf(last, reverse)
  let partition = first
  let begin = beginOf(bounds, partition, reverse)
  while ((last - partition) * step >= 0) {
    if (slice.isOver) await slice.pause()
    const one = { reverse, keysOnly: false, countMax: 1, bytesMax: 1, snapshot }
    const read = store.readRange({ ...begin, ...end, ...one })
    const { keys, values } = read instanceof Promise ? await read : read
    const engineKey = keys[0]
    if (engineKey === undefined) return undefined
    if (isNodeKey(engineKey)) {
      begin = reverse ? { lt: engineKey } : { gt: engineKey }
      continue
    }
    const found = enginePartition(engineKey)
    const place = bounds.locate(engineUserKey(engineKey))
    if (place === 0) return { partition: found, engineKey, stored: values[0]! }
    // Before the range in its partition: seek to where the range begins in it. Beyond: go on.
    partition = place * step < 0 ? found : found + step
    begin = beginOf(bounds, partition, reverse)
  }
  return undefined
}

function beginOf(bounds: KeyBounds, partition: number, reverse: boolean): EngineRange {
  if (partition < 0 || partition > 0xffff) return {}
  return reverse ? bounds.upperIn(partition) : bounds.lowerIn(partition)
}

function endOf(partition: number, reverse: boolean): EngineRange {
  return reverse ? { gt: beforePartition(partition) } : { lt: afterPartition(partition) }
}
