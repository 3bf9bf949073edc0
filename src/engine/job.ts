/**
 * Background jobs as plain data, so that they cross to a worker thread: flush a frozen memtable,
 * or merge tables into the next level. runJob executes either with synchronous file calls, on
 * whichever thread the Executor gave it.
 *
 * A job only creates files. It never deletes or publishes anything: the main thread installs its
 * result in the MANIFEST, or removes the files when the job failed.
 */
import type { BlockCodec } from './block-codec.ts'
import type { MaintenanceThread } from './maintenance-job.ts'
import type { ArenaOrder } from './memtable-arena.ts'
import type { TableMetadata } from './table-metadata.ts'

/** How tables are written. */
export interface TableOptions {
  /** Bytes of a data block before it is cut. */
  readonly blockSize: number
  /** Bits of bloom filter a key; 0 for none. */
  readonly filterBitsPerKey: number
  /** How data blocks are stored. @defaultValue BlockCodec.none */
  readonly codec?: BlockCodec
}

interface JobCommon {
  readonly directory: string
  /** The second directory in which tables may be; see cold-tier.ts. */
  readonly coldDirectory?: string | undefined
  /** Where outputs go. @defaultValue directory */
  readonly outputDirectory?: string | undefined
  /** File numbers [first, first + count) are reserved for this job's outputs. */
  readonly firstFileNumber: number
  readonly fileNumberCount: number
  readonly tableOptions: TableOptions
  /**
   * Sequences of the snapshots that are alive, ascending, without the newest state. Of each key the
   * newest version at or below each of them survives.
   */
  readonly snapshots: Float64Array
  /** Milliseconds since the Unix epoch for expiry; never runs backwards between jobs. */
  readonly wallMs: number
  /** Word 0 becomes non-zero when the job should stop early. Shared with the main thread. */
  readonly cancel: Int32Array
}

export interface FlushJob extends JobCommon {
  readonly kind: 'flush'
  /** The frozen memtable's arena; see memtable.ts. */
  readonly arena: SharedArrayBuffer
  /** How its entries stand; `arrival` is how recovery leaves them. */
  readonly order: ArenaOrder
  /**
   * No key of anything older is larger; undefined when there is nothing older. Range tombstones end
   * behind it, or behind the memtable's own last key.
   */
  readonly largestKey: Uint8Array | undefined
}

export interface CompactionJob extends JobCommon {
  readonly kind: 'compaction'
  /** Runs of tables; each run is sorted and does not overlap itself, newest run first. */
  readonly runs: readonly (readonly TableMetadata[])[]
  readonly outputLevel: number
  /** Bytes of an output table before the next one begins. */
  readonly tableSizeTarget: number
  /**
   * Tables of deeper levels than the output that overlap the inputs, ascending by smallest key:
   * a tombstone is dropped only where none of them can hold its key.
   */
  readonly deeper: readonly { readonly smallestKey: Uint8Array; readonly largestKey: Uint8Array }[]
  /** Tombstones with a sequence at or above this bound are kept. Infinity for no bound. */
  readonly tombstonePurgeBound: number
  /** Leaves out blocks that cannot be read, and tells of them, in place of failing. */
  readonly salvage?: boolean
}

export type Job = FlushJob | CompactionJob

/** Keys of which entries may be lost: both ends may be among them. */
export interface LostRange {
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
}

export interface JobResult {
  /** Ascending by smallest key, durable: each file and the directory were synced. */
  readonly tables: readonly TableMetadata[]
  /** Entries, without range tombstones. */
  readonly entriesRead: number
  readonly entriesWritten: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly elapsedMs: number
  /** What stood in blocks that were left out, where the job allowed it. */
  readonly lost?: readonly LostRange[]
}

/**
 * Runs jobs. In production each on a worker thread; inline, in a later turn, in tests and in the
 * simulation. Rejects with the job's own error, or with AbortedError after `cancel`.
 */
export interface Executor {
  /** Gets ready for a first job that will come soon, where that takes time. */
  prepare(): void
  run(job: Job): Promise<JobResult>
  /** A thread for long work, which the caller closes after it. */
  startMaintenance(): MaintenanceThread
  /** Waits for running jobs and releases the threads. Idempotent. */
  close(): Promise<void>
}
