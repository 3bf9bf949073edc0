/** The SDK's client, as kvcli uses it. */
import { delay, systemClock } from '../clock.ts'
import { Client, type DecodeRoutes } from '../net/index.ts'
import type { Connect } from './remote-store.ts'

/** A server that does not answer at all is given up after so long. */
const CONNECT_TIMEOUT_MS = 3000

/** A command that is done by then has no use for a map of the ring. */
const ROUTES_DELAY_MS = 50

/** Loads the cluster layer only for commands that take long. */
const decodeRoutes: DecodeRoutes = async (ring, from) => {
  await delay(systemClock(), ROUTES_DELAY_MS, { background: true })
  const cluster = await import('../cluster/index.ts')
  return cluster.decodeRoutes(ring, from)
}

export const connectClient: Connect = async options => {
  const { url, password, tls, consistency, timeoutMs, lazy, alone, onConnection } = options
  const client: Client = new Client({
    url,
    ...(password === undefined ? {} : { password }),
    // Where plain TCP is asked for, certificates of the environment are meant for other servers.
    ...(tls !== undefined && url.startsWith('kvs:') ? { tls } : {}),
    clientName: 'kvcli',
    ...(consistency === undefined ? {} : { consistency }),
    ...(alone === true ? {} : { decodeRoutes }),
    connectTimeoutMs: Math.min(CONNECT_TIMEOUT_MS, timeoutMs ?? CONNECT_TIMEOUT_MS),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    lazy,
    onConnection: event => {
      const isConnected = client.status === 'connected'
      const error = event.type === 'disconnected' ? event.error : undefined
      if (error === undefined) onConnection?.(isConnected)
      else onConnection?.(isConnected, error.message)
    },
  })
  try {
    await client.ready()
  } catch (error) {
    await client.close()
    throw error
  }
  return client
}
