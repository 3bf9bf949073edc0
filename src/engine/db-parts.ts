/** What an open database is made of, and the options that only an embedded one has. */
import type { Clock } from '../clock.ts'
import type { BytesInput, Durability, ReadOptions, WriteOptions } from '../key-value-store.ts'
import type { ChangeFeeds } from './change-feed.ts'
import type { DbStats } from './db-stats.ts'
import type { DbEventListener } from './event-stream.ts'
import type { Maintenance } from './maintenance.ts'
import type { PointReads } from './point-reads.ts'
import type { RangeReads } from './range-reads.ts'
import type { RangeSizes } from './range-sizes.ts'
import type { TreeState } from './tree-state.ts'
import type { WalHold } from './wal-hold.ts'
import type { WriteQueue } from './write-queue.ts'
import type { WriteRefusal } from './write-refusal.ts'

/** The parts of an open database, built by open.ts. */
export interface DbParts {
  readonly durability: Durability
  readonly clock: Clock
  readonly state: TreeState
  readonly writes: WriteQueue
  readonly pointReads: PointReads
  readonly rangeReads: RangeReads
  readonly maintenance: Maintenance
  readonly listen: (listener: DbEventListener) => () => void
  readonly setPurgeBound: (sequence: number) => void
  readonly changes: ChangeFeeds
  readonly holdWal: (sequence: number) => WalHold
  readonly openingHold: WalHold | undefined
  readonly rangeSizes: RangeSizes
  readonly stats: () => DbStats
  readonly refusedFor: () => WriteRefusal | undefined
  /** Lets nobody wait any more for work that keeps failing. */
  readonly beginClosing: () => void
  /** Releases everything; called once, after the writes have drained. */
  readonly close: () => Promise<void>
}

/** Options of reads that answer within the call. */
export type SyncReadOptions = Pick<ReadOptions, 'snapshot'>

/** Options of writes that only an embedded database has. */
export interface BatchOptions extends WriteOptions {
  /**
   * Bytes that mean something to the caller only. They go into the log with the batch, all or
   * nothing, are never read or indexed, and go when the log goes: `onLogData` of a later `open`
   * gets them back for as long as the log holds the batch.
   */
  readonly logData?: BytesInput
}

/** What the hot paths of writing take. */
export interface CommitOptions {
  readonly durability?: Durability | undefined
  readonly logData?: Uint8Array | undefined
}
