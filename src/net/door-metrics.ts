/** What a door tells to monitoring, whichever protocol it speaks. */
import type { LatencyHistogram } from './latency-histogram.ts'
import type { DoorLoad } from './load-meter.ts'
import { byLabel, counter, gauge, type MetricFamily } from './metrics.ts'
import type { ServerStatsSnapshot } from './server-stats.ts'

/** A server, as something that counts. */
export interface CountingDoor {
  stats(): ServerStatsSnapshot
  durations(): Iterable<readonly [operation: string, histogram: LatencyHistogram]>
  load(): DoorLoad
}

export function doorMetrics(door: string, server: CountingDoor): MetricFamily[] {
  const stats = server.stats()
  const labels = { door }
  const labelled = (label: string, values: Readonly<Record<string, number>>) =>
    byLabel(label, values).map(sample => ({ ...sample, labels: { ...labels, ...sample.labels } }))
  const one = (value: number) => [{ labels, value }]
  const bytes = { received: stats.bytesReceived, sent: stats.bytesSent }
  const { connectionsTotal, connectionsRefused, connectionsFailed } = stats
  return [
    counter('duramen_requests_total', 'Requests.', labelled('operation', stats.requests)),
    counter('duramen_request_errors_total', 'Failed ones.', labelled('code', stats.errors)),
    {
      type: 'histogram',
      name: 'duramen_request_duration_seconds',
      help: 'From the arrival of a request until its answer was written.',
      samples: [...server.durations()].map(([operation, histogram]) => {
        return { labels: { ...labels, operation }, histogram }
      }),
    },
    gauge('duramen_connections', 'Open connections.', one(stats.connections)),
    counter('duramen_connections_accepted_total', 'Connections so far.', one(connectionsTotal)),
    counter('duramen_connections_refused_total', 'Turned away.', one(connectionsRefused)),
    counter('duramen_connections_failed_total', 'Ended for a reason.', one(connectionsFailed)),
    counter('duramen_network_bytes_total', 'Traffic.', labelled('direction', bytes)),
  ]
}

/** What all doors of a node share. */
export function sharedMetrics(server: CountingDoor): MetricFamily[] {
  const { inFlight, inFlightBytes, receiveBytes } = server.stats()
  return [
    gauge('duramen_requests_in_flight', 'Requests that wait for an answer.', inFlight),
    gauge('duramen_requests_in_flight_bytes', 'Their bytes.', inFlightBytes),
    gauge('duramen_receive_bytes', 'Bytes of requests that came in part.', receiveBytes),
  ]
}
