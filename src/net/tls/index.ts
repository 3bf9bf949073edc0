/** TLS of servers and clients; certificates change while they run. */
export { addressOf, type HandshakeRefused, tlsAcceptor } from './tls-acceptor.ts'
export { type ClientTls, tlsConnector } from './tls-connector.ts'
export { explainServerError } from './tls-error.ts'
export { TlsHandshakes } from './tls-handshakes.ts'
export { type TlsFiles, TlsIdentity } from './tls-identity.ts'
export {
  CLIENT_AUTH,
  type ClientAuth,
  followIdentity,
  listenerOptions,
  type ServerTls,
} from './tls-options.ts'
