/** The result of a server comparison as one table, with targets and whether they are met. */
import { formatCount, formatDigits } from '../report.ts'
import type { ServerCell, ServerRowResult } from './server-comparison.ts'
import type { ServerTarget } from './server-rows.ts'

export interface ServerVerdict {
  readonly row: string
  readonly what: string
  readonly actual: number
  readonly bound: number
  readonly isMet: boolean
}

function ratio(result: ServerRowResult, name: string): number | undefined {
  const [own, other] = [result.cells['duramen'], result.cells[name]]
  return own === undefined || other === undefined ? undefined : own.perSecond / other.perSecond
}

export function serverVerdicts(result: ServerRowResult): ServerVerdict[] {
  const { row, cells } = result
  const own = cells['duramen']
  if (own === undefined) return []
  const found: ServerVerdict[] = []
  for (const name of ['redis', 'echo'] as const) {
    const bound = row.target[name]
    const actual = ratio(result, name)
    if (bound === undefined || actual === undefined) continue
    found.push({ row: row.id, what: `${name} ratio`, actual, bound, isMet: actual >= bound })
  }
  const { p99Ms, noErrors } = row.target
  if (p99Ms !== undefined) {
    const isMet = own.p99Ms < p99Ms
    found.push({ row: row.id, what: 'p99 ms', actual: own.p99Ms, bound: p99Ms, isMet })
  }
  if (noErrors === true) {
    const isMet = own.errorCount === 0
    found.push({ row: row.id, what: 'errors', actual: own.errorCount, bound: 0, isMet })
  }
  return found
}

function targetText(target: ServerTarget): string {
  const parts: string[] = []
  if (target.redis !== undefined) parts.push(`${target.redis}x Redis`)
  if (target.echo !== undefined) parts.push(`${target.echo}x echo`)
  if (target.p99Ms !== undefined) parts.push(`p99 < ${target.p99Ms} ms`)
  if (target.noErrors === true) parts.push('no errors')
  return parts.join(', ')
}

function verdictText(result: ServerRowResult): string {
  if (Object.keys(result.row.target).length === 0) return ''
  const found = serverVerdicts(result)
  if (found.length === 0) return 'not measured'
  const missed = found.filter(({ isMet }) => !isMet)
  return missed.length === 0 ? 'met' : `NOT MET: ${missed.map(({ what }) => what).join(', ')}`
}

function figure(cell: ServerCell | undefined): string {
  if (cell === undefined) return ''
  const errors = cell.errorCount > 0 ? `, ${cell.errorCount} errors` : ''
  const latency = `p50 ${formatDigits(cell.p50Ms)}, p99 ${formatDigits(cell.p99Ms)} ms`
  const { serverUs } = cell
  const time = serverUs === undefined ? '' : `, ${formatDigits(serverUs)} us`
  return `${formatCount(cell.perSecond)}/s, ${latency}${time}${errors}`
}

function versus(result: ServerRowResult, name: string): string {
  const text = figure(result.cells[name])
  const actual = ratio(result, name)
  return actual === undefined ? text : `${text} (${formatDigits(actual)}x)`
}

export function serverTable(results: readonly ServerRowResult[]): string[][] {
  const head = ['Path', 'Duramen', 'Redis', 'echo', 'Target', 'Result']
  const rows = results.map(result => [
    `${result.row.id}: ${result.row.title}`,
    figure(result.cells['duramen']),
    versus(result, 'redis'),
    versus(result, 'echo'),
    targetText(result.row.target),
    verdictText(result),
  ])
  return [head, ...rows]
}
