/** What the engine's statistics are to monitoring. Totals count since the node was started. */
import type { DbStats } from '../engine/index.ts'
import { byLabel, counter, gauge, type MetricFamily } from '../net/index.ts'

const PREFIX = 'duramen_engine_'
const MS_PER_S = 1000

export function engineMetrics(stats: DbStats): MetricFamily[] {
  return [
    ...storageMetrics(stats),
    ...writeMetrics(stats),
    ...readMetrics(stats),
    ...backgroundMetrics(stats),
  ]
}

function storageMetrics({ levels, memory, ...stats }: DbStats): MetricFamily[] {
  const ofLevels = (value: (level: (typeof levels)[number]) => number) =>
    levels.map((level, at) => ({ labels: { level: String(at) }, value: value(level) }))
  const { budget, total: _, ...consumers } = memory
  return [
    gauge(
      `${PREFIX}tables`,
      'Tables on disk, by level.',
      ofLevels(level => level.tables),
    ),
    gauge(
      `${PREFIX}table_bytes`,
      'Bytes of tables, by level.',
      ofLevels(level => level.bytes),
    ),
    gauge(
      `${PREFIX}table_entries`,
      'Entries in tables.',
      ofLevels(level => level.entries),
    ),
    gauge(
      `${PREFIX}tombstones`,
      'Tombstones in tables.',
      ofLevels(level => level.tombstones),
    ),
    gauge(`${PREFIX}cold_bytes`, 'Bytes of tables in the second directory.', stats.coldBytes),
    gauge(`${PREFIX}live_bytes`, 'Bytes of tables that are live, estimated.', stats.liveBytes),
    gauge(`${PREFIX}wal_bytes`, 'Bytes of the log that a start would read.', stats.walBytes),
    gauge(`${PREFIX}snapshots`, 'Snapshots that are open.', stats.snapshots),
    gauge(`${PREFIX}memory_bytes`, 'Memory, by what takes it.', byLabel('consumer', consumers)),
    gauge(`${PREFIX}memory_budget_bytes`, 'What memtables, cache and tables may take.', budget),
  ]
}

function writeMetrics({ writes, stalls, writesRefusedFor }: DbStats): MetricFamily[] {
  const byReason = Object.entries(stalls.byReason)
  const reasons = ['space', 'files', 'failure'] as const
  const refused = Object.fromEntries(reasons.map(why => [why, Number(why === writesRefusedFor)]))
  const count = byReason.map(([reason, { count }]) => ({ labels: { reason }, value: count }))
  const seconds = byReason.map(([reason, { totalMs }]) => {
    return { labels: { reason }, value: totalMs / MS_PER_S }
  })
  return [
    counter(`${PREFIX}writes_total`, 'Operations that were written.', writes.operations),
    counter(`${PREFIX}write_groups_total`, 'Group commits.', writes.groups),
    counter(`${PREFIX}wal_syncs_total`, 'Times that the log was synced.', writes.syncs),
    counter(`${PREFIX}wal_written_bytes_total`, 'Bytes written to the log.', writes.walBytes),
    counter(`${PREFIX}user_written_bytes_total`, 'Bytes of keys and values.', writes.userBytes),
    gauge(`${PREFIX}write_queue_bytes`, 'Bytes of writes that wait.', writes.queuedBytes),
    gauge(
      `${PREFIX}writes_refused`,
      'Whether writes are refused, by reason; reads go on.',
      byLabel('reason', refused),
    ),
    counter(`${PREFIX}write_stalls_total`, 'Group commits held back, by reason.', count),
    counter(`${PREFIX}write_stall_seconds_total`, 'For how long, by reason.', seconds),
  ]
}

function readMetrics({ reads }: DbStats): MetricFamily[] {
  const { filterNegatives, tableHits, tableMisses } = reads
  const probes = { filtered: filterNegatives, found: tableHits, missed: tableMisses }
  return [
    counter(`${PREFIX}reads_total`, 'Point reads.', reads.points),
    counter(`${PREFIX}range_reads_total`, 'Range reads.', reads.ranges),
    counter(
      `${PREFIX}memtable_hits_total`,
      'Point reads that memory answered.',
      reads.memtableHits,
    ),
    counter(`${PREFIX}block_cache_hits_total`, 'Blocks found in the cache.', reads.cacheHits),
    counter(`${PREFIX}block_cache_misses_total`, 'Blocks read from disk.', reads.cacheMisses),
    counter(
      `${PREFIX}table_probes_total`,
      'Tables that point reads asked: spared by the filter, found, searched in vain.',
      byLabel('result', probes),
    ),
  ]
}

function backgroundMetrics({ flushes, compactions }: DbStats): MetricFamily[] {
  const bytes = { read: compactions.bytesRead, written: compactions.bytesWritten }
  return [
    counter(`${PREFIX}flushes_total`, 'Memtables written to tables.', flushes.count),
    counter(`${PREFIX}flush_bytes_total`, 'Bytes of those tables.', flushes.bytesWritten),
    counter(`${PREFIX}compactions_total`, 'Compactions.', compactions.count),
    counter(`${PREFIX}compaction_moves_total`, 'Tables moved unread.', compactions.moves),
    counter(`${PREFIX}compaction_bytes_total`, 'Bytes compacted.', byLabel('direction', bytes)),
    gauge(`${PREFIX}compactions_running`, 'Compactions under way.', compactions.running),
    gauge(
      `${PREFIX}compaction_debt_bytes`,
      'Bytes by which levels exceed their targets.',
      compactions.debt,
    ),
  ]
}
