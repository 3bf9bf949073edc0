/**
 * What a compaction will do, as plain data: chosen by compaction-picker.ts, run by compactor.ts.
 */
import { assert } from '../assert.ts'
import { compareBytes } from '../bytes.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { TableChanges, Version } from './version.ts'
import { LEVEL_COUNT } from './version-edit.ts'

/**
 *  - `merge` runs a job that reads the inputs and writes new tables
 *  - `move` only records that the tables are now in the output level
 *  - `drop` only records that they are gone: everything in them has expired and hides nothing, or
 *    range tombstones hide them whole
 */
export type CompactionKind = 'merge' | 'move' | 'drop'

/** Why it was chosen. */
export type CompactionReason =
  | 'level0'
  | 'size'
  | 'tombstones'
  | 'ranges'
  | 'expiry'
  | 'space'
  | 'place'
  | 'manual'

export interface CompactionPlan {
  readonly kind: CompactionKind
  readonly reason: CompactionReason
  readonly inputLevel: number
  /** The level below, or the same one when a table is rewritten in place. */
  readonly outputLevel: number
  /** Tables of the input level, in its order. */
  readonly inputs: readonly TableMetadata[]
  /** Tables of the output level that overlap them, and are replaced with them. */
  readonly overlapped: readonly TableMetadata[]
  /** All of the above as runs that do not overlap themselves, newest first, for the job. */
  readonly runs: readonly (readonly TableMetadata[])[]
  /** Tables below the output level that overlap the range, ascending by smallest key. */
  readonly deeper: readonly TableMetadata[]
  /** The range of all inputs, inclusive. Outputs stay within it. */
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
  /** Bytes of all inputs. */
  readonly size: number
}

/** The plan that takes `inputs` of `inputLevel`, and what they overlap, to `outputLevel`. */
export function planCompaction(
  version: Version,
  kind: CompactionKind,
  reason: CompactionReason,
  inputLevel: number,
  outputLevel: number,
  inputs: readonly TableMetadata[],
): CompactionPlan {
  const own = rangeOf(inputs)
  const overlapped =
    outputLevel === inputLevel
      ? []
      : version.overlapping(outputLevel, own.smallestKey, own.largestKey)
  const { smallestKey, largestKey } = rangeOf([...inputs, ...overlapped])
  const deeper: TableMetadata[] = []
  for (let level = outputLevel + 1; level < LEVEL_COUNT; level++) {
    deeper.push(...version.overlapping(level, smallestKey, largestKey))
  }
  deeper.sort((a, b) => compareBytes(a.smallestKey, b.smallestKey))
  const runs = inputLevel === 0 ? inputs.map(table => [table]) : [inputs]
  return {
    kind,
    reason,
    inputLevel,
    outputLevel,
    inputs,
    overlapped,
    runs: overlapped.length === 0 ? runs : [...runs, overlapped],
    deeper,
    smallestKey,
    largestKey,
    size: sizeOf(inputs) + sizeOf(overlapped),
  }
}

/** The edit that installs a finished plan; `outputs` are the tables that its job wrote. */
export function planChanges(plan: CompactionPlan, outputs: readonly TableMetadata[]): TableChanges {
  assert(plan.kind === 'merge' || outputs.length === 0, 'only a merge writes tables')
  const { inputLevel, outputLevel } = plan
  const tables = plan.kind === 'move' ? plan.inputs : outputs
  return {
    removed: [
      ...plan.inputs.map(({ fileNumber }) => ({ level: inputLevel, fileNumber })),
      ...plan.overlapped.map(({ fileNumber }) => ({ level: outputLevel, fileNumber })),
    ],
    added: tables.map(table => ({ level: outputLevel, table })),
  }
}

/** Whether the plan must wait for one of the others: it shares a table, or an output range. */
export function conflictsWith(plan: CompactionPlan, others: readonly CompactionPlan[]): boolean {
  const tables = new Set([...plan.inputs, ...plan.overlapped])
  return others.some(
    other =>
      (other.inputLevel === 0 && plan.inputLevel === 0) ||
      (other.outputLevel === plan.outputLevel && rangesOverlap(other, plan)) ||
      other.inputs.some(table => tables.has(table)) ||
      other.overlapped.some(table => tables.has(table)),
  )
}

export interface TableRange {
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
}

export function rangeOf(tables: readonly TableMetadata[]): TableRange {
  const [first, ...rest] = tables
  assert(first !== undefined, 'a compaction has inputs')
  let { smallestKey, largestKey } = first
  for (const table of rest) {
    if (compareBytes(table.smallestKey, smallestKey) < 0) smallestKey = table.smallestKey
    if (compareBytes(table.largestKey, largestKey) > 0) largestKey = table.largestKey
  }
  return { smallestKey, largestKey }
}

export function rangesOverlap(a: TableRange, b: TableRange): boolean {
  return (
    compareBytes(a.smallestKey, b.largestKey) <= 0 && compareBytes(b.smallestKey, a.largestKey) <= 0
  )
}

export function sizeOf(tables: readonly TableMetadata[]): number {
  return tables.reduce((sum, table) => sum + table.size, 0)
}
