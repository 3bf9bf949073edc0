/**
 * The range tombstones of a compaction: those of all inputs together hide entries of any input,
 * and those that still hide something below go to the outputs.
 *
 * A tombstone can go when
 *  - it is in the oldest stripe: all that it hides in the inputs goes with it;
 *  - no table below the output can hold a key of its fragment;
 *  - its sequence is below the purge bound, which the layer above sets.
 */
import { compareBytes } from '../bytes.ts'
import type { BlockSource } from './block-source.ts'
import type { CompactionJob } from './job.ts'
import { NO_FRAGMENTS, type RangeFragment, type RangeFragments } from './range-fragment.ts'
import { fragmentTombstones } from './range-fragmenter.ts'
import { stripeOf } from './snapshot-stripes.ts'

/** The range tombstones of all inputs, the newest of each stripe. */
export function rangesOfRuns(job: CompactionJob, source: BlockSource): RangeFragments {
  const lists = job.runs
    .flat()
    .filter(table => table.rangeTombstoneCount > 0)
    .map(table => source.open(table).ranges)
  return lists.length === 0 ? NO_FRAGMENTS : fragmentTombstones(lists.flat(), job.snapshots)
}

/** What of them the outputs need. */
export function neededRanges(ranges: RangeFragments, job: CompactionJob): RangeFragments {
  const { deeper, tombstonePurgeBound, snapshots } = job
  const needed: RangeFragment[] = []
  /** Tables of `deeper` that begin before the end of the range at hand, and their farthest end. */
  let passed = 0
  let farthest: Uint8Array | undefined
  for (const range of ranges) {
    for (; passed < deeper.length; passed++) {
      const { smallestKey, largestKey } = deeper[passed]!
      if (compareBytes(smallestKey, range.end) >= 0) break
      if (farthest === undefined || compareBytes(farthest, largestKey) < 0) farthest = largestKey
    }
    const mayHide = farthest !== undefined && compareBytes(farthest, range.start) >= 0
    const sequences = mayHide
      ? range.sequences
      : range.sequences.filter(
          sequence => sequence >= tombstonePurgeBound || stripeOf(snapshots, sequence) > 0,
        )
    if (sequences.length > 0) needed.push({ ...range, sequences })
  }
  return needed
}
