/** What the HTTP door alone has to tell: its answers by status. */
import { counter, type MetricFamily, type MetricSample } from '../metrics.ts'
import { HTTP_OPERATIONS, type HttpStats } from './http-stats.ts'

export function responseMetrics({ operations }: HttpStats): MetricFamily[] {
  const samples: MetricSample[] = []
  for (const operation of HTTP_OPERATIONS) {
    for (const [status, value] of operations[operation].statuses()) {
      samples.push({ labels: { operation, status: String(status) }, value })
    }
  }
  return [counter('duramen_http_responses_total', 'Answers, by operation and status.', samples)]
}
