/** ping and stats: what the server says of itself. */
import { type Command, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatBytes, formatCount, formatDuration, renderPairs, renderTable } from './render.ts'
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
    if (isFigures(value)) sections += renderSection(inner, value, style)
    else if (isTable(value)) sections += renderRows(inner, value, style)
    else pairs.push([name, renderFigure(inner, value)])
  }
  if (pairs.length === 0) return sections
  const title = path === '' ? '' : `${style.bold(path)}\n`
  return `${title}${renderPairs(pairs, style)}${sections}`
}

/** A list of figures of the same kind, numbered from 0, as levels are. */
function renderRows(path: string, rows: readonly Figures[], style: Style): string {
  const names = Object.keys(rows[0] ?? {})
  const titles = ['', ...names].map(title => ({ title, align: 'right' }) as const)
  const cells = rows.map((row, index) => [
    String(index),
    ...names.map(name => renderFigure(`${path}.${name}`, row[name])),
  ])
  const table = renderTable(titles, cells).split('\n')
  const lines = table.filter(line => line !== '').map(line => `  ${line}\n`)
  return `${style.bold(path)}\n${lines.join('')}`
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
