/** What went wrong between two sides of TLS, in words that say what to do. */

/** Codes of Node and OpenSSL -> what it means for a client. */
const CLIENT: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the server's certificate has expired: it needs a new one",
  CERT_NOT_YET_VALID: "the server's certificate is not valid yet: is the clock here right?",
  DEPTH_ZERO_SELF_SIGNED_CERT: 'ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'ca',
  UNABLE_TO_GET_ISSUER_CERT: 'ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'ca',
  CERT_SIGNATURE_FAILURE: 'ca',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'the server does not speak TLS there: use kv://, or its port that does',
  ERR_SSL_PACKET_LENGTH_TOO_LONG:
    'the server does not speak TLS there: use kv://, or its port that does',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'own',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'own',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA:
    'the server does not believe the certificate of this client: it is of another authority',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the certificate of this client has expired',
}

const MEANT: Readonly<Record<string, string>> = {
  ca:
    "the server's certificate is of an authority that is not known here: say which one to " +
    'believe (tls.ca; kvcli: DURAMEN_TLS_CA)',
  own:
    'the server asks for a certificate of this client (tls.cert and tls.key; kvcli: ' +
    'DURAMEN_TLS_CERT, DURAMEN_TLS_KEY)',
}

/** The error that a client is told of a connection that TLS did not come about on. */
export function explainClientError(error: Error): Error {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const what = `${error.message}; the certificate must name the host that is connected to`
    return new Error(what, { cause: error })
  }
  const known = CLIENT[code]
  return known === undefined ? error : new Error(MEANT[known] ?? known, { cause: error })
}

const PLAIN = 'it does not speak TLS; this port does: kvs://, rediss:// or https://'

/** Codes -> what it means for a server, for its log. */
const SERVER: Readonly<Record<string, string>> = {
  ERR_SSL_HTTP_REQUEST: PLAIN,
  ERR_SSL_WRONG_VERSION_NUMBER: PLAIN,
  ERR_SSL_UNSUPPORTED_PROTOCOL: PLAIN,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: PLAIN,
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'it shows no certificate, and this port asks for one',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not believe the certificate of this node',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'its handshake took too long',
  ECONNRESET: 'it went away during the handshake',
}

/** Why a client got no further than the handshake. */
export function explainServerError(error: Error): string {
  const code = 'code' in error ? String(error.code) : ''
  return SERVER[code] ?? `${error.message}${code === '' ? '' : ` (${code})`}`
}
