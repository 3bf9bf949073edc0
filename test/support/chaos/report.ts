/** The rows of a chaos run as one table. */
import type { ChaosRow } from './scenarios.ts'

const TITLES = [
  'scenario',
  'ops',
  'success %',
  'p50 ms',
  'p99 ms',
  'p999 ms',
  'errors for s',
  'longest s',
  'lost',
  'behind',
  'whole s',
  'hints s',
  'equal s',
]

export function chaosTable(rows: readonly ChaosRow[]): string {
  const lines = [TITLES, ...rows.map(cells)]
  const widths = TITLES.map((_, column) => Math.max(...lines.map(line => line[column]!.length)))
  const show = (line: readonly string[]): string => {
    const shown = line.map((cell, column) => {
      return column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
    })
    return shown.join('  ')
  }
  return `${lines.map(show).join('\n')}\n`
}

function cells({ scenario, load, lost, behind, wholeMs, hintsMs, equalMs }: ChaosRow): string[] {
  const tail = [String(lost), String(behind), seconds(wholeMs), seconds(hintsMs), seconds(equalMs)]
  if (load === undefined) return [scenario, '', '', '', '', '', '', '', ...tail]
  const { operations, failures, p50Ms, p99Ms, p999Ms, errorSeconds, longestBurstMs } = load
  const success = (100 * (operations - failures)) / Math.max(1, operations)
  return [
    scenario,
    String(operations),
    success.toFixed(3),
    ...[p50Ms, p99Ms, p999Ms].map(ms => ms.toFixed(1)),
    errorSeconds.toFixed(1),
    (longestBurstMs / 1000).toFixed(1),
    ...tail,
  ]
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '-' : (ms / 1000).toFixed(1)
}
