/** The rows of chaos runs as tables, for terminals and for Markdown. */
import type { ChaosRow } from './chaos-run.ts'

const TITLES = [
  'scenario',
  'calls',
  'success %',
  'p50 ms',
  'p99 ms',
  'p999 ms',
  'errors for s',
  'longest s',
  'lost',
  'behind',
  'whole s',
  'owed s',
  'equal s',
  'cpu nodes+load',
]

/** Rows of equal cells, padded; `isMarkdown` with bars between them. */
export function chaosTable(rows: readonly ChaosRow[], isMarkdown = false): string {
  const table = render([TITLES, ...rows.map(cells)], isMarkdown)
  const notes = rows.flatMap(row => notesOf(row).map(note => `${row.scenario}: ${note}.`))
  return notes.length === 0 ? table : `${table}\n${notes.map(note => `- ${note}\n`).join('')}`
}

/** What the load cannot tell from slow nodes, when it is as short of processors as they are. */
const LATE_MS_MAX = 100

function notesOf({ notes, load }: ChaosRow): readonly string[] {
  if (load === undefined || load.lateMaxMs <= LATE_MS_MAX) return notes
  return [...notes, `the load itself was up to ${seconds(load.lateMaxMs)} s late`]
}

function render(lines: readonly (readonly string[])[], isMarkdown: boolean): string {
  const widths = lines[0]!.map((_, column) => {
    return Math.max(...lines.map(line => line[column]!.length))
  })
  const show = (line: readonly string[]): string => {
    const shown = line.map((cell, column) => {
      return column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
    })
    return isMarkdown ? `| ${shown.join(' | ')} |` : shown.join('  ')
  }
  const shown = lines.map(show)
  const rule = `|${widths.map((_, column) => (column === 0 ? '---' : '--:')).join('|')}|`
  if (isMarkdown) shown.splice(1, 0, rule)
  return `${shown.join('\n')}\n`
}

function cells(row: ChaosRow): string[] {
  const { scenario, load, lost, behind, wholeMs, hintsMs, equalMs } = row
  const tail = [String(lost), String(behind), seconds(wholeMs), seconds(hintsMs), seconds(equalMs)]
  if (load === undefined) return [scenario, '', '', '', '', '', '', '', ...tail, '']
  const { operations, p50Ms, p99Ms, p999Ms, errorSeconds, longestBurstMs } = load
  return [
    scenario,
    String(operations),
    successPercent(row),
    ...[p50Ms, p99Ms, p999Ms].map(ms => ms.toFixed(1)),
    errorSeconds.toFixed(1),
    (longestBurstMs / 1000).toFixed(1),
    ...tail,
    `${row.nodesCpu.toFixed(2)}+${load.cpu.toFixed(2)}`,
  ]
}

/** Never rounded up to 100. */
function successPercent({ load }: ChaosRow): string {
  if (load === undefined) return ''
  const { operations, failures } = load
  const percent = (100 * (operations - failures)) / Math.max(1, operations)
  return (Math.floor(percent * 1000) / 1000).toFixed(3)
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '-' : (ms / 1000).toFixed(1)
}

/** The same scenario done to several subjects, in Markdown: a column each. */
export function comparisonTable(
  rows: Readonly<Record<string, ChaosRow | undefined>>,
  scenario: string,
): string {
  const names = Object.keys(rows)
  const line = (title: string, show: (row: ChaosRow) => string): string[] => [
    title,
    ...names.map(name => (rows[name] === undefined ? '-' : show(rows[name]))),
  ]
  const lines = [
    [scenario, ...names],
    line('acknowledged writes lost', ({ lost }) => String(lost)),
    line('writes acknowledged', ({ load }) => String(load?.writes ?? 0)),
    line('calls that succeeded, %', successPercent),
    line('time with errors, s', ({ load }) => (load?.errorSeconds ?? 0).toFixed(1)),
    line('longest of it at a stretch, s', ({ load }) => seconds(load?.longestBurstMs)),
    line('p99, ms', ({ load }) => (load?.p99Ms ?? 0).toFixed(1)),
    line('p999, ms', ({ load }) => (load?.p999Ms ?? 0).toFixed(1)),
    line('from start to whole again, s', ({ notes }) => timesIn(notes, 'whole')),
    line('from the last start to equal copies, s', ({ equalMs }) => seconds(equalMs)),
    line('processors busy, nodes + load', ({ nodesCpu, load }) => {
      return `${nodesCpu.toFixed(2)} + ${(load?.cpu ?? 0).toFixed(2)}`
    }),
  ]
  return render(lines, true)
}

/** The times of a note that begins with the word. */
function timesIn(notes: readonly string[], word: string): string {
  const note = notes.find(each => each.startsWith(word)) ?? ''
  return note.match(/\d+\.\d|too long/g)?.join(', ') ?? '-'
}
