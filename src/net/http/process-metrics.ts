/**
 * What the process is to monitoring, under the names that prom-client gives, so that dashboards
 * made for Node.js show it.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import type { ServerIdentity } from '../handshake.ts'
import { counter, gauge, type MetricFamily } from '../metrics.ts'

/** How often the event loop is looked at, in milliseconds; what it takes counts as no delay. */
const RESOLUTION_MS = 20
const NS_PER_S = 1e9
const US_PER_S = 1e6

export class ProcessMetrics {
  #delay: IntervalHistogram | undefined

  /** Begins to watch the event loop. */
  start(): void {
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
    this.#delay.enable()
  }

  stop(): void {
    this.#delay?.disable()
  }

  metrics({ serverVersion, nodeId }: ServerIdentity): MetricFamily[] {
    const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
    const { user, system } = process.cpuUsage()
    const build = { version: serverVersion, node_version: process.version, node_id: nodeId }
    return [
      gauge('duramen_build_info', 'Always 1; its labels say what runs.', [
        { labels: build, value: 1 },
      ]),
      gauge('process_resident_memory_bytes', 'Memory that the process has.', rss),
      counter('process_cpu_user_seconds_total', 'Processor time in user space.', user / US_PER_S),
      counter('process_cpu_system_seconds_total', 'In the kernel.', system / US_PER_S),
      gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', heapUsed),
      gauge('nodejs_heap_size_total_bytes', 'JavaScript heap.', heapTotal),
      gauge('nodejs_external_memory_bytes', 'Memory of buffers.', external),
      ...this.#loopMetrics(),
    ]
  }

  /** Since they were told last: a maximum of all time tells little. */
  #loopMetrics(): MetricFamily[] {
    const delay = this.#delay
    if (delay === undefined || delay.count === 0) return []
    const late = (ns: number): number => Math.max(0, ns / NS_PER_S - RESOLUTION_MS / 1000)
    const families = [
      gauge('nodejs_eventloop_lag_mean_seconds', 'Of late, mean.', late(delay.mean)),
      gauge('nodejs_eventloop_lag_p99_seconds', 'Of late, p99.', late(delay.percentile(99))),
      gauge('nodejs_eventloop_lag_max_seconds', 'Of late, the most.', late(delay.max)),
    ]
    delay.reset()
    return families
  }
}
