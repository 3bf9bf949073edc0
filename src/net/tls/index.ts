/** TLS of servers and clients; certificates change while they run. */
export { Certificate } from './certificate.ts'
export { type CertifiedHost, watchCertificate } from './certificate-watch.ts'
export { tlsAcceptor, verifiedAs } from './tls-acceptor.ts'
export { type ClientTls, tlsConnector } from './tls-connector.ts'
export { explainServerError, type HandshakeEnd, TlsError } from './tls-error.ts'
export { TlsHandshakes } from './tls-handshakes.ts'
export { type TlsFiles, TlsIdentity } from './tls-identity.ts'
export {
  CLIENT_AUTH,
  type ClientAuth,
  followIdentity,
  listenerOptions,
  type ServerTls,
} from './tls-options.ts'
