/** Writes a frozen memtable as a level-0 table. */
import type { FlushJob, JobResult } from './job.ts'
import { checkCancelled } from './job-cancel.ts'
import { MemtableArena } from './memtable-arena.ts'
import {
  endAfter,
  fragmentsBefore,
  largerKey,
  NO_FRAGMENTS,
  type RangeFragments,
} from './range-fragment.ts'
import { fragmentTombstones } from './range-fragmenter.ts'
import type { JobEnvironment } from './run-job.ts'
import { TableOutputs } from './table-outputs.ts'
import { VersionFilter } from './version-filter.ts'

/** The table of a flush is one, whatever its size. */
const TARGETS = {
  tableSize: Number.POSITIVE_INFINITY,
  rangeCount: Number.POSITIVE_INFINITY,
}

/**
 * Runs the job on the calling thread. Tombstones and expired entries stay: what they hide may be in
 * older tables.
 */
export function runFlushJob(job: FlushJob, environment: JobEnvironment): JobResult {
  const { fileSystem, hasher, clock, buffers } = environment
  const startMs = clock.monotonicMs()
  const memtable = new MemtableArena(job.arena, job.order, buffers)
  const ranges = rangesOf(memtable, job)
  const filter = new VersionFilter(job.snapshots, undefined, ranges)
  const outputs = new TableOutputs(fileSystem, hasher, job, TARGETS, ranges, buffers)
  try {
    const source = memtable.cursor()
    let entriesRead = 0
    let bytesRead = 0
    for (source.seekToFirst(); source.valid; source.next()) {
      checkCancelled(job.cancel, entriesRead)
      entriesRead++
      bytesRead += source.keyEnd - source.keyStart + source.valueEnd - source.valueStart
      if (filter.keeps(source)) outputs.add(source, filter.isNewKey)
    }
    const tables = outputs.finish()
    return {
      tables,
      entriesRead,
      entriesWritten: outputs.entryCount,
      bytesRead,
      bytesWritten: outputs.bytesWritten,
      elapsedMs: clock.monotonicMs() - startMs,
    }
  } finally {
    outputs.abandon()
    memtable.release()
  }
}

/**
 * The memtable's range tombstones, as far as there is anything that they can hide. So none is
 * without end in a table, and a table's bounds are no wider than what it is about.
 */
function rangesOf(memtable: MemtableArena, job: FlushJob): RangeFragments {
  const tombstones = memtable.ranges()
  if (tombstones.length === 0) return NO_FRAGMENTS
  const largest = largerKey(memtable.largestKey, job.largestKey)
  if (largest === undefined) return NO_FRAGMENTS
  return fragmentsBefore(fragmentTombstones(tombstones, job.snapshots), endAfter(largest))
}
