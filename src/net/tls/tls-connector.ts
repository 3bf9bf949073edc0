/** Connects over TLS, as connector.ts does over TCP. */
import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { type Connector, wireOver } from '../connector.ts'
import { explainClientError } from './tls-error.ts'
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
export function tlsConnector(tls: () => ClientTls): Connector {
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
      return wireOver(socket, 'secureConnect', events, explainClientError)
    },
  }
}
