/** Accepts over TLS, as acceptor.ts does over TCP. */
import { createServer, type TLSSocket } from 'node:tls'
import { AcceptedSocket, type Acceptor, tellEvents } from '../acceptor.ts'
import { bind, closeListener } from '../listener.ts'
import { explainServerError } from './tls-error.ts'
import { TlsHandshakes } from './tls-handshakes.ts'
import { followIdentity, listenerOptions, type ServerTls } from './tls-options.ts'

/** Told of somebody who got no further than the handshake: `host:port`, and why. */
export type HandshakeRefused = (remoteAddress: string, why: string) => void

export function tlsAcceptor(tls: ServerTls, refused: HandshakeRefused): Acceptor {
  return {
    async listen(options, accept) {
      const handshakes = new TlsHandshakes()
      const listener = createServer({ ...listenerOptions(tls), allowHalfOpen: true })
      listener.on('connection', socket => handshakes.begun(socket))
      listener.on('secureConnection', socket => {
        handshakes.done(socket)
        const remoteAddress = addressOf(socket)
        socket.setNoDelay(true)
        socket.setKeepAlive(true, options.keepAliveMs)
        const events = accept(new AcceptedSocket(socket, remoteAddress))
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
        tellEvents(socket, events)
      })
      listener.on('tlsClientError', (error, socket) => {
        refused(addressOf(socket), explainServerError(error))
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

/** The client may be gone already, and then nobody knows where it was. */
export function addressOf({ remoteAddress, remotePort }: TLSSocket): string {
  return `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`
}
