/**
 * What has happened on a node of late, for people who look at it: the last lines of its log, and
 * events that are no lines of the log, such as flushes. Bounded in number and bytes; of a flood of
 * one kind the first are kept, and how many were left out.
 *
 * Invariants:
 *  1. Sequences ascend by one from 1, with no gap among those that are kept.
 *  2. An event is kept as the JSON that is served: nothing of what was given is held.
 */
import type { Clock } from '../clock.ts'
import { type LogFields, type Logger, type LogLevel, logText } from '../logger.ts'

export type EventLevel = Exclude<LogLevel, 'debug' | 'silent'>

export interface LoggedEvent {
  readonly sequence: number
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number
  readonly level: EventLevel
  /** One word: `log` for a line of the log, else what happened. */
  readonly kind: string
  readonly message: string
  readonly fields: LogFields
}

const EVENTS_MAX = 500
/** Characters of what comes with an event; more is left out. */
const FIELDS_SIZE_MAX = 2000
const MESSAGE_SIZE_MAX = 500
/** Events of one kind that are taken in a window. */
const KIND_MAX = 40
const WINDOW_MS = 10_000
/** Where the code stands is for the log file. */
const LEFT_OUT = new Set(['stack'])

interface Window {
  startMs: number
  taken: number
  leftOut: number
}

export class EventLog {
  readonly #clock: Clock
  readonly #texts: string[] = []
  readonly #windows = new Map<string, Window>()
  #last = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of the newest event; 0 before the first. */
  get last(): number {
    return this.#last
  }

  /** `kind` is one of few words. */
  add(level: EventLevel, kind: string, message: string, fields: LogFields = {}): void {
    const nowMs = this.#clock.monotonicMs()
    let window = this.#windows.get(kind)
    if (window === undefined || nowMs - window.startMs >= WINDOW_MS) {
      const leftOut = window?.leftOut ?? 0
      window = { startMs: nowMs, taken: 0, leftOut: 0 }
      this.#windows.set(kind, window)
      if (leftOut > 0) this.#keep('warn', kind, `${leftOut} more were left out here`, {})
    }
    if (window.taken === KIND_MAX) {
      window.leftOut++
      return
    }
    window.taken++
    this.#keep(level, kind, message, fields)
  }

  #keep(level: EventLevel, kind: string, message: string, fields: LogFields): void {
    this.#last++
    const shown = Object.entries(fields).filter(([name]) => !LEFT_OUT.has(name))
    const text = logText(Object.fromEntries(shown)) ?? '{}'
    const head = logText({
      ...{ sequence: this.#last, atMs: Math.round(this.#clock.wallMs()), level, kind },
      message: message.slice(0, MESSAGE_SIZE_MAX),
    })!
    this.#texts.push(
      `${head.slice(0, -1)},"fields":${text.length > FIELDS_SIZE_MAX ? '{}' : text}}`,
    )
    if (this.#texts.length > EVENTS_MAX) this.#texts.shift()
  }

  /** Events with a higher sequence than that, oldest first, as JSON: see EventsPage. */
  after(sequence: number): string {
    const count = Math.max(0, Math.min(this.#texts.length, this.#last - sequence))
    const texts = this.#texts.slice(this.#texts.length - count)
    return `{"last":${this.#last},"events":[${texts.join(',')}]}`
  }
}

/** What EventLog.after comes to. */
export interface EventsPage {
  /** To be asked after next. */
  readonly last: number
  readonly events: readonly LoggedEvent[]
}

/** A logger whose lines are events as well, but for those of level debug. */
export function eventLogger(logger: Logger, events: EventLog): Logger {
  const both = (level: EventLevel): Logger['info'] => {
    return (message, fields) => {
      logger[level](message, fields)
      events.add(level, 'log', message, fields)
    }
  }
  return {
    debug: (message, fields) => logger.debug(message, fields),
    info: both('info'),
    warn: both('warn'),
    error: both('error'),
  }
}
