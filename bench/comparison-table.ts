/** The result of a comparison as one table: figures, ratios, targets, and whether they are met. */
import type { Cell, ComparisonResult, RowResult } from './comparison.ts'
import { formatCount, formatDigits } from './report.ts'
import type { Row, Target } from './rows.ts'
import type { SubjectName } from './subject.ts'

export interface Verdict {
  readonly row: string
  readonly target: Target
  /** The ratio to the peer, or the figure itself for an absolute limit. */
  readonly actual: number
  readonly isMet: boolean
}

const PEERS: readonly { readonly name: SubjectName; readonly title: string }[] = [
  { name: 'classic-level', title: 'classic-level' },
  { name: 'lmdb', title: 'lmdb' },
]
const LIMITS: readonly SubjectName[] = ['map', 'write-loop']

/** Ratios are printed so that more than 1 is always better than the peer. */
function ratio(row: Row, own: Cell, other: Cell): number {
  return row.unit === 'per second' ? own.value / other.value : other.value / own.value
}

function figure(row: Row, cell: Cell | undefined): string {
  if (cell === undefined) return ''
  if (row.unit === 'per second') return `${formatCount(cell.value)}/s`
  if (row.unit === 'of live data') return `${formatDigits(cell.value)}x`
  return `${cell.value.toFixed(0)} ${row.unit}`
}

function versus(result: RowResult, name: SubjectName): string {
  const { row, cells } = result
  const [own, other] = [cells.duramen, cells[name]]
  if (other === undefined) return ''
  const text = figure(row, other)
  return own === undefined ? text : `${text} (${formatDigits(ratio(row, own, other))}x)`
}

export function verdicts(result: RowResult): Verdict[] {
  const { row, cells } = result
  const found: Verdict[] = []
  for (const target of row.targets) {
    const own = cells.duramen
    if (own === undefined) continue
    if (target.against === 'absolute') {
      const isMet = own.value <= target.bound
      found.push({ row: row.id, target, actual: own.value, isMet })
      continue
    }
    const other = cells[target.against]
    if (other === undefined) continue
    const actual = ratio(row, own, other)
    found.push({ row: row.id, target, actual, isMet: actual >= target.bound })
  }
  return found
}

function targetText(row: Row): string {
  const parts = row.targets.map(({ against, bound }) => {
    if (against !== 'absolute') return `${bound}x ${against}`
    return row.unit === 'of live data' ? `at most ${bound}x` : `at most ${bound} ${row.unit}`
  })
  return parts.join(', ')
}

function verdictText(result: RowResult): string {
  if (result.row.targets.length === 0) return ''
  const found = verdicts(result)
  if (found.length === 0) return 'not measured'
  const missed = found.filter(({ isMet }) => !isMet)
  if (missed.length === 0) return 'met'
  return `NOT MET: ${missed.map(({ target }) => target.against).join(', ')}`
}

function limitText(result: RowResult): string {
  const name = LIMITS.find(limit => result.cells[limit] !== undefined)
  return name === undefined ? '' : versus(result, name)
}

export function comparisonTable(result: ComparisonResult): string[][] {
  const head = ['Path', 'Duramen', ...PEERS.map(({ title }) => title), 'limit', 'Target', 'Result']
  const rows = result.rows.map(rowResult => [
    `${rowResult.row.id}: ${rowResult.row.title}`,
    figure(rowResult.row, rowResult.cells.duramen),
    ...PEERS.map(({ name }) => versus(rowResult, name)),
    limitText(rowResult),
    targetText(rowResult.row),
    verdictText(rowResult),
  ])
  return [head, ...rows]
}
