/** Which paths there are, which methods each takes, and who answers them. */
import { postBatch } from './batch-route.ts'
import { livez, readyz } from './health-routes.ts'
import type { HttpCall } from './http-call.ts'
import type { HttpOperation } from './http-stats.ts'
import { deleteKey, getKey, KEY_PATH, putKey } from './kv-routes.ts'
import { clusterStatus, metrics } from './node-routes.ts'
import { openapi } from './openapi-route.ts'
import type { Target } from './request-target.ts'
import { scanKeys } from './scan-route.ts'

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
  readOnly('/metrics', 'metrics', metrics),
  { ...readOnly('/livez', 'health', livez), isOpen: true },
  { ...readOnly('/readyz', 'health', readyz), isOpen: true },
]

export const PATHS: readonly Path[] = [KEY, ...OTHERS]
const BY_NAME = new Map(OTHERS.map(path => [path.path, path]))

/** Undefined for a path that there is not. */
export function findPath(path: string): Path | undefined {
  return path.startsWith(KEY_PATH) ? KEY : BY_NAME.get(path)
}
