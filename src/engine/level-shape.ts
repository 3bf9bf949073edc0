/**
 * The shape a tree should have: dynamic level sizes, after RocksDB's level_compaction_dynamic.
 *
 * The last level holds what there is; every level above it aims at a ratio-th of the one below,
 * up to the base level, the first whose target is at most baseLevelSize. Level 0 is merged straight
 * into the base level, and the levels between are empty. So a small database is level 0 and one
 * sorted level, and whatever the size, about 1 / (ratio - 1) of the data at most is not in the last
 * level: a space amplification of about 1.1.
 *
 *   100 MiB:  L0 -> L6                            (baseLevelSize 256 MiB, ratio 10)
 *     1 GiB:  L0 -> L5 102 MiB -> L6
 *   100 GiB:  L0 -> L3 102 MiB -> L4 1 GiB -> L5 10 GiB -> L6
 */
import type { ResolvedDbOptions } from './options.ts'
import { LEVEL_COUNT, type Version } from './version.ts'

export const LAST_LEVEL = LEVEL_COUNT - 1

/** The options that shape the tree. */
export type ShapeOptions = Pick<
  ResolvedDbOptions,
  'tableSizeTarget' | 'level0CompactionTrigger' | 'baseLevelSize' | 'levelSizeRatio'
>

export interface LevelShape {
  /** Where level 0 is merged to. No level between has tables. */
  readonly baseLevel: number
  /** Bytes that each level should have at most; Infinity for level 0 and for the last. */
  readonly targets: readonly number[]
}

export function levelShape(version: Version, options: ShapeOptions): LevelShape {
  const sizes = version.levelSizes
  // After mass deletions a level may hold more than the last one; it then sets the measure.
  let target = Math.max(...sizes.slice(1))
  const targets = new Array<number>(LEVEL_COUNT).fill(Number.POSITIVE_INFINITY)
  let level = LAST_LEVEL
  while (level > 1 && target > options.baseLevelSize) {
    target /= options.levelSizeRatio
    targets[--level] = target
  }
  // Nothing may be written below tables that are older: a shrunken tree first drains its top.
  const firstUsed = sizes.findIndex((size, index) => index > 0 && size > 0)
  while (firstUsed > 0 && level > firstUsed) {
    target /= options.levelSizeRatio
    targets[--level] = target
  }
  return { baseLevel: level, targets }
}

/**
 * Bytes that compaction would have to read and write to bring the tree into shape, roughly. 0 when
 * no compaction for size is due.
 */
export function compactionDebt(version: Version, options: ShapeOptions): number {
  const { baseLevel, targets } = levelShape(version, options)
  const sizes = version.levelSizes
  let debt = 0
  let arriving = 0
  if (version.levels[0]!.length >= options.level0CompactionTrigger) {
    arriving = sizes[0]!
    debt += arriving + sizes[baseLevel]!
  }
  for (let level = baseLevel; level < LAST_LEVEL; level++) {
    const size = sizes[level]! + arriving
    arriving = Math.max(0, size - targets[level]!)
    // Each byte that leaves meets its share of the level below.
    if (arriving > 0) debt += arriving * (1 + sizes[level + 1]! / size)
  }
  return debt
}
