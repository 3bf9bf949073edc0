/** Adds up what the parts of an open database know of themselves. */
import type { Compactor } from './compactor.ts'
import type { DbRatios, DbStats, LevelStats } from './db-stats.ts'
import type { Flusher } from './flusher.ts'
import type { BackgroundHost } from './job-runner.ts'
import type { LiveBytes } from './live-bytes.ts'
import { jobBudget } from './memory-shares.ts'
import type { ResolvedDbOptions } from './options.ts'
import type { PointReads } from './point-reads.ts'
import type { RangeReads } from './range-reads.ts'
import type { TableCache } from './table-cache.ts'
import type { TreeState } from './tree-state.ts'
import type { Version } from './version.ts'
import type { WalReplayResult } from './wal-replay.ts'
import type { WriteQueue } from './write-queue.ts'
import type { WriteRoom } from './write-room.ts'

export interface StatsSources {
  readonly options: ResolvedDbOptions
  /** What the replay of the log counted. */
  readonly replay: WalReplayResult
  /** Milliseconds that recovery took. */
  readonly elapsedMs: number
  readonly host: BackgroundHost
  readonly state: TreeState
  readonly liveBytes: LiveBytes
  readonly tables: TableCache
  readonly writes: WriteQueue
  readonly pointReads: PointReads
  readonly rangeReads: RangeReads
  readonly flusher: Flusher
  readonly compactor: Compactor
  readonly room: WriteRoom
}

export function collectStats(sources: StatsSources): DbStats {
  const { state, tables, writes, pointReads, rangeReads, compactor, room } = sources
  const { version } = state
  const { blocks } = tables.stats
  const { reads: points, ...lookups } = pointReads.stats
  const { replay } = sources
  const { flushes, bytesWritten } = sources.flusher.stats
  const liveBytes = sources.liveBytes.of(version)
  const walBytes = room.size + state.frozen.reduce((sum, frozen) => sum + frozen.walSize, 0)
  const counts = {
    tableBytes: version.size,
    liveBytes,
    writes: { ...writes.stats, ...writtenBytes(sources, walBytes) },
    reads: {
      points,
      ...lookups,
      ranges: rangeReads.count,
      cacheHits: blocks.hits,
      cacheMisses: blocks.misses,
    },
    flushes: { count: flushes, bytesWritten },
    compactions: compactor.stats,
  }
  return {
    ...counts,
    levels: levelsOf(version),
    coldBytes: sources.host.tier?.bytesOf(version) ?? 0,
    deadBytes: version.size - liveBytes,
    walBytes,
    walHolds: sources.host.walSegments.stats,
    sequence: state.visibleSequence,
    snapshots: state.snapshots.count,
    memory: memoryOf(sources),
    writesRefusedFor: room.refusedFor,
    stalls: room.stalls,
    ratios: ratiosOf(counts),
    recovery: {
      elapsedMs: sources.elapsedMs,
      walSegments: replay.segmentCount,
      entries: replay.entryCount,
      droppedBytes: replay.tornTail?.length ?? 0,
    },
  }
}

function levelsOf(version: Version): LevelStats[] {
  return version.levels.map((level, index) => ({
    tables: level.length,
    bytes: version.levelSizes[index]!,
    entries: level.reduce((sum, table) => sum + table.entryCount, 0),
    tombstones: level.reduce((sum, table) => sum + table.tombstoneCount, 0),
    rangeTombstones: level.reduce((sum, table) => sum + table.rangeTombstoneCount, 0),
  }))
}

function memoryOf({ options, state, tables, flusher, writes }: StatsSources): DbStats['memory'] {
  const memtables = [state.memtable, ...state.frozen]
  const { blocks, tableBytes, largeBytes } = tables.stats
  const consumers = {
    memtables: memtables.reduce((sum, memtable) => sum + memtable.memorySize, 0),
    spareMemtables: flusher.spareBytes,
    blockCache: blocks.usedBytes,
    largeBlocks: largeBytes,
    tables: tableBytes,
    writeQueue: writes.stats.queuedBytes,
    jobs: jobBudget(options),
  }
  const total = Object.values(consumers).reduce((sum, bytes) => sum + bytes, 0)
  return { budget: options.memoryBudget, total, ...consumers }
}

/** What was written since the database was opened: flushed already, or in memtables. */
function writtenBytes(
  { state, flusher }: StatsSources,
  walBytes: number,
): { userBytes: number; walBytes: number } {
  const flushed = flusher.stats
  // What is in memtables then was written before.
  if (!state.isRecovered) return { userBytes: flushed.userBytes, walBytes: flushed.walBytes }
  let userBytes = flushed.userBytes
  for (const { dataSize } of [state.memtable, ...state.frozen]) userBytes += dataSize
  return { userBytes, walBytes: flushed.walBytes + walBytes }
}

type Counts = Pick<
  DbStats,
  'tableBytes' | 'liveBytes' | 'writes' | 'reads' | 'flushes' | 'compactions'
>

function ratiosOf({ reads, writes, flushes, compactions, ...bytes }: Counts): DbRatios {
  const written = writes.walBytes + flushes.bytesWritten + compactions.bytesWritten
  const { cacheHits, cacheMisses, filterNegatives, tableHits, tableMisses } = reads
  return {
    cacheHits: ratio(cacheHits, cacheHits + cacheMisses),
    filterUse: ratio(filterNegatives, filterNegatives + tableMisses),
    writeAmplification: ratio(written, writes.userBytes),
    readAmplification: ratio(tableHits + tableMisses, reads.points),
    spaceAmplification: ratio(bytes.tableBytes, bytes.liveBytes),
  }
}

function ratio(part: number, whole: number): number | undefined {
  return whole === 0 ? undefined : part / whole
}
