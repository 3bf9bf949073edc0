/** What the node tells of itself and its cluster: for people, dashboards and monitoring. */
import { UnavailableError } from '../../errors.ts'
import type { HttpCall } from './http-call.ts'
import { METRICS_TYPE, metricsText } from './metrics-text.ts'
import { Query, type Target } from './request-target.ts'

/** GET /v1/cluster: what `kvcli cluster status --json` shows. */
export function clusterStatus(call: HttpCall, { query }: Target): void {
  const timeoutMs = new Query(query, ['timeout']).duration('timeout')
  if (timeoutMs !== undefined) call.deadlineMs = call.receivedMs + timeoutMs
  call.admit()
  const { handler } = call.context
  if (handler.admin === undefined) throw new UnavailableError('this server has no cluster')
  call.answer(handler.admin({ command: 'status' }, call), status => call.json(200, status))
}

/** GET /metrics, in Prometheus's text format. */
export function metrics(call: HttpCall, { query }: Target): void {
  new Query(query, [])
  const { handler, metrics: ofDoors } = call.context
  // First whether it is allowed: what the doors tell is no less.
  call.answer(handler.metrics?.(call) ?? [], ofNode => {
    const text = metricsText([...ofDoors(), ...ofNode])
    call.reply(200, ['Content-Type', METRICS_TYPE, 'Cache-Control', 'no-store'], Buffer.from(text))
  })
}
