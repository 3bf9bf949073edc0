/** What a server counts: connections, requests by operation, errors by status, bytes, latency. */
import { LatencyHistogram, type LatencySummary } from './latency-histogram.ts'
import { codeOfStatus, OPERATION_NAMES, Opcode } from './opcode.ts'

/** Opcodes and statuses are bytes. */
const CODE_COUNT = 256

/** A copy of the counters, JSON-serialisable. Totals count since the server was made. */
export interface ServerStatsSnapshot {
  readonly connections: number
  readonly connectionsTotal: number
  /** Turned away because of connectionsMax. */
  readonly connectionsRefused: number
  /** Closed because they broke the protocol or a time limit. */
  readonly connectionsFailed: number
  readonly inFlight: number
  readonly inFlightBytes: number
  readonly receiveBytes: number
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly requests: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
  /**
   * From the arrival of a request's bytes until its reply was written to the socket's buffer; of
   * requests that take as long as they are told to (ADMIN) not.
   */
  readonly latency: LatencySummary
}

export class ServerStats {
  readonly #untimed: number | undefined
  connections = 0
  connectionsTotal = 0
  connectionsRefused = 0
  connectionsFailed = 0
  bytesReceived = 0
  bytesSent = 0
  /** By number of the operation, once there was one. */
  readonly #durations: (LatencyHistogram | undefined)[] = []
  readonly #requests = new Float64Array(CODE_COUNT)
  readonly #errors = new Float64Array(CODE_COUNT)

  /** Requests of `untimed` wait as they are told to, which says nothing of the server. */
  constructor(untimed?: number) {
    this.#untimed = untimed
  }

  /** `count` requests of an operation took so long each; the protocol names its number. */
  recordDuration(operation: number, elapsedMs: number, count = 1): void {
    let histogram = this.#durations[operation]
    if (histogram === undefined) {
      histogram = new LatencyHistogram()
      this.#durations[operation] = histogram
    }
    histogram.record(elapsedMs, count)
  }

  *durations(): Iterable<readonly [operation: number, histogram: LatencyHistogram]> {
    for (const [operation, histogram] of this.#durations.entries()) {
      if (histogram !== undefined) yield [operation, histogram]
    }
  }

  /** Of all operations together, but for the untimed one. */
  get latency(): LatencyHistogram {
    const all = new LatencyHistogram()
    for (const [operation, histogram] of this.durations()) {
      if (operation !== this.#untimed) all.add(histogram)
    }
    return all
  }

  countRequest(opcode: number): void {
    this.#requests[opcode] = this.#requests[opcode]! + 1
  }

  countError(status: number): void {
    this.#errors[status] = this.#errors[status]! + 1
  }

  requestsByName(): Record<string, number> {
    const requests: Record<string, number> = {}
    for (const name of OPERATION_NAMES) requests[name] = this.#requests[Opcode[name]]!
    return requests
  }

  errorsByCode(): Record<string, number> {
    const errors: Record<string, number> = {}
    this.#errors.forEach((count, status) => {
      if (count > 0) errors[codeOfStatus(status) ?? `status ${status}`] = count
    })
    return errors
  }
}
