/** What the HTTP door counts: requests by operation and status, and how long they took. */
import { LatencyHistogram } from '../latency-histogram.ts'
import type { LoadKind } from '../load-meter.ts'

/** What requests are counted as; `other` is whatever has no route. Append only: they are labels. */
export const HTTP_OPERATIONS = [
  'get',
  'put',
  'delete',
  'scan',
  'batch',
  'cluster',
  'health',
  'metrics',
  'openapi',
  'other',
  'stats',
  'events',
  'ring',
  'trace',
  'dashboard',
] as const
export type HttpOperation = (typeof HTTP_OPERATIONS)[number]

/** What operations do to data; those that are not here do nothing to it. */
export const HTTP_KINDS: Readonly<Partial<Record<HttpOperation, LoadKind>>> = {
  get: 'read',
  scan: 'read',
  put: 'write',
  delete: 'write',
  batch: 'write',
}

const STATUS_MAX = 600

export class OperationStats {
  readonly duration = new LatencyHistogram()
  readonly #byStatus = new Float64Array(STATUS_MAX)

  record(status: number, elapsedMs: number): void {
    this.duration.record(elapsedMs)
    this.#byStatus[status] = this.#byStatus[status]! + 1
  }

  /** Statuses that were answered, with how often. */
  *statuses(): Iterable<readonly [status: number, count: number]> {
    for (let status = 100; status < STATUS_MAX; status++) {
      const count = this.#byStatus[status]!
      if (count > 0) yield [status, count]
    }
  }
}

export class HttpStats {
  connections = 0
  connectionsTotal = 0
  connectionsRefused = 0
  connectionsFailed = 0
  /** Of connections that are closed. */
  bytesReceived = 0
  bytesSent = 0
  readonly latency = new LatencyHistogram()
  readonly operations: Readonly<Record<HttpOperation, OperationStats>>
  readonly errors = new Map<string, number>()

  constructor() {
    const entries = HTTP_OPERATIONS.map(name => [name, new OperationStats()] as const)
    this.operations = Object.fromEntries(entries) as Record<HttpOperation, OperationStats>
  }

  record(operation: HttpOperation, status: number, elapsedMs: number): void {
    this.operations[operation].record(status, elapsedMs)
    this.latency.record(elapsedMs)
  }

  countError(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  requestsByName(): Record<string, number> {
    return Object.fromEntries(
      HTTP_OPERATIONS.map(name => [name, this.operations[name].duration.count]),
    )
  }
}
