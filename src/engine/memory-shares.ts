/** How the parts of a database share its memory budget. */
import type { ResolvedDbOptions } from './options.ts'

/**
 * A memtable's hash index has a slot of 4 bytes and a bit for every 32 bytes of arena, rounded up
 * at most 2x, and there are 4 bytes for every entry.
 */
const MEMTABLE_INDEX_SHARE = 49 / 128
/** Bytes of a memtable a byte of its arena. */
const PER_ARENA = 1 + MEMTABLE_INDEX_SHARE
/** The block cache gets at least this share of the budget, however large the memtables are. */
const CACHE_SHARE_MIN = 1 / 4
/**
 * What a thread that flushes or compacts holds beyond an idle one: buffers (job-worker.ts),
 * compiled code, its young objects. At the cost of the block cache.
 */
const JOB_THREAD_BYTES = 28 * 1024 * 1024
/** All of them get no more than this share of the budget. */
const JOB_SHARE_MAX = 7 / 32
/**
 * Writes that wait may hold this share of the budget, at the cost of the block cache, or so many
 * bytes where the budget is small. A single batch is always taken.
 */
const QUEUE_SHARE = 1 / 2
const QUEUED_BYTES_MIN = 8 * 1024 * 1024
/** So may what a full disk keeps in memory of the log, where memtables may not take more anyway. */
const REPLAYED_SHARE = 1 / 2

/** Bytes for the threads that flush and compact. */
export function jobBudget({ memoryBudget, compactionThreads }: ResolvedDbOptions): number {
  const wanted = (1 + compactionThreads) * JOB_THREAD_BYTES
  return Math.floor(Math.min(wanted, memoryBudget * JOB_SHARE_MAX))
}

/** Bytes for cached blocks, filters and indices. */
export function cacheBudget(options: ResolvedDbOptions): number {
  const { memoryBudget, memtableSize } = options
  const rest = memoryBudget - frozenBudget(options) - memtableSize * PER_ARENA - jobBudget(options)
  return Math.floor(Math.max(rest, memoryBudget * CACHE_SHARE_MIN))
}

/** Bytes of memtables that wait for their flush. */
export function frozenBudget({ memtableSize, frozenMemtablesMax }: ResolvedDbOptions): number {
  return frozenMemtablesMax * memtableSize * PER_ARENA
}

/** Memtables in which a log may be kept that cannot be put into tables. */
export function replayedMemtablesMax(options: ResolvedDbOptions): number {
  const { memoryBudget, memtableSize, frozenMemtablesMax } = options
  // Packed anew it may take one more than it did.
  return Math.max(frozenMemtablesMax + 2, (memoryBudget * REPLAYED_SHARE) / memtableSize)
}

/** Bytes of writes that wait, at most. */
export function queuedBytesMax({ memoryBudget }: ResolvedDbOptions): number {
  return Math.max(QUEUED_BYTES_MIN, memoryBudget * QUEUE_SHARE)
}
