/**
 * Recognises what else people send to a port, or find behind one, so that the log or the error
 * names the mistake.
 */
import { utf8Decode } from '../bytes.ts'

const HTTP_METHODS = ['GET ', 'POST ', 'PUT ', 'HEAD ', 'DELETE ', 'OPTIONS ', 'PATCH ', 'CONNECT ']
/** First bytes of RESP commands as arrays, and what redis-cli sends inline. */
const RESP_STARTS = ['*', 'PING\r', 'INFO', 'AUTH ', 'QUIT']
const SHOWN_SIZE_MAX = 16

/** What the first bytes that a client sent look like, for a log line. */
export function describeForeignBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'nothing'
  const text = utf8Decode(bytes.subarray(0, SHOWN_SIZE_MAX))
  if (HTTP_METHODS.some(method => text.startsWith(method)) || text.startsWith('PRI * HTTP/2')) {
    return 'an HTTP request; this port speaks the binary protocol'
  }
  if (bytes[0] === 0x16 && bytes[1] === 0x03) {
    return 'a TLS handshake; this port speaks plain TCP: no kvs://, or start it with a certificate'
  }
  if (RESP_STARTS.some(start => text.startsWith(start))) {
    return 'a Redis (RESP) command; this port speaks the binary protocol'
  }
  if (text.startsWith('SSH-')) return 'an SSH client'
  if (text.startsWith('PROXY ') || startsWithBytes(bytes, PROXY_V2)) {
    return 'a PROXY protocol header; turn it off in the load balancer'
  }
  return `bytes of no known protocol, beginning with ${hexOf(bytes.subarray(0, SHOWN_SIZE_MAX))}`
}

/** What the first bytes that a server sent look like, for an error. */
export function describeForeignServer(bytes: Uint8Array): string {
  const text = utf8Decode(bytes.subarray(0, SHOWN_SIZE_MAX))
  if (text.startsWith('HTTP/')) return 'an HTTP server'
  if (bytes[0] === 0x15 && bytes[1] === 0x03) return 'a TLS server: use kvs://'
  if (/^(-ERR|-NOAUTH|-DENIED|\+|\$)/.test(text)) return 'a Redis server'
  if (text.startsWith('SSH-')) return 'an SSH server'
  return `a server of another protocol; it sent ${hexOf(bytes.subarray(0, SHOWN_SIZE_MAX))}`
}

const PROXY_V2 = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51]

function startsWithBytes(bytes: Uint8Array, start: readonly number[]): boolean {
  return start.every((byte, index) => bytes[index] === byte)
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(' ')
}
