/** Connects over TLS, as connector.ts does over TCP. */
import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { type Connector, type WireEvents, wireOver } from '../connector.ts'
import { describeCertificate } from './certificate.ts'
import { closedAfterHandshake, explainClientError, type TlsRole } from './tls-error.ts'
import { TLS_VERSION_MIN } from './tls-identity.ts'

/** How a client knows a server, and is known to it. PEM texts. */
export interface ClientTls {
  /** Authorities that the server must have its certificate from. @defaultValue the system's */
  readonly ca?: string | undefined
  /** The client's own certificate, for servers that ask for one, and its key. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** The name that the certificate must have. @defaultValue the host that is connected to */
  readonly serverName?: string | undefined
}

/** `tls` is asked at each connection, so that it may change. */
export function tlsConnector(tls: () => ClientTls, role: TlsRole = 'client'): Connector {
  return {
    dial({ host, port }, events) {
      const { ca, cert, key, serverName } = tls()
      const name = serverName ?? (isIP(host) === 0 ? host : undefined)
      const socket = connect({
        ...{ host, port, minVersion: TLS_VERSION_MIN },
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        ...(name === undefined ? {} : { servername: name }),
      })
      socket.setNoDelay(true)
      const told = cert === undefined ? events : tellsOfSilence(events, cert)
      return wireOver(socket, 'secureConnect', told, error => explainClientError(error, role))
    },
  }
}

/**
 * A server looks at a client's certificate when the handshake is over for the client: all that this
 * sees of a refusal is the end of a connection that brought nothing.
 */
function tellsOfSilence(events: WireEvents, cert: string): WireEvents {
  let isOpen = false
  let isSilent = true
  return {
    opened() {
      isOpen = true
      events.opened()
    },
    received(chunk) {
      isSilent = false
      events.received(chunk)
    },
    drained: () => events.drained(),
    closed(error) {
      const isRefusal = isOpen && isSilent && (error === undefined || isReset(error))
      events.closed(isRefusal ? closedAfterHandshake(describeCertificate(cert)) : error)
    },
  }
}

function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}
