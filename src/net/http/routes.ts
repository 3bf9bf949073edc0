/** Which paths there are, which methods each takes, and who answers them. */
import { postBatch } from './batch-route.ts'
import { DASHBOARD_PATHS, dashboard } from './dashboard-route.ts'
import { livez, readyz } from './health-routes.ts'
import type { HttpCall } from './http-call.ts'
import type { HttpOperation } from './http-stats.ts'
import { deleteKey, getKey, KEY_PATH, putKey } from './kv-routes.ts'
import { clusterStatus, metrics } from './node-routes.ts'
import { openapi } from './openapi-route.ts'
import type { Target } from './request-target.ts'
import { scanKeys } from './scan-route.ts'
import { events, ring, stats, TRACE_PATH, trace } from './watch-routes.ts'

/** Replies, or has the call reply later. Throws what the client is told. */
export type Answer = (call: HttpCall, target: Target) => void

export interface Route {
  readonly operation: HttpOperation
  readonly answer: Answer
  readonly takesBody?: boolean
}

export interface Path {
  /** As OpenAPI names it. */
  readonly path: string
  /** Served to whoever asks, without a password. */
  readonly isOpen?: boolean
  readonly methods: Readonly<Record<string, Route>>
}

const KEY: Path = {
  path: `${KEY_PATH}{key}`,
  methods: {
    GET: { operation: 'get', answer: getKey },
    HEAD: { operation: 'get', answer: getKey },
    PUT: { operation: 'put', answer: putKey, takesBody: true },
    DELETE: { operation: 'delete', answer: deleteKey },
  },
}

function readOnly(path: string, operation: HttpOperation, answer: Answer): Path {
  const route = { operation, answer }
  return { path, methods: { GET: route, HEAD: route } }
}

const OTHERS: readonly Path[] = [
  { path: '/v1/kv', methods: { GET: { operation: 'scan', answer: scanKeys } } },
  {
    path: '/v1/batch',
    methods: { POST: { operation: 'batch', answer: postBatch, takesBody: true } },
  },
  readOnly('/v1/cluster', 'cluster', clusterStatus),
  readOnly('/v1/openapi.json', 'openapi', openapi),
  readOnly('/v1/stats', 'stats', stats),
  readOnly('/v1/events', 'events', events),
  readOnly('/v1/ring', 'ring', ring),
  readOnly('/metrics', 'metrics', metrics),
  { ...readOnly('/livez', 'health', livez), isOpen: true },
  { ...readOnly('/readyz', 'health', readyz), isOpen: true },
]

const TRACE = readOnly(`${TRACE_PATH}{key}`, 'trace', trace)

/** For people: no part of what programs are told of. */
const PAGES = ['/', '/dashboard', ...DASHBOARD_PATHS].map(path => {
  return readOnly(path, 'dashboard', dashboard)
})

/** What the OpenAPI document describes. */
export const PATHS: readonly Path[] = [KEY, TRACE, ...OTHERS]
const BY_NAME = new Map([...OTHERS, ...PAGES].map(path => [path.path, path]))

/** Undefined for a path that there is not. */
export function findPath(path: string): Path | undefined {
  if (path.startsWith(KEY_PATH)) return KEY
  return path.startsWith(TRACE_PATH) ? TRACE : BY_NAME.get(path)
}
