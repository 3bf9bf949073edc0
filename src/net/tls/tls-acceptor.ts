/** Accepts over TLS, as acceptor.ts does over TCP. */
import { createServer, type TLSSocket } from 'node:tls'
import { AcceptedSocket, type Acceptor } from '../acceptor.ts'
import { bind, closeListener } from '../listener.ts'
import { explainServerError, type HandshakeEnd, type TlsDoor } from './tls-error.ts'
import { addressOf, TlsHandshakes } from './tls-handshakes.ts'
import { followIdentity, listenerOptions, type ServerTls } from './tls-options.ts'

export interface TlsAcceptorOptions {
  /** @defaultValue 'clients' */
  readonly door?: TlsDoor
  /** Told of somebody who got no further than the handshake: `host:port`, and how it ended. */
  readonly ended: (remoteAddress: string, end: HandshakeEnd) => void
  /** Said, in the plain protocol of this port, to who speaks that instead of TLS. */
  readonly plainAnswer?: Uint8Array | undefined
}

export function tlsAcceptor(tls: ServerTls, acceptorOptions: TlsAcceptorOptions): Acceptor {
  const { door = 'clients', ended, plainAnswer } = acceptorOptions
  return {
    async listen(options, accept) {
      const handshakes = new TlsHandshakes()
      // Who ends its side in the handshake is gone: nobody waits for the other half of that.
      const listener = createServer(listenerOptions(tls))
      listener.on('connection', socket => handshakes.begun(socket))
      listener.on('secureConnection', socket => {
        handshakes.done(socket)
        const remoteAddress = addressOf(socket)
        socket.allowHalfOpen = true
        socket.setNoDelay(true)
        socket.setKeepAlive(true, options.keepAliveMs)
        const wire = new AcceptedSocket(socket, remoteAddress)
        const events = accept(wire)
        if (events === undefined) {
          socket.destroy()
          return
        }
        socket.on('data', (chunk: Uint8Array) => {
          events.received(
            new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length),
            chunk.length,
          )
        })
        wire.tell(events)
      })
      listener.on('tlsClientError', (error, socket) => {
        const end = explainServerError(error, verifiedAs(socket), door)
        ended(handshakes.addressOf(socket), end)
        if (end.kind === 'plain' && plainAnswer !== undefined) {
          handshakes.answerPlain(socket, plainAnswer)
        }
        socket.destroy()
      })
      const address = await bind(listener, options)
      listener.on('error', options.failed)
      followIdentity(listener, tls)
      const close = (): Promise<void> => {
        handshakes.destroyAll()
        return closeListener(listener)
      }
      return { address, close }
    },
  }
}

/** What X.509 says against the certificate of the other side; undefined while nothing is known. */
export function verifiedAs({ authorizationError }: TLSSocket): string | undefined {
  // Node sets it to the code, whatever its types say.
  const found: unknown = authorizationError
  if (found === undefined || found === null) return undefined
  return found instanceof Error && 'code' in found ? String(found.code) : String(found)
}
