/**
 * A closed loop of callers against a store: each sends its next request when the last one has its
 * answer. Says how long requests take under that load; for latencies at a fixed rate, corrected
 * for coordinated omission, see bench/ of the project.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { type Clock, yieldToEventLoop } from '../clock.ts'

export interface LoadOptions {
  readonly callers: number
  readonly durationMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Sends one request; rejections count as errors. */
  readonly request: () => Promise<unknown>
}

export interface LoadResult {
  readonly requests: number
  readonly errors: number
  /** The first one, to be shown. */
  readonly firstError: unknown
  readonly seconds: number
  readonly perSecond: number
  readonly meanMs: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

const NS_PER_MS = 1e6

export async function generateLoad(options: LoadOptions): Promise<LoadResult> {
  const { clock, callers, durationMs, signal } = options
  const histogram = createHistogram()
  const tally = { errors: 0, firstError: undefined as unknown }
  const startMs = clock.monotonicMs()
  const endMs = startMs + durationMs
  const caller = async (): Promise<void> => {
    for (let sentMs = clock.monotonicMs(); sentMs < endMs && !signal.aborted; ) {
      try {
        await options.request()
      } catch (error) {
        tally.errors++
        tally.firstError ??= error
        // A store that refuses at once would keep everything else from happening.
        await yieldToEventLoop()
      }
      const nowMs = clock.monotonicMs()
      // A histogram holds whole numbers from 1.
      histogram.record(Math.max(1, Math.round((nowMs - sentMs) * NS_PER_MS)))
      sentMs = nowMs
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return summarize(histogram, tally, (clock.monotonicMs() - startMs) / 1000)
}

function summarize(
  histogram: RecordableHistogram,
  tally: { readonly errors: number; readonly firstError: unknown },
  seconds: number,
): LoadResult {
  const ms = (percent: number): number =>
    histogram.count === 0 ? 0 : histogram.percentile(percent) / NS_PER_MS
  return {
    requests: histogram.count,
    ...tally,
    seconds,
    perSecond: seconds > 0 ? histogram.count / seconds : 0,
    meanMs: histogram.count === 0 ? 0 : histogram.mean / NS_PER_MS,
    p50Ms: ms(50),
    p95Ms: ms(95),
    p99Ms: ms(99),
    p999Ms: ms(99.9),
    maxMs: ms(100),
  }
}
