/** What a kill loop prints. Pure: results in, text out. */
import { formatBytes, formatCount, formatDuration } from '../../src/cli/render.ts'
import type { EmbeddedKillsResult } from './embedded-kills.ts'
import type { KillLoopResult, KillRow } from './kill-loop.ts'

const WIDTHS = [5, 11, 9, 13, 10, 9, 9, 9, 10, 11, 9]
const TITLES = [
  'kill',
  'moment',
  'after',
  'acknowledged',
  'log',
  'peak MiB',
  'answer',
  'engine',
  'replayed',
  'live',
  'checks',
]

function columns(cells: readonly string[]): string {
  return cells
    .map((cell, index) =>
      index === 1 ? cell.padEnd(WIDTHS[index]!) : cell.padStart(WIDTHS[index]!),
    )
    .join(' ')
    .trimEnd()
}

export const KILL_HEADER = columns(TITLES)

/** One kill and the restart after it; recoveries that were killed themselves have none. */
export function killLine(row: KillRow): string {
  const ms = (value: number | undefined) => (value === undefined ? '' : formatDuration(value))
  const count = (value: number | undefined) => (value === undefined ? '' : formatCount(value))
  return columns([
    String(row.number),
    row.moment,
    ms(row.afterMs),
    count(row.acknowledged),
    formatBytes(row.walBytes),
    row.peakMib === undefined ? '' : row.peakMib.toFixed(0),
    ms(row.answerMs),
    ms(row.engineMs),
    count(row.replayed),
    count(row.live),
    ms(row.checkMs),
  ])
}

/** Milliseconds of each recovery: to the first answer of a server, of the engine when embedded. */
export function recoveryTimes(result: KillLoopResult | EmbeddedKillsResult): number[] {
  if ('recoveries' in result) return result.recoveries.map(({ elapsedMs }) => elapsedMs)
  return result.kills.flatMap(({ answerMs }) => answerMs ?? [])
}

export function killSummary(result: KillLoopResult | EmbeddedKillsResult): string {
  const times = recoveryTimes(result).toSorted((a, b) => a - b)
  const median = times[times.length >> 1] ?? 0
  const recovery =
    `${times.length} recoveries: median ${formatDuration(median)}, ` +
    `longest ${formatDuration(times.at(-1) ?? 0)}`
  const verdict = 'nothing lost, invented, torn or out of order'
  if ('recoveries' in result) {
    const logs = Math.max(...result.recoveries.map(({ walBytes }) => walBytes))
    return [
      `${result.kills} kills, ${result.duringRecovery} of them during recovery, ` +
        `in ${formatDuration(result.elapsedMs)}`,
      `${formatCount(result.acknowledged)} of ${formatCount(result.submitted)} writes ` +
        `acknowledged; ${formatCount(result.surfaced)} others surfaced`,
      `${recovery}; logs up to ${formatBytes(logs)}`,
      verdict,
    ].join('\n')
  }
  const { counts, errors, live } = result
  const failures = Object.entries(errors).map(([code, count]) => `${code} ${formatCount(count)}`)
  return [
    `${result.kills.length} kills; operations: ${formatCount(counts.acknowledged)} acknowledged, ` +
      `${formatCount(counts.rejected)} rejected, ${formatCount(counts.unknown)} unknown ` +
      `(${formatCount(counts.surfaced)} surfaced, ${formatCount(counts.vanished)} did not)`,
    `failed calls: ${failures.join(', ') || 'none'}`,
    recovery,
    `${verdict}; ${formatCount(live)} records alive at the end`,
  ].join('\n')
}
