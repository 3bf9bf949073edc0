/**
 * Families of metrics in Prometheus's text format 0.0.4: HELP and TYPE, then the samples of the
 * family together; buckets are cumulative and end with +Inf, which is the count.
 */
import { assert } from '../../assert.ts'
import type { LatencyHistogram } from '../latency-histogram.ts'
import type { Labels, MetricFamily } from '../metrics.ts'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Doublings of 64 us up to 17 s: where the histograms' own buckets begin, so they are exact. */
const BOUNDS_US = Array.from({ length: 19 }, (_, at) => 64 * 2 ** at)
const BOUNDS_S = BOUNDS_US.map(us => String(us / 1e6))

/** Families of the same name, from several parts of a node, become one. */
export function metricsText(families: readonly MetricFamily[]): string {
  const lines: string[] = []
  for (const [name, parts] of byName(families)) {
    const [{ type, help }] = parts
    lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`)
    for (const family of parts) {
      assert(family.type === type, 'a metric has one type')
      if (family.type === 'histogram') {
        for (const { labels, histogram } of family.samples) {
          pushHistogram(lines, name, labels ?? {}, histogram)
        }
      } else {
        for (const { labels, value } of family.samples) {
          lines.push(`${name}${labelText(labels ?? {})} ${numberText(value)}`)
        }
      }
    }
  }
  return `${lines.join('\n')}\n`
}

type Parts = [MetricFamily, ...MetricFamily[]]

function byName(families: readonly MetricFamily[]): Map<string, Parts> {
  const named = new Map<string, Parts>()
  for (const family of families) {
    if (family.samples.length === 0) continue
    const parts = named.get(family.name)
    if (parts === undefined) named.set(family.name, [family])
    else parts.push(family)
  }
  return named
}

function pushHistogram(
  lines: string[],
  name: string,
  labels: Labels,
  histogram: LatencyHistogram,
): void {
  const counts = histogram.countsBelowUs(BOUNDS_US)
  for (const [at, le] of BOUNDS_S.entries()) {
    lines.push(`${name}_bucket${labelText({ ...labels, le })} ${counts[at]}`)
  }
  lines.push(`${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${histogram.count}`)
  lines.push(`${name}_sum${labelText(labels)} ${numberText(histogram.sumMs / 1000)}`)
  lines.push(`${name}_count${labelText(labels)} ${histogram.count}`)
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
