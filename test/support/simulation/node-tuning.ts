/** Sizes of a simulated node's engine: so small that flushes and compactions come often. */
import type { DbOptions, DbTuning } from '../../../src/engine/index.ts'

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
