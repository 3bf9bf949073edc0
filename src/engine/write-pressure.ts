/**
 * How much writers are held back so that flushes and compactions keep up. A pure, smooth function:
 * nothing at first, then a little, then ever more, and a stop only where the delay has grown to its
 * longest anyway. There is no step at which a database that ran well a moment ago stands still.
 *
 *   pressure p = the largest of
 *     level 0     from 2.5 times its trigger (0) to 5 times (1)
 *     debt        from 8 times baseLevelSize (0) to 32 times (1)
 *     memtables   the fill of the active one times 0.9, while all frozen slots are taken
 *   delay a group commit = 2 ms * p / (1 - p), at most 250 ms;  stop at p = 1
 */
import type { ResolvedDbOptions } from './options.ts'

/** Level-0 tables, in multiples of the compaction trigger. */
const LEVEL0_SOFT = 2.5
const LEVEL0_HARD = 5
/** Debt, in multiples of baseLevelSize. */
const DEBT_SOFT = 8
const DEBT_HARD = 32
/** A full memtable does not stop writers here: they wait for its flush where it is rotated. */
const MEMTABLE_PRESSURE_MAX = 0.9
const DELAY_MS = 2
const DELAY_MS_MAX = 250

export type PressureReason = 'level0' | 'debt' | 'memtables'

export interface PressureSignals {
  readonly level0Count: number
  /** Frozen memtables that wait for their flush. */
  readonly frozenCount: number
  /** How full the active memtable is, 0 to 1. @defaultValue 0.5 */
  readonly memtableFill?: number | undefined
  /** Bytes, from compactionDebt. */
  readonly debt: number
}

export interface WritePressure {
  /** Milliseconds to hold back each group commit. */
  readonly delayMs: number
  /** Writers wait until a compaction has relieved the pressure. */
  readonly stop: boolean
  /** What weighs most; undefined without pressure. */
  readonly reason: PressureReason | undefined
}

export type PressureOptions = Pick<
  ResolvedDbOptions,
  'level0CompactionTrigger' | 'baseLevelSize' | 'frozenMemtablesMax'
>

export function writePressure(signals: PressureSignals, options: PressureOptions): WritePressure {
  const { level0CompactionTrigger, baseLevelSize, frozenMemtablesMax } = options
  const { memtableFill = 0.5, frozenCount, level0Count, debt } = signals
  let pressure = between(level0Count / level0CompactionTrigger, LEVEL0_SOFT, LEVEL0_HARD)
  let reason: PressureReason = 'level0'
  const owed = between(debt / baseLevelSize, DEBT_SOFT, DEBT_HARD)
  if (owed > pressure) {
    pressure = owed
    reason = 'debt'
  }
  const full = frozenCount >= frozenMemtablesMax ? MEMTABLE_PRESSURE_MAX * memtableFill : 0
  if (full > pressure) {
    pressure = full
    reason = 'memtables'
  }
  if (pressure === 0) return { delayMs: 0, stop: false, reason: undefined }
  const delayMs = Math.min((DELAY_MS * pressure) / (1 - pressure), DELAY_MS_MAX)
  return { delayMs, stop: pressure === 1, reason }
}

/** 0 at or below `soft`, 1 at or above `hard`, linear between. */
function between(value: number, soft: number, hard: number): number {
  return Math.min(Math.max((value - soft) / (hard - soft), 0), 1)
}
