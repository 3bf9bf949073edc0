/**
 * Chooses the next compaction. Pure: the same version and state give the same plan, and nothing is
 * remembered here. Level sizes are in level-shape.ts.
 *
 * Candidates and their scores; the highest from 1 on wins, and if it cannot run now the next:
 *
 *   | level 0                   | tables / trigger                                                |
 *   | a level above its target  | size / target                                                   |
 *   | a table full of deletions | share of tombstones / 0.3                                       |
 *   | a table that has ranges   | 1, the least: what they delete lies below, its space is wanted  |
 *   | a table that has expired  | share of expiring entries / 0.25, once all of them have expired |
 *   | a table in another place  | 0.01: of the last level, to be moved to or from the cold one    |
 *
 * Level 0 has no precedence over the level below it: each of its compactions rewrites most of that
 * level, so one that has grown far beyond its target is what makes level 0 slow. (Its score was
 * squared once: after gigabytes of random writes the level stood at 2.5 times its target, and with
 * the plain one at 1.5 times, where 1.5 times as many writes a second were taken.)
 *
 * When the database is idle, work is done that only saves space: what is above the last level is
 * merged down when it, and what its deletions hide below, are more than 8 % of the last level; and
 * tables of the last level are rewritten from 8 % of dead entries on.
 *
 * Invariants:
 *  1. A plan takes no table of a running one, and two plans never write overlapping ranges of one
 *     level. Level 0 has at most one running.
 *  2. Of level 0 the oldest tables are taken, so nothing in it is older than what was merged.
 *  3. Carrying out plan after plan comes to an end: each takes bytes down a level, or rewrites a
 *     table of the last level whose tombstones or expired entries nothing keeps any more.
 *  4. While compactionDebt is above 0 a plan runs or can be picked.
 */
import { compareBytes } from '../bytes.ts'
import {
  type CompactionPlan,
  type CompactionReason,
  planCompaction,
  rangeOf,
  rangesOverlap,
  sizeOf,
} from './compaction-plan.ts'
import { LAST_LEVEL, type LevelShape, levelShape, type ShapeOptions } from './level-shape.ts'
import type { ResolvedDbOptions } from './options.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'

export type { CompactionPlan } from './compaction-plan.ts'
export { compactionDebt } from './level-shape.ts'

/** Tombstones among the entries of a table, above which it is compacted for their sake. */
const TOMBSTONE_SHARE_MAX = 0.3
/** Expired entries among the entries of a table, above which it is compacted for their sake. */
const EXPIRED_SHARE_MAX = 0.25
/**
 * Bytes above the last level and those that they hide, as a share of it, that an idle database is
 * left with; and dead entries of a table of the last level.
 */
export const IDLE_SHARE_MAX = 0.08
/** Input of one job, in tables of the target size, unless the smallest possible one is larger. */
const JOB_TABLES_MAX = 25
/** Of a table that is to be moved to the other directory: nothing else is due. */
const MISPLACED_SCORE = 0.01
/** Level-0 tables smaller than this share of the target are merged even where moving would do. */
const MOVE_SIZE_SHARE_MIN = 0.25

export type CompactionOptions = ShapeOptions & Pick<ResolvedDbOptions, 'compactionThreads'>

export interface CompactionState {
  readonly running: readonly CompactionPlan[]
  /** By level, where the last plan ended: the largest key of its inputs. The next begins after. */
  readonly cursors: readonly (Uint8Array | undefined)[]
  /** Milliseconds since the Unix epoch, as the job will see them or earlier. */
  readonly wallMs: number
  /**
   * No snapshot and no purge bound keeps a tombstone with a sequence below this one: the oldest
   * snapshot's sequence plus 1 or the purge bound, whichever is less; Infinity without either.
   */
  readonly purgeableBelow: number
  /** Whether a table of the last level is not in the directory in which it should be. */
  readonly isMisplaced?: ((table: TableMetadata) => boolean) | undefined
  /** Nothing was written for a while: work may be done that only saves space. */
  readonly idle: boolean
}

interface Candidate {
  readonly score: number
  readonly pick: () => CompactionPlan | undefined
  readonly level: number
}

/** Why a table is worth a rewrite. */
interface Waste {
  readonly score: number
  readonly reason: CompactionReason
}

