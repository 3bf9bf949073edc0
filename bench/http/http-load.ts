/**
 * The load generator of bench/http.ts: raw sockets, one request in flight on each, answers told
 * apart by their lengths. It parses no more than it must, so that it is not what is measured.
 */
import { connect, type Socket } from 'node:net'
import { hrtime } from 'node:process'
import { LatencyHistogram } from '../latency-histogram.ts'

export interface Figures {
  /** Requests answered a second. */
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of a processor, that this generator took. */
  readonly generatorShare: number
}

export interface LoadOptions {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** Sent by all connections together. */
  readonly requests: number
  /** The bytes of the next request. */
  readonly request: () => Buffer
  /** Every answer has this status. */
  readonly status: number
}

const HEAD_END = Buffer.from('\r\n\r\n')
const LENGTH = /content-length: (\d+)/i
const NS_PER_MS = 1e6

/** Sends as fast as answers come. Rejects on any other answer. */
export async function runLoad(options: LoadOptions): Promise<Figures> {
  const histogram = new LatencyHistogram()
  const sockets = await Promise.all(
    Array.from({ length: options.connections }, () => open(options.host, options.port)),
  )
  const cpu = process.cpuUsage()
  const beganNs = hrtime.bigint()
  const left = { requests: options.requests }
  await Promise.all(sockets.map(socket => drive(socket, options, histogram, left)))
  const elapsedMs = Number(hrtime.bigint() - beganNs) / NS_PER_MS
  const { user, system } = process.cpuUsage(cpu)
  for (const socket of sockets) socket.destroy()
  return {
    rate: (histogram.count / elapsedMs) * 1000,
    p50Ms: histogram.percentileMs(0.5),
    p99Ms: histogram.percentileMs(0.99),
    generatorShare: (user + system) / 1000 / elapsedMs,
  }
}

function open(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

function drive(
  socket: Socket,
  { request, status }: LoadOptions,
  histogram: LatencyHistogram,
  left: { requests: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const expected = `HTTP/1.1 ${status} `
    let sentNs = 0n
    let input: Buffer = Buffer.alloc(0)
    let missing = -1
    const next = (): void => {
      if (left.requests === 0) {
        resolve()
        return
      }
      left.requests--
      sentNs = hrtime.bigint()
      socket.write(request())
    }
    const answered = (): void => {
      const nowNs = hrtime.bigint()
      histogram.recordMs(Number(nowNs - sentNs) / NS_PER_MS)
      input = Buffer.alloc(0)
      missing = -1
      next()
    }
    socket.on('data', chunk => {
      if (missing >= 0) missing -= chunk.length
      else {
        input = input.length === 0 ? chunk : Buffer.concat([input, chunk])
        const end = input.indexOf(HEAD_END)
        if (end < 0) return
        const head = input.toString('latin1', 0, end)
        if (!head.startsWith(expected)) {
          reject(new Error(`unexpected answer: ${head}`))
          return
        }
        missing = Number(LENGTH.exec(head)?.[1] ?? 0) - (input.length - end - HEAD_END.length)
      }
      if (missing <= 0) answered()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the server closed a connection')))
    next()
  })
}
