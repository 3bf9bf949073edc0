/** What the page asks its server. Nothing waits for ever, and errors say what the server said. */
import { keyPath } from './key-bytes.js'

/** @typedef {import('../../../cluster/cluster-status.ts').ClusterStatus} ClusterStatus */
/** @typedef {import('../../../cluster/key-trace.ts').KeyTrace} KeyTrace */
/** @typedef {import('../../../cluster/repair-runs.ts').RepairStatus} RepairStatus */
/** @typedef {import('../../../cluster/replication.ts').ReplicaFigures} ReplicaFigures */
/** @typedef {import('../../../engine/db-stats.ts').DbStats} DbStats */
/** @typedef {import('../../event-log.ts').EventsPage} EventsPage */
/** @typedef {import('../../load-meter.ts').LoadColumns} LoadColumns */
/** @typedef {import('../../load-meter.ts').LoadPoint} LoadPoint */
/** @typedef {import('../../request-handler.ts').RingOwnership} RingOwnership */

/**
 * @typedef {object} RepairFigures
 * @property {number} compared
 * @property {number} divergent
 * @property {number} pulled
 * @property {number} pushed
 * @property {number} bytes
 * @property {Readonly<Record<string, { lastRoundAgoMs?: number, oldestUnrepairedMs: number }>>} peers
 * @property {RepairStatus} run
 */

/**
 * What GET /v1/stats answers.
 *
 * @typedef {object} Stats
 * @property {number} atMs
 * @property {string} version
 * @property {number} lastEvent
 * @property {LoadPoint | null} load
 * @property {LoadColumns} [history]
 * @property {Readonly<Record<string, { connections: number, inFlight: number, requests: number }>>} doors
 * @property {{ residentBytes: number }} process
 * @property {ClusterStatus | null} cluster
 * @property {{
 *   node?: { id: string, partitions: number, uptimeMs: number },
 *   engine?: DbStats,
 *   cluster?: { writes: { peers: Readonly<Record<string, ReplicaFigures>> }, repair: RepairFigures },
 * }} stats
 */

const TIMEOUT_MS = 2500
const SLOW_TIMEOUT_MS = 10_000

/** There was no answer, or one that is no success. */
export class AskError extends Error {
  /**
   * @param {string} message
   * @param {number} [status] of the answer
   */
  constructor(message, status) {
    super(message)
    this.status = status
  }
}

/**
 * @param {string} path
 * @param {number} timeoutMs
 */
async function ask(path, timeoutMs) {
  let response
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(timeoutMs) })
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === 'TimeoutError'
    const seconds = timeoutMs / 1000
    throw new AskError(isLate ? `no answer within ${seconds} s` : 'the node cannot be reached')
  }
  if (response.ok) return response
  const { message } = await response.json().catch(() => ({ message: response.statusText }))
  throw new AskError(String(message), response.status)
}

/**
 * @param {boolean} isHistory
 * @returns {Promise<Stats>}
 */
export async function fetchStats(isHistory) {
  return (await ask(`/v1/stats${isHistory ? '?history' : ''}`, TIMEOUT_MS)).json()
}

/**
 * @param {number} after
 * @returns {Promise<EventsPage>}
 */
export async function fetchEvents(after) {
  return (await ask(`/v1/events?after=${after}`, TIMEOUT_MS)).json()
}

/** @returns {Promise<RingOwnership>} */
export async function fetchRing() {
  return (await ask('/v1/ring', SLOW_TIMEOUT_MS)).json()
}

/**
 * @param {Uint8Array} key
 * @returns {Promise<KeyTrace>}
 */
export async function fetchTrace(key) {
  return (await ask(`/v1/trace/${keyPath(key)}?timeout=5s`, SLOW_TIMEOUT_MS)).json()
}

/**
 * Keys in their order, one more than `limit` where there are more.
 *
 * @param {Uint8Array} prefix
 * @param {Uint8Array | undefined} after
 * @param {number} limit
 * @returns {Promise<{ key?: string, key64?: string }[]>}
 */
export async function fetchKeys(prefix, after, limit) {
  const from = after === undefined ? '' : `&gt=${keyPath(after)}`
  const bounds = prefix.length === 0 ? '' : `&prefix=${keyPath(prefix)}`
  const path = `/v1/kv?keys_only&limit=${limit + 1}${bounds}${from}&timeout=10s`
  const text = await (await ask(path, SLOW_TIMEOUT_MS)).text()
  const lines = text.split('\n').filter(line => line !== '')
  return lines.map(line => {
    const parsed = JSON.parse(line)
    if (parsed.error !== undefined) throw new AskError(String(parsed.error.message))
    return parsed
  })
}

/**
 * The beginning of a value, and how long all of it is; undefined when there is no such key.
 *
 * @param {Uint8Array} key
 * @param {number} sizeMax
 */
export async function fetchValue(key, sizeMax) {
  let response
  try {
    response = await ask(`/v1/kv/${keyPath(key)}`, SLOW_TIMEOUT_MS)
  } catch (error) {
    if (error instanceof AskError && error.status === 404) return undefined
    throw error
  }
  const size = Number(response.headers.get('content-length') ?? 0)
  const expiryMs = Number(response.headers.get('duramen-expires-ms') ?? 0)
  const head = new Uint8Array(Math.min(size, sizeMax))
  let filled = 0
  const reader = response.body?.getReader()
  while (reader !== undefined && filled < head.length) {
    const { done, value } = await reader.read()
    if (done) break
    const part = value.subarray(0, head.length - filled)
    head.set(part, filled)
    filled += part.length
  }
  // What is not shown is not fetched.
  await reader?.cancel()
  return { head: head.subarray(0, filled), size, expiryMs }
}
