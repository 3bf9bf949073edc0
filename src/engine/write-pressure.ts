/**
 * How much writers are held back so that flushes and compactions keep up. A pure, smooth function:
 * a rate that nobody reaches at first, then ever less, by halves, and a stop only where next to
 * nothing is granted anyway. There is no state in which a database that ran well a moment ago
 * stands still. How the rate is kept is in write-pacer.ts.
 *
 *   pressure p = the largest of
 *     level 0     from 2.5 times its trigger (0) to 6 times (1)
 *     debt        from 8 times baseLevelSize (0) to 32 times (1)
 *     memtables   while all frozen slots are taken: from half full (0) to full (0.9)
 *   granted rate = 64 MiB a second / 2 ** (7 p);  no limit at p = 0, stop at p = 1
 */
import type { ResolvedDbOptions } from './options.ts'

/** Level-0 tables, in multiples of the compaction trigger. */
const LEVEL0_SOFT = 2.5
const LEVEL0_HARD = 6
/** Debt, in multiples of baseLevelSize. */
const DEBT_SOFT = 8
const DEBT_HARD = 32
/** Share of the active memtable. */
const MEMTABLE_SOFT = 0.5
/** A full memtable does not stop writers here: they wait for its flush where it is rotated. */
const MEMTABLE_PRESSURE_MAX = 0.9
/** Bytes a second: more than one thread can write. */
export const RATE_MAX = 64 * 1024 * 1024
/**
 * From RATE_MAX to 512 KiB a second: by a factor of 1.4 with each table of level 0. Steeper
 * functions make the rate swing, as a compaction of level 0 takes many tables away at once.
 */
const HALVINGS = 7

export type PressureReason = 'level0' | 'debt' | 'memtables'

export interface PressureSignals {
  readonly level0Count: number
  /** Frozen memtables that wait for their flush. */
  readonly frozenCount: number
  /** How full the active memtable is, 0 to 1. */
  readonly memtableFill: number
  /** Bytes, from compactionDebt. */
  readonly debt: number
}

export interface WritePressure {
  /** Bytes a second that are granted; Infinity without pressure. */
  readonly rate: number
  /** Writers wait until a compaction has relieved the pressure. */
  readonly stop: boolean
  /** What weighs most; undefined without pressure. */
  readonly reason: PressureReason | undefined
}

export type PressureOptions = Pick<
  ResolvedDbOptions,
  'level0CompactionTrigger' | 'baseLevelSize' | 'frozenMemtablesMax'
>

/** `rateMax` is for tests, which make everything smaller. */
export function writePressure(
  signals: PressureSignals,
  options: PressureOptions,
  rateMax = RATE_MAX,
): WritePressure {
  const { level0CompactionTrigger, baseLevelSize, frozenMemtablesMax } = options
  const { memtableFill, frozenCount, level0Count, debt } = signals
  let pressure = between(level0Count / level0CompactionTrigger, LEVEL0_SOFT, LEVEL0_HARD)
  let reason: PressureReason = 'level0'
  const owed = between(debt / baseLevelSize, DEBT_SOFT, DEBT_HARD)
  if (owed > pressure) {
    pressure = owed
    reason = 'debt'
  }
  const isFrozenFull = frozenCount >= frozenMemtablesMax
  const full = isFrozenFull ? MEMTABLE_PRESSURE_MAX * between(memtableFill, MEMTABLE_SOFT, 1) : 0
  if (full > pressure) {
    pressure = full
    reason = 'memtables'
  }
  if (pressure === 0) return { rate: Number.POSITIVE_INFINITY, stop: false, reason: undefined }
  return { rate: rateMax / 2 ** (HALVINGS * pressure), stop: pressure === 1, reason }
}

/** 0 at or below `soft`, 1 at or above `hard`, linear between. */
function between(value: number, soft: number, hard: number): number {
  return Math.min(Math.max((value - soft) / (hard - soft), 0), 1)
}
