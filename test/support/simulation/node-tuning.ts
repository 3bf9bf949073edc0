/** Sizes of a simulated node's engine: so small that flushes and compactions come often. */

import type { DbOptions, DbTuning } from '../../../src/engine/index.ts'
import type { Random } from '../../../src/random.ts'

export const NODE_DIRECTORY = '/data'

export const NODE_TUNING: DbTuning & Pick<DbOptions, 'memoryBudget'> = {
  memoryBudget: 1024 * 1024,
  memtableSize: 16 * 1024,
  blockSize: 512,
  tableSizeTarget: 8192,
  level0CompactionTrigger: 2,
  baseLevelSize: 24 * 1024,
  levelSizeRatio: 3,
  openFilesMax: 16,
}

/** The same, or larger: then most of what was written lies in memory and in the log. */
export function drawTuning(random: Random): typeof NODE_TUNING {
  if (random.below(2) === 0) return NODE_TUNING
  return {
    ...NODE_TUNING,
    memtableSize: 64 * 1024,
    blockSize: 4096,
    tableSizeTarget: 32 * 1024,
    baseLevelSize: 128 * 1024,
  }
}
