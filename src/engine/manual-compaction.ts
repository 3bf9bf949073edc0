/**
 * A compaction that the user asked for: everything that is in a range of keys now goes down to the
 * last level, step by step, and what is dead in it goes away. Chooses the steps; compactor.ts runs
 * them, one at a time, beside its own.
 *
 * Level after level, each from the first key of the range to the last; what arrives meanwhile is
 * left where it is, so it comes to an end however much is written.
 *
 * Invariants:
 *  1. A step takes at most STEP_TABLES_MAX tables' worth of bytes, unless the smallest possible one
 *     is larger: urgent compactions never wait long for their turn.
 *  2. Of level 0 the oldest tables are taken, so nothing in it is older than what was merged.
 *  3. In the last level only tables are rewritten that have something to lose by it, unless all
 *     are asked for.
 */
import { compareBytes } from '../bytes.ts'
import {
  type CompactionPlan,
  conflictsWith,
  planCompaction,
  rangeOf,
  sizeOf,
} from './compaction-plan.ts'
import type { LostRange } from './job.ts'
import { LAST_LEVEL, levelShape, type ShapeOptions } from './level-shape.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'

/** Input of one step, in tables of the target size. */
const STEP_TABLES_MAX = 8

/** What is to be compacted. Keys are inclusive; undefined is unbounded. */
export interface ManualRange {
  readonly smallest: Uint8Array | undefined
  readonly largest: Uint8Array | undefined
  /** Rewrites the tables of the last level also where nothing is known to be dead. */
  readonly rewrite: boolean
  /**
   * Leaves out what cannot be read, once this has resolved with where that was; every table is
   * rewritten then. A step for which it rejects is not made.
   */
  readonly onLost?: ((lost: readonly LostRange[]) => Promise<void>) | undefined
}

/** What the steps depend on besides the tables. */
export interface ManualState {
  readonly running: readonly CompactionPlan[]
  readonly wallMs: number
  /** See CompactionState. */
  readonly purgeableBelow: number
}

export class ManualCompaction {
  readonly #range: ManualRange
  /** Level-0 tables with nothing older than this are not waited for. */
  readonly #sequence: number
  #level = 0
  /** The largest key that was dealt with in #level. */
  #passed: Uint8Array | undefined
  #doneBytes = 0

  /** `sequence` is the last one of what is to be compacted. */
  constructor(range: ManualRange, sequence: number) {
    this.#range = range
    this.#sequence = sequence
  }

  /**
   * The next step; undefined when all is done. A step that conflicts with a running plan is to be
   * asked for again when that has ended. Call `finished` after each step that was made.
   */
  next(
    version: Version,
    options: ShapeOptions,
    state: ManualState,
  ): { readonly plan: CompactionPlan; readonly conflicts: boolean } | undefined {
    for (; this.#level <= LAST_LEVEL; this.#level++, this.#passed = undefined) {
      const plan = this.#plan(version, options, state)
      if (plan !== undefined) return { plan, conflicts: conflictsWith(plan, state.running) }
    }
    return undefined
  }

  /** See ManualRange. */
  get onLost(): ManualRange['onLost'] {
    return this.#range.onLost
  }

  finished(plan: CompactionPlan): void {
    this.#doneBytes += plan.size
    if (plan.inputLevel > 0) this.#passed = rangeOf(plan.inputs).largestKey
  }

  /** Bytes that were dealt with, and about as many as there are to be dealt with in all. */
  progress(version: Version): { doneBytes: number; totalBytes: number } {
    let rest = 0
    for (let level = this.#level; level < LAST_LEVEL; level++) {
      rest += sizeOf(this.#tablesOf(version, level))
    }
    return { doneBytes: this.#doneBytes, totalBytes: this.#doneBytes + rest }
  }

  #plan(version: Version, options: ShapeOptions, state: ManualState): CompactionPlan | undefined {
    const sizeMax = STEP_TABLES_MAX * options.tableSizeTarget
    if (this.#level === 0) return this.#planLevel0(version, options, sizeMax)
    const tables = this.#tablesOf(version, this.#level)
    if (this.#level === LAST_LEVEL) return this.#planLast(version, tables, state, sizeMax)
    return this.#planLevel(version, tables, state, sizeMax)
  }

  /** Tables of the level that are in the range and were not dealt with yet. */
  #tablesOf(version: Version, level: number): readonly TableMetadata[] {
    const { smallest, largest } = this.#range
    const tables = version.overlapping(level, smallest, largest)
    if (level === 0) return tables.filter(table => table.smallestSequence <= this.#sequence)
    const passed = level === this.#level ? this.#passed : undefined
    if (passed === undefined) return tables
    return tables.filter(table => compareBytes(table.smallestKey, passed) > 0)
  }

  #planLevel0(
    version: Version,
    options: ShapeOptions,
    sizeMax: number,
  ): CompactionPlan | undefined {
    if (this.#tablesOf(version, 0).length === 0) return undefined
    const { baseLevel } = levelShape(version, options)
    const tables = version.levels[0]!
    let best: CompactionPlan | undefined
    for (let from = tables.length - 1; from >= 0; from--) {
      const plan = planCompaction(version, 'merge', 'manual', 0, baseLevel, tables.slice(from))
      if (best !== undefined && plan.size > sizeMax) break
      best = plan
    }
    return best
  }

  /** As many of the first tables as one step takes. */
  #planLevel(
    version: Version,
    tables: readonly TableMetadata[],
    state: ManualState,
    sizeMax: number,
  ): CompactionPlan | undefined {
    let best: CompactionPlan | undefined
    for (let count = 1; count <= tables.length; count++) {
      const inputs = tables.slice(0, count)
      const plan = planCompaction(version, 'merge', 'manual', this.#level, this.#level + 1, inputs)
      if (best !== undefined && plan.size > sizeMax) break
      best = plan
    }
    if (best === undefined || best.overlapped.length > 0) return best
    // Nothing is in the way: without waste they only change their level.
    const isClean = this.onLost === undefined && best.inputs.every(table => !hasWaste(table, state))
    return isClean ? { ...best, kind: 'move' } : best
  }

  #planLast(
    version: Version,
    tables: readonly TableMetadata[],
    state: ManualState,
    sizeMax: number,
  ): CompactionPlan | undefined {
    const isDue = (table: TableMetadata) => this.#range.rewrite || hasWaste(table, state)
    const first = tables.findIndex(isDue)
    if (first < 0) return undefined
    let count = 1
    let size = tables[first]!.size
    for (const table of tables.slice(first + 1)) {
      size += table.size
      if (size > sizeMax || !isDue(table)) break
      count++
    }
    const inputs = tables.slice(first, first + count)
    return planCompaction(version, 'merge', 'manual', LAST_LEVEL, LAST_LEVEL, inputs)
  }
}

/** Whether a rewrite can leave something of the table out. */
function hasWaste(table: TableMetadata, { purgeableBelow, wallMs }: ManualState): boolean {
  const tombstoneCount = table.tombstoneCount + table.rangeTombstoneCount
  const isDead = tombstoneCount > 0 && table.smallestSequence < purgeableBelow
  return isDead || (table.expiringCount > 0 && table.expiryMax < wallMs)
}
