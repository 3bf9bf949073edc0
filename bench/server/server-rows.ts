/** The rows of the speed table that need a server, and what DESIGN.md asks of each. */
import type { Operation } from '../load/driver.ts'

export interface ServerTarget {
  /** At least this ratio of throughput to Redis. */
  readonly redis?: number
  /** At least this ratio of throughput to the echo. */
  readonly echo?: number
  /** At most this many milliseconds. */
  readonly p99Ms?: number
  /** No request may fail. */
  readonly noErrors?: boolean
}

export interface ServerRow {
  readonly id: string
  readonly title: string
  /** `callers`: through the client libraries in one process. Others: raw sockets. */
  readonly kind: 'callers' | 'closed' | 'open'
  readonly readRatio: number
  /** Callers in one process, or connections. */
  readonly clients: number
  /** Closed loop: requests in flight on each connection. */
  readonly depth?: number
  /** Open loop: requests a second. */
  readonly rate?: number
  readonly target: ServerTarget
}

const CLIENT_COUNT = 1000
const P99_MS_MAX = 50

function callers(operation: Operation): ServerRow {
  return {
    id: `callers-${operation}`,
    title: `client library, 1,000 callers in one process, ${describe(operation)}`,
    kind: 'callers',
    readRatio: operation === 'read' ? 1 : 0,
    clients: CLIENT_COUNT,
    target: { redis: 1.5 },
  }
}

function connections(operation: Operation | 'mixed'): ServerRow {
  return {
    id: `connections-${operation}`,
    title: `1,000 connections, one request each in flight, ${describe(operation)}`,
    kind: 'closed',
    readRatio: operation === 'mixed' ? 0.5 : operation === 'read' ? 1 : 0,
    clients: CLIENT_COUNT,
    depth: 1,
    target: { redis: 1, echo: 0.85, p99Ms: P99_MS_MAX, noErrors: true },
  }
}

function describe(operation: Operation | 'mixed'): string {
  if (operation === 'mixed') return 'half GET half durable SET'
  return operation === 'read' ? 'GET' : 'durable SET'
}

export const SERVER_ROWS: readonly ServerRow[] = [
  callers('write'),
  callers('read'),
  connections('write'),
  connections('read'),
  connections('mixed'),
  {
    id: 'pipelined-mixed',
    title: '50 connections, 16 requests each in flight, half GET half durable SET',
    kind: 'closed',
    readRatio: 0.5,
    clients: 50,
    depth: 16,
    target: {},
  },
  {
    id: 'open-5000',
    title: 'open loop, 5,000 per second over 1,000 connections, half GET half durable SET',
    kind: 'open',
    readRatio: 0.5,
    clients: CLIENT_COUNT,
    rate: 5000,
    target: { p99Ms: P99_MS_MAX, noErrors: true },
  },
]
