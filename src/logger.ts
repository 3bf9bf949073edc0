/** Structured logging: one line of JSON an event. A library is silent unless given a logger. */

import { describe } from './arguments.ts'
import { InvalidArgumentError } from './errors.ts'

export type LogFields = Readonly<Record<string, unknown>>

/** Shaped like pino's methods, so that a pino instance can be adapted in one line each. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

function ignore(): void {}

/** Drops everything: the default of a library. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

/** Throws InvalidArgumentError unless it has the four methods. */
export function checkLogger(logger: Logger): Logger {
  for (const method of ['debug', 'info', 'warn', 'error'] as const) {
    if (typeof (logger as Partial<Logger> | null)?.[method] === 'function') continue
    throw new InvalidArgumentError(
      `logger must have the methods debug, info, warn and error, got ${describe(logger)}`,
    )
  }
  return logger
}

/**
 * Writes one JSON object a line: `{"time":…,"level":…,"message":…,…fields}`. Errors in fields are
 * written with their code and message.
 */
export function jsonLogger(
  write: (line: string) => void,
  wallMs: () => number,
  level: LogLevel = 'info',
): Logger {
  const threshold = LOG_LEVELS.indexOf(level)
  function log(at: LogLevel): Logger['info'] {
    if (LOG_LEVELS.indexOf(at) < threshold) return ignore
    return (message, fields) => {
      const event = { time: new Date(wallMs()).toISOString(), level: at, message }
      write(`${logText({ ...event, ...fields }) ?? logText({ ...event, fields: 'circular' })}\n`)
    }
  }
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

/**
 * Fields as JSON, errors in them with their code and message. Undefined when they contain
 * themselves: a log line must never be what fails.
 */
export function logText(event: LogFields): string | undefined {
  try {
    return JSON.stringify(event, replaceUnprintable)
  } catch (error) {
    // A circle of plain objects is a TypeError, one of errors overflows the stack.
    if (error instanceof TypeError || error instanceof RangeError) return undefined
    throw error
  }
}

function replaceUnprintable(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  const code = 'code' in value ? value.code : undefined
  return { name: value.name, code, message: value.message, cause: value.cause }
}
