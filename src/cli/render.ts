/** Numbers, tables and errors for people to read. Pure: text in, text out. */
import { KvError, type KvErrorAction, OverloadedError, UnavailableError } from '../errors.ts'
import { PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE } from './password.ts'
import { RefusedError } from './refused-error.ts'
import { shortenIds } from './short-ids.ts'
import { PLAIN_STYLE, type Style } from './style.ts'
import { padEnd, padStart, textWidth } from './text-width.ts'
import { UsageError } from './usage-error.ts'

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** 1234567 as "1,234,567". */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US', { maximumFractionDigits: 0 })
}

/** Three digits that matter, and the unit: "0 B", "1.50 KiB", "17.2 MiB". */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)} ${BYTE_UNITS[unit]}`
}

/** "12 us", "1.25 ms", "9.41 s", "4m 07s", "2h 03m". */
export function formatDuration(ms: number): string {
  if (ms < 0.9995) return `${Math.round(ms * 1000)} us`
  if (ms < 999.5) return `${threeDigits(ms)} ms`
  if (ms < 59_950) return `${threeDigits(ms / 1000)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${twoDigits(seconds % 60)}s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)}h ${twoDigits(minutes % 60)}m`
}

/** "812/s", "104,512/s". */
export function formatRate(perSecond: number): string {
  return `${perSecond < 10 ? threeDigits(perSecond) : formatCount(perSecond)}/s`
}

function threeDigits(value: number): string {
  if (value >= 99.95) return String(Math.round(value))
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

export interface TableColumn {
  readonly title: string
  /** Numbers stand right. @defaultValue 'left' */
  readonly align?: 'left' | 'right'
}

/** Columns two spaces apart under their titles; no lines, no trailing spaces. */
export function renderTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  style: Style = PLAIN_STYLE,
): string {
  const widths = columns.map(({ title }, index) =>
    Math.max(textWidth(title), ...rows.map(row => textWidth(row[index] ?? ''))),
  )
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, index) => {
        const cell = cells[index] ?? ''
        return align === 'right' ? padStart(cell, widths[index]!) : padEnd(cell, widths[index]!)
      })
      .join('  ')
      .trimEnd()
  const titles = line(columns.map(({ title }) => title))
  return [style.bold(titles), ...rows.map(line)].map(text => `${text}\n`).join('')
}

/** Names and what belongs to them, in two columns, indented. */
export function renderPairs(
  pairs: readonly (readonly [string, string])[],
  style: Style = PLAIN_STYLE,
): string {
  const width = Math.max(0, ...pairs.map(([name]) => textWidth(name)))
  return pairs.map(([name, value]) => `  ${style.dim(padEnd(name, width))}  ${value}\n`).join('')
}

/** What to do about an error, in the words of somebody at a command line. */
const ADVICE: Readonly<Record<KvErrorAction, string>> = {
  'fix-request': 'correct the command; see kvcli help',
  retry: 'try again',
  'retry-later': 'wait a moment, then try again',
  'read-to-confirm': 'the write may have happened: read the key to find out',
  reopen: 'connect again; if it is the server that closed, restart it and read its log',
  'close-other': 'stop the other process, or use it through its server',
  'check-disk': 'check the path, its permissions and the space on the disk',
  'restore-data': 'restore the file from a backup or replica',
  upgrade: 'install the same version of Duramen on both sides',
  'have-granted': 'have it granted where the node runs: kvd user grant <name> <permissions>',
  'start-over': 'copy the state anew, then follow the changes from there',
  report: 'this is a bug: please report it with the command and this message',
}

export interface ErrorReport {
  readonly code: string
  readonly message: string
  readonly action: string
}

/** An error as `--json` shows it. */
export function describeError(error: unknown): ErrorReport {
  if (error instanceof KvError) {
    return { code: error.code, message: error.message, action: error.action }
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return { code: 'KV_INTERNAL', message, action: 'report' }
}

/** Where the server is that a command talks to. */
export interface ServerPlace {
  readonly url: string
  /** It is a node of the cluster that `kvd dev` runs here. @defaultValue false */
  readonly isDev?: boolean
}

/** An error as people see it: what happened, its code, what to do. */
export function renderError(
  error: unknown,
  server: ServerPlace,
  style: Style = PLAIN_STYLE,
): string {
  const { code, message } = describeError(error)
  // What is wrong with a command line, or who stopped it, is plain; a code helps nobody.
  const shownCode = isUsage(error) || code === 'KV_ABORTED' ? '' : ` ${style.dim(`[${code}]`)}`
  const text = shortenIds(message)
  return `${style.bad('error:')} ${text}${shownCode}\n${advice(error, server, style)}`
}

function isUsage(error: unknown): boolean {
  return error instanceof UsageError
}

function advice(error: unknown, server: ServerPlace, style: Style): string {
  const lines = adviceLines(error, server)
  return lines.map(line => `${style.dim('  ->')} ${line}\n`).join('')
}

const CLIENT_PORT_ADVICE =
  "the port for clients is the one that kvd shows as 'listening': --url kv://host:port"

function adviceLines(error: unknown, { url, isDev }: ServerPlace): readonly string[] {
  if (!(error instanceof KvError)) return [ADVICE.report]
  if (isUsage(error)) return []
  if (error instanceof RefusedError) return [error.advice]
  if (error instanceof UnavailableError) {
    // The server is there, and the message says what to do.
    if (error.isAnswer || error.isTls) return []
    if (error.isStranger) {
      return [
        CLIENT_PORT_ADVICE,
        'where that speaks TLS: --url kvs://host:port, with --tls-ca, and --tls-cert and ' +
          '--tls-key where it asks for a certificate',
      ]
    }
    if (isDev === true) {
      return ['see which nodes run with: kvcli dev status', 'start one with: kvcli dev start 1']
    }
    return [
      `is a server running at ${url}? start one here with: kvd serve`,
      'or say where it is: --url kv://host:port, or DURAMEN_URL in the environment',
    ]
  }
  if (error instanceof OverloadedError) {
    return [`wait ${formatDuration(error.retryAfterMs)}, then try again`]
  }
  if (error.code === 'KV_AUTHENTICATION') {
    return [`the password comes from ${PASSWORD_VARIABLE}, or a file: ${PASSWORD_FILE_VARIABLE}`]
  }
  // Mostly another port of a node, or another program.
  if (error.code === 'KV_PROTOCOL') {
    return [CLIENT_PORT_ADVICE, `if that is what is asked: ${ADVICE.report}`]
  }
  if (error.code === 'KV_NOT_FOUND') {
    // Where the error itself says what to give, "check the name" would contradict it.
    return /\(.*--/.test(error.message) ? [] : ['check the name: nothing of that name is there']
  }
  if (error.code === 'KV_POISONED') {
    return ['see to the disk of the server (is it full?), then restart the server']
  }
  if (error.code === 'KV_TIMEOUT' && error.outcome === 'rejected') {
    return [`is the server at ${url} well? try again, or give it longer with --timeout`]
  }
  // Whoever pressed Ctrl-C knows what to do, but for what the server did meanwhile.
  if (error.code === 'KV_ABORTED') {
    return error.outcome === 'unknown' ? [ADVICE['read-to-confirm']] : []
  }
  return [ADVICE[error.action]]
}
