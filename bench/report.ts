/** What the benchmarks print: notes as they go on stderr, tables and JSON at the end on stdout. */
import { writeSync } from 'node:fs'

export function note(text: string): void {
  writeSync(2, `${text}\n`)
}

export function print(text: string): void {
  writeSync(1, `${text}\n`)
}

/** Columns padded to their widest cell; the first to the left, the others to the right. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = columnWidths(rows)
  const lines = rows.map(row =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
  const total = widths.reduce((sum, width) => sum + width + 2, -2)
  return [lines[0] ?? '', '-'.repeat(total), ...lines.slice(1)].join('\n')
}

/** The same as a Markdown table; the first row is the head. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const lines = rows.map(row => `| ${row.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  const rule = `|${(rows[0] ?? []).map((_, column) => (column === 0 ? '---|' : '---:|')).join('')}`
  return [lines[0] ?? '', rule, ...lines.slice(1)].join('\n')
}

/** Puts `table` between the two marker lines of a Markdown text. Throws when they are missing. */
export function replaceBetweenMarkers(text: string, name: string, table: string): string {
  const begin = `<!-- ${name}:begin -->`
  const end = `<!-- ${name}:end -->`
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`the markers ${begin} and ${end} are missing`)
  return `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  }
  return widths
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** Three significant digits, with k and M. */
export function formatCount(value: number): string {
  if (value >= 999_500) return `${formatDigits(value / 1e6)}M`
  if (value >= 999.5) return `${formatDigits(value / 1e3)}k`
  return formatDigits(value)
}

export function formatDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0)
  if (value >= 9.995) return value.toFixed(1)
  return value.toFixed(2)
}

/** `1000`, `100k`, `2.5m`. */
export function parseCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([km]?)$/i.exec(text)
  if (match === null) throw new Error(`not a count: ${text}; write 1000, 100k or 2.5m`)
  const unit = { '': 1, k: 1e3, m: 1e6 }[(match[2] ?? '').toLowerCase()] ?? 1
  return Math.round(Number(match[1]) * unit)
}