/**
 * The compaction to start now, or undefined when none is due, possible, or allowed beside others.
 */
export function pickCompaction(
  version: Version,
  options: CompactionOptions,
  state: CompactionState,
): CompactionPlan | undefined {
  if (state.running.length >= options.compactionThreads) return undefined
  return new Picker(version, options, state).pick()
}

class Picker {
  readonly #version: Version
  readonly #options: CompactionOptions
  readonly #state: CompactionState
  readonly #shape: LevelShape
  readonly #busy = new Set<number>()
  readonly #level0Runs: boolean
  /** Bytes of a job's input. */
  readonly #sizeMax: number

  constructor(version: Version, options: CompactionOptions, state: CompactionState) {
    this.#version = version
    this.#options = options
    this.#state = state
    this.#shape = levelShape(version, options)
    this.#sizeMax = JOB_TABLES_MAX * options.tableSizeTarget
    this.#level0Runs = state.running.some(plan => plan.inputLevel === 0)
    for (const plan of state.running) {
      for (const table of plan.inputs) this.#busy.add(table.fileNumber)
      for (const table of plan.overlapped) this.#busy.add(table.fileNumber)
    }
  }

  pick(): CompactionPlan | undefined {
    const { baseLevel } = this.#shape
    const candidates = [
      ...this.#sizeCandidates(),
      ...this.#tableCandidates(),
      ...this.#idleCandidates(),
    ]
    let level0Waits = false
    for (const candidate of candidates.sort((a, b) => b.score - a.score)) {
      // What level 0 waits for must not be started again before it had its turn.
      if (level0Waits && candidate.level === baseLevel) continue
      const plan = candidate.pick()
      if (plan !== undefined) return plan
      if (candidate.level === 0) level0Waits = true
    }
    return undefined
  }

