/** The socket that a server listens on: how it is had and given up. */
import type { Server as NetServer } from 'node:net'
import { ClosedError, InvalidArgumentError, type KvError, LockedError } from '../errors.ts'
import type { ListenAddress } from './server-options.ts'

/** Connections that the kernel may hold before they are accepted. */
const ACCEPT_BACKLOG = 1024

/** Resolves with the address once `listener` has it. */
export async function bind(listener: NetServer, wanted: ListenAddress): Promise<ListenAddress> {
  try {
    await listenOn(listener, wanted)
    const bound = listener.address()
    if (bound === null || typeof bound === 'string') throw new ClosedError('the server closed')
    return { host: bound.address, port: bound.port }
  } catch (error) {
    throw listenError(error, wanted)
  }
}

function listenOn(listener: NetServer, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen({ host, port, backlog: ACCEPT_BACKLOG }, () => {
      listener.removeListener('error', reject)
      resolve()
    })
  })
}

export function closeListener(listener: NetServer): Promise<void> {
  return new Promise(resolve => {
    listener.close(() => resolve())
  })
}

/** Says what the operator can do about a port that cannot be had. */
function listenError(error: unknown, { host, port }: ListenAddress): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  if (error.code === 'EADDRINUSE') {
    return new LockedError(`another program listens on ${host}:${port}; stop it or choose a port`, {
      cause: error,
    })
  }
  if (typeof error.code !== 'string' || error.code.startsWith('KV_')) return error
  const what = `cannot listen on ${host}:${port}: ${error.message}`
  const mapped: KvError = new InvalidArgumentError(what, { cause: error })
  return mapped
}
