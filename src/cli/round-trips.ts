/**
 * Durations of round trips, and the lines that show them: a bar for each doubling, and the
 * percentiles. Times are in milliseconds.
 */
import { createHistogram } from 'node:perf_hooks'
import { formatCount, formatDuration } from './render.ts'
import type { Style } from './style.ts'
import { padEnd, padStart } from './text-width.ts'

const NS_PER_MS = 1e6
const US_PER_MS = 1000
const BAR_WIDTH_MAX = 40
/** Bounds, count and percentage beside the bar. */
const AROUND_BAR = 44
const BAR_WIDTH_MIN = 8
/** Beyond 2^39 us, some six days, nobody waits. */
const DOUBLINGS_MAX = 40

export interface RoundTripSummary {
  readonly count: number
  readonly errors: number
  readonly minMs: number
  readonly meanMs: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

/** Round trips from `fromUs` to below `toUs`. */
export interface RoundTripBucket {
  readonly fromUs: number
  readonly toUs: number
  readonly count: number
}

export class RoundTrips {
  readonly #histogram = createHistogram()
  /** By the power of two of microseconds that they stay below; the first is below 1 us. */
  readonly #doublings = new Float64Array(DOUBLINGS_MAX)
  #errors = 0

  record(tookMs: number): void {
    // A histogram holds whole numbers from 1.
    this.#histogram.record(Math.max(1, Math.round(tookMs * NS_PER_MS)))
    const us = tookMs * US_PER_MS
    const doubling = us < 1 ? 0 : Math.min(DOUBLINGS_MAX - 1, Math.floor(Math.log2(us)) + 1)
    this.#doublings[doubling] = this.#doublings[doubling]! + 1
  }

  /** One that had no answer, or an error for an answer: it has no duration. */
  fail(): void {
    this.#errors++
  }

  /** Round trips, failed ones included. */
  get tries(): number {
    return this.#histogram.count + this.#errors
  }

  summary(): RoundTripSummary {
    const histogram = this.#histogram
    const { count } = histogram
    const ms = (value: number): number => (count === 0 ? 0 : value / NS_PER_MS)
    const at = (percent: number): number => ms(histogram.percentile(percent))
    return {
      count,
      errors: this.#errors,
      minMs: ms(histogram.min),
      meanMs: ms(histogram.mean),
      p50Ms: at(50),
      p95Ms: at(95),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: ms(histogram.max),
    }
  }

  /** From the quickest to the slowest that there was, empty ones between them included. */
  buckets(): RoundTripBucket[] {
    const first = this.#doublings.findIndex(count => count > 0)
    if (first < 0) return []
    const last = this.#doublings.findLastIndex(count => count > 0)
    return Array.from({ length: last - first + 1 }, (_, index) => {
      const doubling = first + index
      const fromUs = doubling === 0 ? 0 : 2 ** (doubling - 1)
      return { fromUs, toUs: 2 ** doubling, count: this.#doublings[doubling]! }
    })
  }
}

/** At most `width` columns wide. */
export function renderRoundTrips(trips: RoundTrips, width: number, style: Style): string[] {
  const summary = trips.summary()
  return [...renderBuckets(trips.buckets(), width, style), '', ...renderSummary(summary, style)]
}

function renderBuckets(buckets: readonly RoundTripBucket[], width: number, style: Style): string[] {
  const most = Math.max(1, ...buckets.map(({ count }) => count))
  const total = buckets.reduce((sum, { count }) => sum + count, 0)
  const barWidth = Math.max(BAR_WIDTH_MIN, Math.min(BAR_WIDTH_MAX, width - AROUND_BAR))
  return buckets.map(({ fromUs, toUs, count }) => {
    const from = padStart(formatDuration(fromUs / US_PER_MS), 7)
    const to = padStart(formatDuration(toUs / US_PER_MS), 7)
    // Whatever is there can be seen.
    const length = count === 0 ? 0 : Math.max(1, Math.round((count / most) * barWidth))
    const bar = padEnd(style.good('█'.repeat(length)), barWidth)
    const percent = `${((count / total) * 100).toFixed(1)} %`
    return `${from} to ${to}  ${bar} ${padStart(formatCount(count), 10)} ${padStart(percent, 8)}`
  })
}

function renderSummary(summary: RoundTripSummary, style: Style): string[] {
  const { count, errors, minMs, meanMs, p50Ms, p95Ms, p99Ms, p999Ms, maxMs } = summary
  const failed = errors === 0 ? '0 errors' : style.bad(`${formatCount(errors)} errors`)
  const head = `${formatCount(count)} round trips, ${failed}`
  if (count === 0) return [head]
  const figures = { min: minMs, mean: meanMs, p50: p50Ms, p95: p95Ms, p99: p99Ms }
  const rare = { 'p99.9': p999Ms, max: maxMs }
  return [head, renderFigures(figures, style), renderFigures(rare, style)]
}

function renderFigures(figures: Readonly<Record<string, number>>, style: Style): string {
  const shown = Object.entries(figures).map(([name, ms]) => {
    return `${style.dim(padEnd(name, 5))} ${padEnd(formatDuration(ms), 8)}`
  })
  return shown.join('  ').trimEnd()
}
