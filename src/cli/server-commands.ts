/** ping and stats: what the server says of itself. */
import { type Command, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatBytes, formatCount, formatDuration, renderPairs, renderTable } from './render.ts'
import { shortIds } from './short-ids.ts'
import type { Style } from './style.ts'

export const pingCommand: Command = {
  name: 'ping',
  summary: 'tell whether the server answers, and how quickly',
  details: 'Ends with exit code 3 when it does not.',
  args: [],
  options: [],
  examples: [{ line: 'kvcli ping --url kv://10.0.0.7:7700', says: 'is it there?' }],
  async run(context) {
    const { output, session } = context
    const { clock } = session.io
    const client = await session.client(context.signal)
    const startMs = clock.monotonicMs()
    await client.ping(callOptions(context))
    const roundTripMs = clock.monotonicMs() - startMs
    const result = { ok: true, url: session.url, roundTripMs: Number(roundTripMs.toFixed(3)) }
    await output.print(result, () => `PONG from ${session.url} in ${formatDuration(roundTripMs)}`)
    return ExitCode.ok
  },
}

export const statsCommand: Command = {
  name: 'stats',
  aliases: ['info'],
  summary: "print the server's figures",
  args: [],
  options: [],
  examples: [
    { line: 'kvcli stats', says: 'for people' },
    { line: 'kvcli stats --json', says: 'for programs' },
  ],
  async run(context) {
    const { output, session } = context
    const client = await session.client(context.signal)
    const stats = await client.stats(callOptions(context))
    await output.print(stats, () => renderStats(stats, output.style).trimEnd())
    return ExitCode.ok
  },
}

/** Nested figures as sections: plain members as pairs, objects as sections of their own. */
export function renderStats(stats: Readonly<Record<string, unknown>>, style: Style): string {
  return renderSection('', stats, style)
}

type Figures = Readonly<Record<string, unknown>>

function renderSection(path: string, members: Figures, style: Style): string {
  const pairs: [string, string][] = []
  let sections = ''
  for (const [name, value] of Object.entries(members)) {
    const inner = path === '' ? name : `${path}.${name}`
    if (isByNode(value)) sections += renderRows(inner, Object.entries(value), style)
    else if (isFigures(value)) sections += renderSection(inner, value, style)
    else if (isTable(value)) sections += renderRows(inner, value.map(rowOf), style)
    else pairs.push([labelOf(name), renderFigure(inner, value)])
  }
  if (pairs.length === 0) return sections
  const title = path === '' ? '' : `${style.bold(path)}\n`
  return `${title}${renderPairs(pairs, style)}${sections}`
}

/** Figures of the same kind, each of a node, or of a number from 0, as levels are. */
function renderRows(path: string, rows: readonly Row[], style: Style): string {
  const nameOf = shortIds(rows.map(([id]) => id))
  const flat = rows.map(([id, row]) => [nameOf(id), flatten(row)] as const)
  const names = [...new Set(flat.flatMap(([, row]) => Object.keys(row)))]
  const titles = ['', ...names.map(labelOf)].map(title => ({ title, align: 'right' }) as const)
  const cells = flat.map(([id, row]) => [
    id,
    ...names.map(name => (name in row ? renderFigure(`${path}.${name}`, row[name]) : '')),
  ])
  const table = renderTable(titles, cells).split('\n')
  const lines = table.filter(line => line !== '').map(line => `  ${line}\n`)
  return `${style.bold(path)}\n${lines.join('')}`
}

type Row = readonly [id: string, figures: Figures]

function rowOf(figures: Figures, index: number): Row {
  const { nodeId, ...rest } = figures
  return typeof nodeId === 'string' ? [nodeId, rest] : [String(index), figures]
}

/** Figures within figures become columns of their own. */
function flatten(figures: Figures): Figures {
  const flat = Object.entries(figures).flatMap(([name, value]): [string, unknown][] =>
    isFigures(value) ? Object.entries(value) : [[name, value]],
  )
  return Object.fromEntries(flat)
}

/** The value tells its unit. */
function labelOf(name: string): string {
  return name.replace(/Ms$/, '')
}

/** Figures of nodes, by their ids. */
function isByNode(value: unknown): value is Readonly<Record<string, Figures>> {
  if (!isFigures(value)) return false
  const entries = Object.entries(value)
  return (
    entries.length > 0 &&
    entries.every(([name, inner]) => /^[0-9a-f]{32}$/.test(name) && isFigures(inner))
  )
}

function isFigures(value: unknown): value is Figures {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTable(value: unknown): value is readonly Figures[] {
  return Array.isArray(value) && value.length > 0 && value.every(isFigures)
}

const BYTES_NAME = /bytes|(?:^|\.)memory\.|budget|size$|sizeMax$|debt$/i

/** A figure with its unit, which its name tells. */
function renderFigure(path: string, value: unknown): string {
  if (typeof value !== 'number') {
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  }
  if (BYTES_NAME.test(path)) return formatBytes(value)
  if (/Ms$/.test(path)) return formatDuration(value)
  return Number.isInteger(value) ? formatCount(value) : value.toFixed(3)
}