  #sizeCandidates(): Candidate[] {
    const { levels } = this.#version
    const { baseLevel, targets } = this.#shape
    const candidates: Candidate[] = []
    const fill = levels[0]!.length / this.#options.level0CompactionTrigger
    if (fill >= 1 && !this.#level0Runs) {
      candidates.push({ level: 0, score: fill, pick: () => this.#pickLevel0('level0') })
    }
    for (let level = baseLevel; level < LAST_LEVEL; level++) {
      const score = this.#freeSize(level) / targets[level]!
      if (score < 1) continue
      candidates.push({ level, score, pick: () => this.#pickLevel(level, 'size') })
    }
    return candidates
  }

  /** Tables that are worth rewriting for what is dead in them. */
  #tableCandidates(): Candidate[] {
    const candidates: Candidate[] = []
    for (let level = 1; level <= LAST_LEVEL; level++) {
      for (const table of this.#version.levels[level]!) {
        if (this.#busy.has(table.fileNumber)) continue
        const waste = this.#waste(level, table)
        if (waste === undefined) continue
        const { score, reason } = waste
        candidates.push({ level, score, pick: () => this.#pickTable(level, table, reason) })
      }
    }
    return candidates
  }

  #idleCandidates(): Candidate[] {
    const { levelSizes, levels } = this.#version
    if (!this.#state.idle) return []
    const last = levelSizes[LAST_LEVEL]!
    const wasted = this.#version.size - last + this.#hiddenSize()
    const isMuch = wasted > IDLE_SHARE_MAX * last
    // Ranges of level 0 hide what they cover from here on, wherever it is.
    const levelsEnd = isMuch ? LAST_LEVEL : this.#level0HasRanges() ? 1 : 0
    const candidates: Candidate[] = []
    for (let level = 0; level < levelsEnd; level++) {
      if (levels[level]!.length === 0 || (level === 0 && this.#level0Runs)) continue
      // The upper levels first: what they hold is merged with more on each level below.
      const pick = () => (level === 0 ? this.#pickLevel0('space') : this.#pickLevel(level, 'space'))
      candidates.push({ level, score: -level, pick })
    }
    return candidates
  }

  /** About how many bytes of the last level the tombstones above it hide. */
  #hiddenSize(): number {
    const { levels } = this.#version
    let tombstones = 0
    for (const level of levels.slice(0, LAST_LEVEL)) {
      for (const table of level) tombstones += table.tombstoneCount
    }
    return tombstones * meanEntrySize(levels[LAST_LEVEL]!)
  }

  /** Whether level 0 holds range tombstones that nothing keeps. */
  #level0HasRanges(): boolean {
    return this.#version.levels[0]!.some(
      table => table.rangeTombstoneCount > 0 && table.largestSequence < this.#state.purgeableBelow,
    )
  }

  /** Bytes of the level that no running plan takes away. */
  #freeSize(level: number): number {
    let size = this.#version.levelSizes[level]!
    for (const plan of this.#state.running) {
      if (plan.inputLevel === level) size -= sizeOf(plan.inputs)
    }
    return size
  }

  #waste(level: number, table: TableMetadata): Waste | undefined {
    const { purgeableBelow, wallMs, idle } = this.#state
    // In the last level a rewrite must be able to drop what it is for, or it would never end.
    if (level === LAST_LEVEL && table.largestSequence >= purgeableBelow) {
      return this.#misplaced(level, table)
    }
    const { rangeTombstoneCount } = table
    const count = table.entryCount + rangeTombstoneCount
    const isIdle = idle && level === LAST_LEVEL
    const deadMax = isIdle ? IDLE_SHARE_MAX : TOMBSTONE_SHARE_MAX
    const expiredMax = isIdle ? IDLE_SHARE_MAX : EXPIRED_SHARE_MAX
    const dead = (table.tombstoneCount + rangeTombstoneCount) / count / deadMax
    const expired = table.expiringCount > 0 && table.expiryMax < wallMs
    const gone = expired ? table.expiringCount / count / expiredMax : 0
    if (Math.max(dead, gone) > 1) {
      return dead > gone ? { score: dead, reason: 'tombstones' } : { score: gone, reason: 'expiry' }
    }
    // While something keeps a range, what it deletes stays too.
    if (rangeTombstoneCount === 0 || table.largestSequence >= purgeableBelow) {
      return this.#misplaced(level, table)
    }
    return { score: 1, reason: 'ranges' }
  }

  /** A rewrite puts the table where it belongs. */
  #misplaced(level: number, table: TableMetadata): Waste | undefined {
    if (level < LAST_LEVEL || this.#state.isMisplaced?.(table) !== true) return undefined
    return { score: MISPLACED_SCORE, reason: 'place' }
  }

  #pickLevel0(reason: CompactionReason): CompactionPlan | undefined {
    const { baseLevel } = this.#shape
    const tables = this.#version.levels[0]!
    let best: CompactionPlan | undefined
    for (let from = tables.length - 1; from >= 0; from--) {
      const inputs = tables.slice(from)
      const plan = this.#plan(reason, 0, baseLevel, inputs)
      if (best !== undefined && plan.size > this.#sizeMax) break
      best = plan
    }
    return best !== undefined && this.#canRun(best) ? best : undefined
  }

  /** Takes the next table after the cursor that can go down without too much beside it. */
  #pickLevel(level: number, reason: CompactionReason): CompactionPlan | undefined {
    const tables = this.#version.levels[level]!
    const cursor = this.#state.cursors[level]
    let start = 0
    if (cursor !== undefined) {
      start = tables.findIndex(table => compareBytes(table.smallestKey, cursor) > 0)
      if (start < 0) start = 0
    }
    let smallest: CompactionPlan | undefined
    for (let step = 0; step < tables.length; step++) {
      const table = tables[(start + step) % tables.length]!
      if (this.#busy.has(table.fileNumber)) continue
      const plan = this.#plan(reason, level, level + 1, [table])
      if (!this.#canRun(plan)) continue
      if (plan.size <= this.#sizeMax) return this.#widen(plan)
      if (smallest === undefined || plan.size < smallest.size) smallest = plan
    }
    return smallest
  }

  /** More tables of the input level, where they overlap nothing further of the output level. */
  #widen(plan: CompactionPlan): CompactionPlan {
    const { inputLevel, outputLevel, reason, overlapped, inputs } = plan
    if (plan.kind !== 'merge' || overlapped.length === 0) return plan
    const { smallestKey, largestKey } = plan
    const more = this.#version.overlapping(inputLevel, smallestKey, largestKey)
    if (more.length === inputs.length) return plan
    const wide = this.#plan(reason, inputLevel, outputLevel, more)
    const fits = wide.overlapped.length === overlapped.length && wide.size <= this.#sizeMax
    return fits && this.#canRun(wide) ? wide : plan
  }

  #pickTable(
    level: number,
    table: TableMetadata,
    reason: CompactionReason,
  ): CompactionPlan | undefined {
    const inputs = level < LAST_LEVEL ? [table] : this.#neighbours(table)
    const outputLevel = Math.min(level + 1, LAST_LEVEL)
    const plan = this.#plan(reason, level, outputLevel, inputs)
    if (this.#canRun(plan)) return plan
    if (inputs.length === 1) return undefined
    const alone = this.#plan(reason, level, outputLevel, [table])
    return this.#canRun(alone) ? alone : undefined
  }

  /** The table and those after it that are wasteful or small too: a rewrite joins them. */
  #neighbours(table: TableMetadata): TableMetadata[] {
    const tables = this.#version.levels[LAST_LEVEL]!
    const chosen = [table]
    let size = table.size
    for (const next of tables.slice(tables.indexOf(table) + 1)) {
      const small = next.size < this.#options.tableSizeTarget / 2
      size += next.size
      if (this.#busy.has(next.fileNumber) || size > this.#sizeMax) break
      if (!small && this.#waste(LAST_LEVEL, next) === undefined) break
      chosen.push(next)
    }
    return chosen
  }

  #plan(
    reason: CompactionReason,
    inputLevel: number,
    outputLevel: number,
    inputs: readonly TableMetadata[],
  ): CompactionPlan {
    const plan = planCompaction(this.#version, 'merge', reason, inputLevel, outputLevel, inputs)
    if (plan.overlapped.length > 0) return plan
    if (this.#isDroppable(plan)) return { ...plan, kind: 'drop' }
    return this.#isMovable(plan) ? { ...plan, kind: 'move' } : plan
  }

  /**
   * Everything in the tables is a range or has expired, nothing keeps it, and nothing is below that
   * it hides.
   */
  #isDroppable({ inputLevel, inputs, deeper }: CompactionPlan): boolean {
    if (inputLevel === 0 || deeper.length > 0) return false
    const { wallMs, purgeableBelow } = this.#state
    return inputs.every(
      table =>
        table.expiringCount === table.entryCount &&
        table.expiryMax < wallMs &&
        table.largestSequence < purgeableBelow,
    )
  }

  #isMovable({ inputLevel, outputLevel, inputs, deeper }: CompactionPlan): boolean {
    if (inputLevel === outputLevel) return false
    if (inputLevel === 0) {
      const sizeMin = MOVE_SIZE_SHARE_MIN * this.#options.tableSizeTarget
      if (sizeOf(inputs) < inputs.length * sizeMin || !areDisjoint(inputs)) return false
    }
    // Where nothing is below, a rewrite gets rid of the waste at once.
    return deeper.length > 0 || inputs.every(table => this.#waste(outputLevel, table) === undefined)
  }

  #canRun(plan: CompactionPlan): boolean {
    for (const table of plan.inputs) if (this.#busy.has(table.fileNumber)) return false
    for (const table of plan.overlapped) if (this.#busy.has(table.fileNumber)) return false
    return !this.#state.running.some(
      other => other.outputLevel === plan.outputLevel && rangesOverlap(other, plan),
    )
  }
}

/** Bytes that an entry of these tables takes on average; 0 without tables. */
export function meanEntrySize(tables: readonly TableMetadata[]): number {
  const entries = tables.reduce((sum, table) => sum + table.entryCount, 0)
  return entries === 0 ? 0 : sizeOf(tables) / entries
}

function areDisjoint(tables: readonly TableMetadata[]): boolean {
  const sorted = [...tables].sort((a, b) => compareBytes(a.smallestKey, b.smallestKey))
  return sorted.every((table, index) => index === 0 || !rangesOverlap(sorted[index - 1]!, table))
}

/** The cursor of the input level after this plan. */
export function cursorAfter(plan: CompactionPlan): Uint8Array {
  return rangeOf(plan.inputs).largestKey
}
