/**
 * What a node tells of itself to monitoring: families of samples, in the terms of Prometheus.
 * Whoever knows a figure describes it; http/metrics-text.ts writes them.
 *
 * Names: `duramen_`, what it is, its base unit (seconds, bytes, ratio); counters end in `_total`.
 * Labels have few values: operations, statuses, levels, reasons, states; never keys or clients.
 */
import type { LatencyHistogram } from './latency-histogram.ts'

export type Labels = Readonly<Record<string, string>>

export interface MetricSample {
  readonly labels?: Labels
  readonly value: number
}

export interface HistogramSample {
  readonly labels?: Labels
  readonly histogram: LatencyHistogram
}

export type MetricFamily =
  | {
      readonly type: 'counter' | 'gauge'
      readonly name: string
      readonly help: string
      readonly samples: readonly MetricSample[]
    }
  | {
      /** Of durations, in seconds. */
      readonly type: 'histogram'
      readonly name: string
      readonly help: string
      readonly samples: readonly HistogramSample[]
    }

export function counter(name: string, help: string, value: number | MetricSample[]): MetricFamily {
  return { type: 'counter', name, help, samples: samplesOf(value) }
}

export function gauge(name: string, help: string, value: number | MetricSample[]): MetricFamily {
  return { type: 'gauge', name, help, samples: samplesOf(value) }
}

function samplesOf(value: number | MetricSample[]): readonly MetricSample[] {
  return typeof value === 'number' ? [{ value }] : value
}

/** One sample a member, the name of each under `label`. */
export function byLabel(label: string, values: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(values).map(([name, value]) => ({ labels: { [label]: name }, value }))
}
