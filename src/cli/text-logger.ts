/**
 * Log lines for people: `12:03:04.123 warn  what happened  name=value name="two words"`. Programs
 * read the JSON lines of logger.ts instead.
 */
import { LOG_LEVELS, type LogFields, type Logger, type LogLevel } from '../logger.ts'
import type { Style } from './style.ts'

export interface TextLoggerOptions {
  readonly write: (line: string) => void
  readonly wallMs: () => number
  readonly level: LogLevel
  readonly style: Style
}

type PrintedLevel = Exclude<LogLevel, 'silent'>

export function textLogger({ write, wallMs, level, style }: TextLoggerOptions): Logger {
  const paint: Readonly<Record<PrintedLevel, (text: string) => string>> = {
    debug: style.dim,
    info: style.good,
    warn: style.warn,
    error: style.bad,
  }
  function log(at: PrintedLevel): Logger['info'] {
    const isShown = LOG_LEVELS.indexOf(at) >= LOG_LEVELS.indexOf(level)
    return (message, fields) => {
      if (!isShown) return
      const time = style.dim(new Date(wallMs()).toISOString().slice(11, 23))
      write(`${time} ${paint[at](at.padEnd(5))} ${message}${style.dim(formatFields(fields))}\n`)
    }
  }
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

function formatFields(fields: LogFields | undefined): string {
  if (fields === undefined) return ''
  const shown = Object.entries(fields).filter(([, value]) => value !== undefined)
  return shown.map(([name, value]) => `  ${name}=${formatValue(value)}`).join('')
}

function formatValue(value: unknown): string {
  const text = value instanceof Error ? formatError(value) : plainText(value)
  // Nothing that came from outside may move the cursor or begin a line of its own.
  return /^[\x21-\x7e]+$/.test(text) ? text : JSON.stringify(text)
}

function plainText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
}

function formatError(error: Error): string {
  const code = 'code' in error ? `${String(error.code)} ` : ''
  return `${code}${error.message}`
}
