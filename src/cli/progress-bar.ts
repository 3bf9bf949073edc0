/** How far long work is: the line that shows it (pure), and what keeps the line on a terminal. */
import type { CancelTimer, Clock } from '../clock.ts'
import type { CliOutput } from './cli-io.ts'
import { formatBytes, formatCount, formatDuration, formatRate } from './render.ts'
import { PLAIN_STYLE, type Style } from './style.ts'
import { fitText, textWidth } from './text-width.ts'

export interface ProgressSample {
  /** Work done and all of it, in any one unit; undefined total when nobody knows. */
  readonly done: number
  readonly total: number | undefined
  /** Undefined for work that knows only bytes. */
  readonly records: number | undefined
  readonly bytes: number
}

export interface ProgressView {
  readonly title: string
  readonly sample: ProgressSample
  readonly elapsedMs: number
  /** Of late: records, or bytes where there are none. */
  readonly perSecond: number
  /** Until the end; undefined when nobody knows. */
  readonly remainingMs: number | undefined
}

const BAR_WIDTH_MAX = 30
const BAR_WIDTH_MIN = 10
/** '100.0 %', and two spaces in front of it. */
const PERCENT_WIDTH = 9

/** One line of at most `width` columns. */
export function renderProgress(view: ProgressView, width: number, style = PLAIN_STYLE): string {
  const { title, sample, elapsedMs, perSecond, remainingMs } = view
  const figures =
    sample.records === undefined
      ? [formatBytes(sample.bytes), `${formatBytes(perSecond)}/s`]
      : [`${formatCount(sample.records)} records`, formatRate(perSecond)]
  if (sample.total === undefined) {
    figures.push(formatBytes(sample.bytes), formatDuration(elapsedMs))
    return fitText(`${title}  ${figures.join('  ')}`, width)
  }
  const fraction = sample.total === 0 ? 1 : Math.min(1, sample.done / sample.total)
  if (remainingMs !== undefined) {
    figures.push(remainingMs < 1000 ? 'under 1 s left' : `${formatDuration(remainingMs)} left`)
  }
  const percent = `${(Math.floor(fraction * 1000) / 10).toFixed(1)} %`.padStart(PERCENT_WIDTH)
  const around = textWidth(`${title}${percent}    ${figures.join('  ')}`)
  const barWidth = Math.min(BAR_WIDTH_MAX, width - around)
  if (barWidth < BAR_WIDTH_MIN) return fitText(`${title}${percent}  ${figures.join('  ')}`, width)
  return `${title}${percent}  ${renderBar(fraction, barWidth, style)}  ${figures.join('  ')}`
}

function renderBar(fraction: number, width: number, style: Style): string {
  const full = Math.floor(fraction * width)
  return style.good('█'.repeat(full)) + style.dim('░'.repeat(width - full))
}

/** Rates are those of the last few seconds, so that they follow what happens. */
const RATE_SPAN_MS = 5000
/** At most ten lines a second. */
const TICK_MS = 100
/** Columns of a terminal that does not say. */
const WIDTH_STANDARD = 80

interface TimedSample extends ProgressSample {
  readonly atMs: number
}

export interface ProgressOptions {
  readonly title: string
  readonly clock: Clock
  readonly terminal: CliOutput
  readonly style: Style
  readonly sample: () => ProgressSample
}

/** Redraws the line until `stop`. Keeps no process alive. */
export class ProgressBar {
  readonly #options: ProgressOptions
  readonly #startMs: number
  /** Oldest first, not older than the span of rates. */
  #samples: TimedSample[] = []
  #cancel: CancelTimer | undefined

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#startMs = options.clock.monotonicMs()
    this.#tick()
  }

  /** Prints a line above the bar. */
  note(text: string): void {
    this.#options.terminal.write(`\r\u001b[K${text}\n`)
  }

  /** Takes the bar away. Idempotent. */
  stop(): void {
    if (this.#cancel === undefined) return
    this.#cancel()
    this.#cancel = undefined
    this.#options.terminal.write('\r\u001b[K')
  }

  #tick(): void {
    const { clock, terminal, style } = this.#options
    const view = this.#look(clock.monotonicMs())
    // Some terminals say 0. The last column stays free: writing to it wraps the line on some.
    const { columns = 0 } = terminal
    const line = renderProgress(view, (columns > 0 ? columns : WIDTH_STANDARD) - 1, style)
    // A terminal that does not keep up gets the next line instead.
    if (!terminal.writableNeedDrain) terminal.write(`\r${line}\u001b[K`)
    this.#cancel = clock.setTimer(TICK_MS, () => this.#tick(), { background: true })
  }

  #look(nowMs: number): ProgressView {
    const sample = { ...this.#options.sample(), atMs: nowMs }
    this.#samples.push(sample)
    while (this.#samples.length > 2 && nowMs - this.#samples[0]!.atMs > RATE_SPAN_MS) {
      this.#samples.shift()
    }
    const first = this.#samples[0]!
    const spanMs = nowMs - first.atMs
    const donePerMs = spanMs > 0 ? (sample.done - first.done) / spanMs : 0
    const left = sample.total === undefined ? undefined : Math.max(0, sample.total - sample.done)
    return {
      title: this.#options.title,
      sample,
      elapsedMs: nowMs - this.#startMs,
      perSecond: spanMs > 0 ? ((amountOf(sample) - amountOf(first)) / spanMs) * 1000 : 0,
      remainingMs: left === undefined || donePerMs <= 0 ? undefined : left / donePerMs,
    }
  }
}

function amountOf({ records, bytes }: ProgressSample): number {
  return records ?? bytes
}
