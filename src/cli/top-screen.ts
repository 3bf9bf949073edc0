/** What `top` shows, as lines for people. Pure. */
import {
  formatBytes,
  formatCount,
  formatDuration,
  renderTable,
  type TableColumn,
} from './render.ts'
import { shortIds } from './short-ids.ts'
import type { Style } from './style.ts'
import { padEnd } from './text-width.ts'
import type { TopFigures, TopLoad, TopMember } from './top-figures.ts'

const UNKNOWN = '-'
const LABEL_WIDTH = 12

/** The screen; `why` there was no answer this time, then the figures are those of before. */
export function renderTop(
  figures: TopFigures,
  why: string | undefined,
  url: string,
  style: Style,
): string[] {
  const lines = [headOf(figures, url, style)]
  if (why !== undefined) lines.push(style.bad(`no answer: ${why}`))
  lines.push('', ...loadLines(figures, style), '', ...nodeLines(figures, style))
  if (figures.members.length > 1) lines.push('', ...memberLines(figures.members, style))
  return lines
}

function headOf({ health, atMs, members, uptimeMs }: TopFigures, url: string, style: Style) {
  const parts = [style.bold(url), clockTime(atMs)]
  if (health !== null) parts.push(style.bold(paintHealth(health, style)))
  if (members.length > 1) parts.push(`${formatCount(members.length)} nodes`)
  if (uptimeMs !== null) parts.push(`up ${formatDuration(uptimeMs)}`)
  return parts.join('   ')
}

/** The colour stands there as a word, for those who do not see it. */
function paintHealth(health: string, style: Style): string {
  const paint = { green: style.good, yellow: style.warn, red: style.bad }[health] ?? style.dim
  return paint(health.toUpperCase())
}

/** Of the day, as at the place of whoever looks. */
function clockTime(atMs: number): string {
  const at = new Date(atMs)
  const parts = [at.getHours(), at.getMinutes(), at.getSeconds()]
  return parts.map(part => String(part).padStart(2, '0')).join(':')
}

const LOAD_COLUMNS: readonly TableColumn[] = [
  { title: padEnd('', LABEL_WIDTH) },
  { title: ' per second', align: 'right' },
  { title: '     p50', align: 'right' },
  { title: '     p99', align: 'right' },
]

function loadLines({ reads, writes }: TopFigures, style: Style): string[] {
  const rows = [
    ['reads', ...loadCells(reads)],
    ['writes', ...loadCells(writes)],
  ]
  return renderTable(LOAD_COLUMNS, rows, style).trimEnd().split('\n')
}

function loadCells(load: TopLoad | null): string[] {
  if (load === null) return [UNKNOWN, UNKNOWN, UNKNOWN]
  return [formatCount(load.perSecond), durationText(load.p50Ms), durationText(load.p99Ms)]
}

function durationText(ms: number | null): string {
  return ms === null ? UNKNOWN : formatDuration(ms)
}

function nodeLines(figures: TopFigures, style: Style): string[] {
  const { memory, disk, compaction, stalls, owedWrites, errorsPerSecond } = figures
  const pairs: [string, string][] = []
  const { connections, inFlight } = figures
  if (connections !== null) {
    const under = inFlight === null ? '' : `, ${formatCount(inFlight)} requests under way`
    pairs.push(['connections', `${formatCount(connections)}${under}`])
  }
  if (errorsPerSecond !== null) {
    const text = `${formatCount(errorsPerSecond)} a second`
    pairs.push(['errors', errorsPerSecond > 0 ? style.warn(text) : text])
  }
  if (memory !== null) {
    const { totalBytes, budgetBytes } = memory
    pairs.push(['memory', `${formatBytes(totalBytes)} of ${formatBytes(budgetBytes)}`])
  }
  if (disk !== null) {
    const { tableBytes, logBytes } = disk
    pairs.push(['on disk', `${formatBytes(tableBytes)} in tables, ${formatBytes(logBytes)} of log`])
  }
  if (compaction !== null) pairs.push(['compaction', compactionText(compaction)])
  if (stalls !== null) {
    const { count, totalMs } = stalls
    const spent = count === 0 ? '' : `, ${formatDuration(totalMs)} in all`
    pairs.push(['stalls', `${formatCount(count)}${spent}`])
  }
  if (owedWrites !== null) pairs.push(['hints', owedText(owedWrites, style)])
  return pairs.map(([name, text]) => `${style.dim(padEnd(name, LABEL_WIDTH))}  ${text}`)
}

function compactionText(compaction: NonNullable<TopFigures['compaction']>): string {
  const { running, debtBytes, readBytesPerSecond, writtenBytesPerSecond } = compaction
  const parts = [`${formatCount(running)} running`, `${formatBytes(debtBytes)} to do`]
  if (readBytesPerSecond !== null) parts.push(`reads ${formatBytes(readBytesPerSecond)}/s`)
  if (writtenBytesPerSecond !== null) parts.push(`writes ${formatBytes(writtenBytesPerSecond)}/s`)
  return parts.join(', ')
}

function owedText(writes: number, style: Style): string {
  return writes === 0 ? 'none' : style.warn(`${formatCount(writes)} writes owed to nodes`)
}

const MEMBER_COLUMNS: readonly TableColumn[] = [
  { title: '' },
  { title: 'node' },
  { title: 'address' },
  { title: 'seen' },
  { title: 'reads/s', align: 'right' },
  { title: 'writes/s', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'owed', align: 'right' },
]

function memberLines(members: readonly TopMember[], style: Style): string[] {
  const nameOf = shortIds(members.map(({ node }) => node))
  const rows = members.map(member => [
    member.isAsked ? '*' : '',
    nameOf(member.node),
    member.address,
    seenText(member, style),
    countText(member.readsPerSecond),
    countText(member.writesPerSecond),
    durationText(member.p99Ms),
    member.owedWrites === 0 ? '' : formatCount(member.owedWrites),
  ])
  return renderTable(MEMBER_COLUMNS, rows, style).trimEnd().split('\n')
}

function seenText({ liveness, state }: TopMember, style: Style): string {
  if (liveness !== 'up') return style.bad(liveness)
  return state === 'normal' ? 'up' : `up, ${state}`
}

function countText(count: number | null): string {
  return count === null ? UNKNOWN : formatCount(count)
}

/** The same on one line, for a file or a pipe. */
export function renderTopLine(figures: TopFigures): string {
  const { atMs, health, reads, writes, memory, compaction, owedWrites } = figures
  const load = (name: string, of: TopLoad | null): string => {
    const [rate, p50, p99] = loadCells(of)
    return `${name} ${rate}/s p50 ${p50} p99 ${p99}`
  }
  const parts = [new Date(atMs).toISOString(), health?.toUpperCase() ?? UNKNOWN]
  parts.push(load('reads', reads), load('writes', writes))
  if (memory !== null) parts.push(`memory ${formatBytes(memory.totalBytes)}`)
  if (compaction !== null) {
    const { running, debtBytes } = compaction
    parts.push(`compaction ${formatCount(running)}, ${formatBytes(debtBytes)} to do`)
  }
  if (owedWrites !== null) parts.push(`owed ${formatCount(owedWrites)}`)
  return parts.join('  ')
}
