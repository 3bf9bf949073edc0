/** TLS of a node's doors: what a listener is made with, and how it follows the certificate. */
import type { TlsOptions } from 'node:tls'
import { TLS_VERSION_MIN, type TlsIdentity } from './tls-identity.ts'

/** Whether clients must show a certificate of the authority that the node believes. */
export const CLIENT_AUTH = ['none', 'require'] as const
export type ClientAuth = (typeof CLIENT_AUTH)[number]

export interface ServerTls {
  readonly identity: TlsIdentity
  /** @defaultValue 'none' */
  readonly clientAuth?: ClientAuth
}

/** A handshake takes some round trips; who needs longer is gone, or means no good. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** For tls.createServer and https.createServer. */
export function listenerOptions({ identity, clientAuth = 'none' }: ServerTls): TlsOptions {
  return {
    ...identity.files,
    minVersion: TLS_VERSION_MIN,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    requestCert: clientAuth === 'require',
    rejectUnauthorized: clientAuth === 'require',
  }
}

/** What Node's servers with TLS have in common. */
interface SecureListener {
  setSecureContext(options: TlsOptions): void
  once(event: 'close', listener: () => void): unknown
}

/** New connections see the certificate of the moment, for as long as it listens. */
export function followIdentity(listener: SecureListener, { identity }: ServerTls): void {
  const stop = identity.onChange(files => {
    listener.setSecureContext({ ...files, minVersion: TLS_VERSION_MIN })
  })
  listener.once('close', stop)
}
