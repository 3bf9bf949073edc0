/** What went wrong between two sides of TLS, in words that say what to do. */

/** Who dials: a client of a server, or a node another node. */
export type TlsRole = 'client' | 'node'

/** Both sides are there, and TLS did not come about: the message says what does not fit. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

type Meaning = 'ca' | 'own' | 'plain' | 'expired' | 'early' | 'stranger' | 'ownExpired' | 'purpose'

/** Codes of Node and OpenSSL -> what they mean for who dials. */
const DIALLER: Readonly<Record<string, Meaning>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'early',
  INVALID_PURPOSE: 'purpose',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'ca',
  UNABLE_TO_GET_ISSUER_CERT: 'ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'ca',
  CERT_SIGNATURE_FAILURE: 'ca',
  ERR_SSL_WRONG_VERSION_NUMBER: 'plain',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'plain',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'own',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'own',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'stranger',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'ownExpired',
}

const MEANT: Readonly<Record<TlsRole, Readonly<Record<Meaning, string>>>> = {
  client: {
    expired: "the server's certificate has expired: it needs a new one",
    early: "the server's certificate is not valid yet: is the clock here right?",
    purpose: "the server's certificate is not for servers: it needs the purpose serverAuth",
    ca:
      "the server's certificate is of an authority that is not known here: say which one to " +
      'believe (tls.ca; kvcli: DURAMEN_TLS_CA; kvd proxy: --tls-ca)',
    plain:
      'the server does not speak TLS there: use kv:// (kvd proxy: no --nodes-tls), or its port ' +
      'that does',
    own:
      'the server asks for a certificate of this client (tls.cert and tls.key; kvcli: ' +
      'DURAMEN_TLS_CERT, DURAMEN_TLS_KEY; kvd proxy: --tls-cert, --tls-key)',
    stranger:
      'the server does not believe the certificate of this client: it is of another authority',
    ownExpired: 'the certificate of this client has expired',
  },
  node: {
    expired: 'the certificate of that node has expired: it needs a new one',
    early: 'the certificate of that node is not valid yet: are the clocks right?',
    purpose: 'the certificate of that node is not for servers: it needs the purpose serverAuth',
    ca:
      'the certificate of that node is of an authority that is not known here: all nodes have ' +
      'one of the same (kvd: --tls-ca)',
    plain: 'that node does not speak TLS: all nodes of a cluster do, or none (kvd: --tls-cert)',
    own: 'that node asks for a certificate: all nodes show one (kvd: --tls-cert)',
    stranger: 'that node does not believe the certificate of this one: it is of another authority',
    ownExpired: 'the certificate of this node has expired',
  },
}

/** The error that the dialling side is told of a connection that TLS did not come about on. */
export function explainClientError(error: Error, role: TlsRole): Error {
  const code = codeOf(error)
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const what = `${error.message}; the certificate must name the host that is connected to`
    return new TlsError(what, { cause: error })
  }
  const meaning = DIALLER[code]
  if (meaning !== undefined) return new TlsError(MEANT[role][meaning], { cause: error })
  return code.startsWith('ERR_SSL_') ? new TlsError(error.message, { cause: error }) : error
}

/** `shown`: what this side said of itself, of whom the other has made nothing. */
export function closedAfterHandshake(shown: string): TlsError {
  return new TlsError(
    'the other side ended the connection after the handshake, without a word: it may not take ' +
      `the certificate that is shown to it (${shown}); its log says why`,
  )
}

const NOT_OURS = 'its certificate is not of the authority that is believed here'

/** Codes of X.509 -> why a certificate is not taken; the code stands behind it. */
const X509: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  INVALID_PURPOSE: 'its certificate is not for clients: it needs the purpose clientAuth',
  UNABLE_TO_GET_ISSUER_CERT: NOT_OURS,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_OURS,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_OURS,
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_OURS,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_OURS,
  CERT_SIGNATURE_FAILURE: NOT_OURS,
}

/** Codes that the first bytes of a plain protocol bring about. */
const PLAIN: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
])

/** Codes -> what they mean for who listens, for its log. */
const LISTENER: Readonly<Record<string, string>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'it shows no certificate, and this port asks for one',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not believe the certificate of this node',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'it does not believe the certificate of this node',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it does not believe the certificate of this node',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the certificate of this node has expired',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'its handshake took too long',
}

/** How a handshake ended that led nowhere. */
export interface HandshakeEnd {
  /**
   * `plain`: it does not speak TLS; `gone`: it went away, and has sent nothing wrong; `refused`:
   * whatever else.
   */
  readonly kind: 'plain' | 'gone' | 'refused'
  readonly why: string
}

/** Who listens, as far as it can be told what to use instead. */
export type TlsDoor = 'clients' | 'nodes'

const USE: Readonly<Record<TlsDoor, string>> = {
  clients: 'it does not speak TLS; this port does: kvs://, rediss:// or https://',
  nodes:
    'it does not speak TLS; all nodes of a cluster do, or none: --tls-cert, --tls-key, --tls-ca',
}

/** `verified`: the code of X.509 where the certificate of the other side was looked at. */
export function explainServerError(
  error: Error,
  verified: string | undefined,
  door: TlsDoor,
): HandshakeEnd {
  if (verified !== undefined) {
    return { kind: 'refused', why: `${X509[verified] ?? 'its certificate'} (${verified})` }
  }
  const code = codeOf(error)
  if (PLAIN.has(code)) return { kind: 'plain', why: USE[door] }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return { kind: 'gone', why: 'it went away during the handshake' }
  }
  const known = LISTENER[code]
  return { kind: 'refused', why: known ?? `${error.message}${code === '' ? '' : ` (${code})`}` }
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : ''
}
