/**
 * Merges runs of tables into new tables for one level, leaving out what nobody can see any more.
 */
import { assert } from '../assert.ts'
import { CorruptionError } from '../errors.ts'
import type { Cursor } from './cursor.ts'
import type { CompactionJob, JobResult } from './job.ts'
import { checkCancelled } from './job-cancel.ts'
import { LevelCursor } from './level-cursor.ts'
import { mergeCursors } from './merging-cursor.ts'
import { TABLE_RANGES_MAX } from './output-count.ts'
import { neededRanges, rangesOfRuns } from './range-compaction.ts'
import type { RangeFragments } from './range-fragment.ts'
import { ReadAheadSource } from './read-ahead-source.ts'
import type { JobEnvironment } from './run-job.ts'
import { SalvageSource } from './salvage-source.ts'
import { TableOutputs } from './table-outputs.ts'
import { tieredFileSystem } from './tiered-file-system.ts'
import { VersionFilter } from './version-filter.ts'

/** Runs the job on the calling thread. Every input block is verified on the way. */
export function runCompactionJob(job: CompactionJob, environment: JobEnvironment): JobResult {
  const { fileSystem, hasher, clock, buffers } = environment
  const startMs = clock.monotonicMs()
  const { directory, coldDirectory, outputDirectory = directory } = job
  const inputs = tieredFileSystem(fileSystem, directory, coldDirectory)
  const salvage = job.salvage === true && new SalvageSource(inputs, directory, hasher, { buffers })
  const source =
    salvage || new ReadAheadSource(inputs, directory, hasher, { buffers, scanOnly: true })
  let outputs: TableOutputs | undefined
  try {
    const ranges = rangesOfRuns(job, source)
    const targets = { tableSize: job.tableSizeTarget, rangeCount: TABLE_RANGES_MAX }
    const place = { ...job, directory: outputDirectory }
    const needed = neededRanges(ranges, job)
    outputs = new TableOutputs(fileSystem, hasher, place, targets, needed, buffers)
    const merged = mergeCursors(job.runs.map(run => new LevelCursor(run, source)))
    const entriesRead = copyVisible(job, merged, ranges, outputs)
    const lost = salvage ? salvage.lost : []
    checkEntryCount(job, entriesRead, lost.length > 0)
    const tables = outputs.finish()
    return {
      tables,
      entriesRead,
      entriesWritten: outputs.entryCount,
      bytesRead: source.bytesRead,
      bytesWritten: outputs.bytesWritten,
      elapsedMs: clock.monotonicMs() - startMs,
      lost,
    }
  } finally {
    source.close()
    outputs?.abandon()
  }
}

/** Copies what is still needed and returns how many entries there were. */
function copyVisible(
  job: CompactionJob,
  merged: Cursor,
  ranges: RangeFragments,
  outputs: TableOutputs,
): number {
  const purge = { deeper: job.deeper, bound: job.tombstonePurgeBound, wallMs: job.wallMs }
  const filter = new VersionFilter(job.snapshots, purge, ranges)
  let readCount = 0
  let droppedCount = 0
  for (merged.seekToFirst(); merged.valid; merged.next()) {
    checkCancelled(job.cancel, readCount)
    readCount++
    const isKept = filter.keeps(merged)
    if (filter.order >= 0) throw damage(job, 'entries are out of order')
    if (isKept) outputs.add(merged, filter.isNewKey)
    else droppedCount++
  }
  assert(readCount === outputs.entryCount + droppedCount, 'every entry is written or left out')
  return readCount
}

function checkEntryCount(job: CompactionJob, entriesRead: number, hasLost: boolean): void {
  let expected = 0
  for (const run of job.runs) for (const table of run) expected += table.entryCount
  if (hasLost ? entriesRead > expected : entriesRead !== expected) {
    throw damage(job, `${entriesRead} entries were read instead of ${expected}`)
  }
}

/** Damage that no checksum told of, somewhere in the inputs. */
function damage(job: CompactionJob, what: string): CorruptionError {
  const numbers = job.runs.flat().map(table => table.fileNumber)
  return new CorruptionError(
    { path: job.directory, offset: 0 },
    `${what} in the tables ${numbers.join(', ')}`,
  )
}
