/**
 * What is answered to bytes that are no request, or that came too slowly. The parser has given up,
 * so the connection ends; what was answered before goes out first.
 */
import type { ServerResponse } from 'node:http'
import { utf8Encode } from '../../bytes.ts'
import type { HttpSocket } from './http-connection.ts'
import { errorReply, HttpError } from './http-error.ts'

/** False when there was nobody left to be told. */
export function replyToClientError(
  error: Error,
  socket: HttpSocket,
  lastResponse: ServerResponse | undefined,
): boolean {
  const refusal = refusalOf(error)
  if (refusal === undefined || !socket.writable) {
    socket.destroy()
    return false
  }
  const send = (): void => {
    if (socket.writable) socket.end(rawReply(refusal), () => socket.destroy())
  }
  if (lastResponse !== undefined && !lastResponse.req.complete) {
    // It broke off in this request, whose answer is due only where all before it are out. What it
    // has brought of its body must not be kept for more.
    if (lastResponse.headersSent || lastResponse.socket === null) socket.destroy()
    else send()
    return true
  }
  // The answer to a request that came before must not be taken for this one's.
  const isOpen = lastResponse !== undefined && !lastResponse.writableFinished
  if (isOpen && !lastResponse.destroyed) lastResponse.once('finish', send)
  else send()
  return true
}

/** Undefined for a connection that broke. */
function refusalOf(error: Error): HttpError | undefined {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new HttpError('HTTP_REQUEST_TIMEOUT', 'the request did not come completely in time')
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    const message = 'the request line and the headers are too long together'
    return new HttpError('HTTP_HEADERS_TOO_LARGE', message)
  }
  if (!code.startsWith('HPE_')) return undefined
  return new HttpError('HTTP_BAD_REQUEST', `this is no HTTP/1.1: ${error.message}`)
}

/** What node:http has done with a connection that brought no request in time. */
export function replyTooSlow(socket: HttpSocket): void {
  const error = new HttpError('HTTP_REQUEST_TIMEOUT', 'no request came in time')
  socket.end(rawReply(error), () => socket.destroy())
}

/** The bytes of what is said, unencrypted, at a door that speaks HTTPS. */
export function replyToPlainRequest(): Uint8Array {
  const message = 'this port speaks TLS: use https://'
  return utf8Encode(rawReply(new HttpError('HTTP_BAD_REQUEST', message)))
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

function rawReply(error: HttpError): string {
  const { status, headers, body } = errorReply(error)
  const lines = [`HTTP/1.1 ${status} ${REASONS[status] ?? 'Error'}`]
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`)
  lines.push(`Content-Length: ${body.length}`, 'Connection: close', '', body.toString('utf8'))
  return lines.join('\r\n')
}
