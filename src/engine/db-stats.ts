/** What stats() tells of a database: plain numbers, all of them counted since it was opened. */
import type { StallStats } from './stalls.ts'
import type { WalHoldStats } from './wal-segments.ts'
import type { WriteRefusal } from './write-refusal.ts'

export interface LevelStats {
  readonly tables: number
  readonly bytes: number
  readonly entries: number
  readonly tombstones: number
  readonly rangeTombstones: number
}

export interface DbRatios {
  /** Blocks that were in the cache, of those asked for. */
  readonly cacheHits: number | undefined
  /** Of the tables that lack the key, those in which the filter spared a block. */
  readonly filterUse: number | undefined
  /** Bytes written to log and tables, a byte of keys and values. */
  readonly writeAmplification: number | undefined
  /** Tables in which a block was searched, a point read. */
  readonly readAmplification: number | undefined
  /** Bytes of tables, a live one; undefined also when nothing is left live. */
  readonly spaceAmplification: number | undefined
}

export interface DbStats {
  /**
   * Bytes on disk: tables by level (0 first), which add up to `tableBytes`, and the WAL segments
   * still needed.
   */
  readonly levels: readonly LevelStats[]
  readonly tableBytes: number
  /** Of `tableBytes` those in the second directory; see DbOptions.coldDirectory. */
  readonly coldBytes: number
  /**
   * Estimates that add up to `tableBytes`. Live are tables whose keys no deeper table spans, less
   * an entry of mean size for each deletion in the rest. The rest counts as dead: it replaces or
   * deletes what is deeper, or is new. What a deleted range hides of the tables at its ends counts
   * as live until a compaction drops it.
   */
  readonly liveBytes: number
  readonly deadBytes: number
  readonly walBytes: number
  /** Segments beyond those, which are on disk for who holds them; see Db.holdWal. */
  readonly walHolds: WalHoldStats
  readonly sequence: number
  readonly snapshots: number
  /**
   * Bytes in memory: `total` is the sum of the consumers behind it, `budget` what they may take
   * together: DbOptions.memoryBudget, which says when it is exceeded.
   */
  readonly memory: {
    readonly budget: number
    readonly total: number
    readonly memtables: number
    /** Of flushed memtables, kept for the next ones. */
    readonly spareMemtables: number
    readonly blockCache: number
    /** Large blocks on their way to reads, and those of reads that the cache does not take. */
    readonly largeBlocks: number
    /** Indices, filters and range tombstones of open tables. */
    readonly tables: number
    /** Writes that wait. */
    readonly writeQueue: number
    /** Set aside for what flushes and compactions read and write. */
    readonly jobs: number
  }
  readonly writes: {
    readonly operations: number
    readonly groups: number
    readonly syncs: number
    readonly queuedBytes: number
    /** Bytes of keys and values that were written, and of the log that took them. */
    readonly userBytes: number
    readonly walBytes: number
  }
  readonly reads: {
    readonly points: number
    readonly memtableHits: number
    readonly waits: number
    readonly ranges: number
    readonly cacheHits: number
    readonly cacheMisses: number
    /** Tables that point reads asked: the three below together. */
    readonly tableProbes: number
    /** The bloom filter knew that the key is not there. */
    readonly filterNegatives: number
    readonly tableHits: number
    /** A block was searched in vain: the filter erred, or was not asked after 64 hits in a row. */
    readonly tableMisses: number
  }
  readonly flushes: { readonly count: number; readonly bytesWritten: number }
  readonly compactions: {
    readonly count: number
    readonly moves: number
    readonly running: number
    readonly bytesRead: number
    readonly bytesWritten: number
    /** Bytes by which levels exceed their target. */
    readonly debt: number
  }
  /**
   * Why writes are refused while reads go on: `space` (the disk is full), `files` (no more may be
   * open), `failure` (the disk, or work in the background, keeps failing; the log tells more).
   * Undefined while they are taken. A shortage counts as over when the next write has succeeded.
   */
  readonly writesRefusedFor: WriteRefusal | undefined
  /** Writers held back: how often, for how long, and why. */
  readonly stalls: StallStats
  /** What the counts above come to; undefined while there is nothing to divide by. */
  readonly ratios: DbRatios
  /** Milliseconds that opening took, and what the recovery found. */
  readonly recovery: {
    readonly elapsedMs: number
    readonly walSegments: number
    readonly entries: number
    /** Bytes of a torn tail that were dropped; they were never acknowledged. */
    readonly droppedBytes: number
  }
}
