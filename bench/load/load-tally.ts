/** What one process of the load generator counted, and the sum over all of them. */
import { type HistogramData, LatencyHistogram } from '../latency-histogram.ts'
import type { Operation } from './driver.ts'
import type { Outcome } from './load-connection.ts'

/** Counts by what went wrong, as it travels between processes. */
export type ErrorCounts = Readonly<Record<string, number>>

export interface LoadResult {
  readonly read: HistogramData
  readonly write: HistogramData
  /** Successful replies of the measured time, and how long that was. */
  readonly completed: number
  readonly durationMs: number
  /** Replies at any time, also while warming up. */
  readonly answered: number
  /** Errors at any time, also while warming up. */
  readonly errors: ErrorCounts
  /** How late the generator itself sent at worst, in the open loop. */
  readonly lagMaxMs: number
  /** The part of a processor that this process used, near 1 when it could not do more. */
  readonly busy: number
}

export class LoadTally {
  readonly #histograms: Readonly<Record<Operation, LatencyHistogram>> = {
    read: new LatencyHistogram(),
    write: new LatencyHistogram(),
  }
  readonly #errors = new Map<string, number>()
  readonly #fromMs: number
  readonly #durationMs: number
  readonly #startMs = performance.now()
  readonly #startCpu = process.cpuUsage()
  #answered = 0
  #completed = 0
  #lagMaxMs = 0

  /** Measures what was due within `durationMs` from `fromMs` on (performance.now()). */
  constructor(fromMs: number, durationMs: number) {
    this.#fromMs = fromMs
    this.#durationMs = durationMs
  }

  record({ operation, dueMs, error }: Outcome): void {
    this.#answered++
    if (error !== undefined) {
      this.#errors.set(error, (this.#errors.get(error) ?? 0) + 1)
      return
    }
    const nowMs = performance.now()
    const endMs = this.#fromMs + this.#durationMs
    if (nowMs >= this.#fromMs && nowMs < endMs) this.#completed++
    if (dueMs >= this.#fromMs && dueMs < endMs) {
      this.#histograms[operation].recordMs(nowMs - dueMs)
    }
  }

  recordLag(nowMs: number, dueMs: number): void {
    if (dueMs >= this.#fromMs) this.#lagMaxMs = Math.max(this.#lagMaxMs, nowMs - dueMs)
  }

  result(unanswered: number): LoadResult {
    const errors = Object.fromEntries(this.#errors)
    if (unanswered > 0) errors['no answer'] = unanswered
    const { user, system } = process.cpuUsage(this.#startCpu)
    return {
      read: this.#histograms.read.toData(),
      write: this.#histograms.write.toData(),
      completed: this.#completed,
      durationMs: this.#durationMs,
      answered: this.#answered,
      errors,
      lagMaxMs: this.#lagMaxMs,
      busy: (user + system) / 1000 / (performance.now() - this.#startMs),
    }
  }
}

export interface Percentiles {
  readonly count: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

export interface LoadSummary {
  readonly perSecond: number
  /** Replies at any time, also while warming up. */
  readonly answered: number
  readonly all: Percentiles
  readonly read: Percentiles
  readonly write: Percentiles
  readonly errors: ErrorCounts
  readonly errorCount: number
  readonly lagMaxMs: number
  /** Of the busiest process. */
  readonly busy: number
}

function percentiles(parts: readonly HistogramData[]): Percentiles {
  const histogram = new LatencyHistogram()
  for (const part of parts) histogram.add(part)
  return {
    count: histogram.count,
    p50Ms: histogram.percentileMs(0.5),
    p90Ms: histogram.percentileMs(0.9),
    p99Ms: histogram.percentileMs(0.99),
    p999Ms: histogram.percentileMs(0.999),
    maxMs: histogram.maxMs,
  }
}

/** One summary of what all processes of the generator measured at the same time. */
export function summarize(results: readonly LoadResult[]): LoadSummary {
  const errors: Record<string, number> = {}
  let perSecond = 0
  let answered = 0
  let lagMaxMs = 0
  let busy = 0
  for (const result of results) {
    perSecond += (result.completed / result.durationMs) * 1000
    answered += result.answered
    lagMaxMs = Math.max(lagMaxMs, result.lagMaxMs)
    busy = Math.max(busy, result.busy)
    for (const [error, count] of Object.entries(result.errors)) {
      errors[error] = (errors[error] ?? 0) + count
    }
  }
  const reads = results.map(({ read }) => read)
  const writes = results.map(({ write }) => write)
  return {
    perSecond,
    answered,
    all: percentiles([...reads, ...writes]),
    read: percentiles(reads),
    write: percentiles(writes),
    errors,
    errorCount: Object.values(errors).reduce((sum, count) => sum + count, 0),
    lagMaxMs,
    busy,
  }
}
