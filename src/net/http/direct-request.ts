/**
 * Recognises bytes that are one whole request about a key, in the form in which nearly all come:
 *
 *   GET /v1/kv/a%20key?consistency=quorum HTTP/1.1\r\n
 *   Host: localhost\r\n
 *   \r\n
 *
 * It refuses nothing. Whatever is not plainly right, or means more than itself (bodies in chunks,
 * Expect, Upgrade, Connection: close, a second request behind it), is for node:http to judge.
 */
import type { RequestHead } from './call-parts.ts'

export interface WholeRequest {
  readonly head: RequestHead
  /** A part of the chunk. */
  readonly body: Buffer
}

const HEAD_END = '\r\n\r\n'
const LINE_END_SIZE = 2
/** Visible characters only, and in a value spaces: no part can be read in two ways. */
const HEAD =
  /^(GET|PUT|DELETE) (\/v1\/kv\/[\x21-\x7e]+) HTTP\/1\.1(?:\r\n[-\w]+: [\x21-\x7e][\x20-\x7e]*)+$/
const SIZE = /^\d{1,9}$/
const SPACE = 0x20
const KEEP_ALIVE = /^keep-alive$/i

/** Undefined for what is anything else. */
export function wholeRequest(chunk: Buffer): WholeRequest | undefined {
  const headSize = chunk.indexOf(HEAD_END, 0, 'latin1')
  if (headSize < 0) return undefined
  const text = chunk.toString('latin1', 0, headSize)
  const match = HEAD.exec(text)
  if (match === null) return undefined
  const [, method = '', url = ''] = match
  const rawHeaders: string[] = []
  const size = readHeaders(text, rawHeaders)
  const body = chunk.subarray(headSize + HEAD_END.length)
  // One that has no body says nothing of its length, and a PUT always does.
  if (body.length !== (size ?? 0) || (size !== undefined) !== (method === 'PUT')) return undefined
  return { head: { method, url, rawHeaders, httpVersionMinor: 1 }, body }
}

/** What is said of the body's length; NaN where a header is for node:http to judge. */
function readHeaders(text: string, rawHeaders: string[]): number | undefined {
  let size: number | undefined
  let lineEnd = text.indexOf('\r\n')
  while (lineEnd >= 0) {
    const start = lineEnd + LINE_END_SIZE
    lineEnd = text.indexOf('\r\n', start)
    const end = lineEnd < 0 ? text.length : lineEnd
    const colon = text.indexOf(':', start)
    if (text.charCodeAt(end - 1) === SPACE) return Number.NaN
    const name = text.slice(start, colon)
    const value = text.slice(colon + 2, end)
    rawHeaders.push(name, value)
    switch (name.length) {
      case 10:
      case 14:
        if (isName(name, 'content-length')) {
          if (size !== undefined || !SIZE.test(value)) return Number.NaN
          size = Number(value)
        } else if (isName(name, 'connection') && !KEEP_ALIVE.test(value)) return Number.NaN
        break
      case 2:
      case 6:
      case 7:
      case 17:
        if (FOR_NODE.has(name.toLowerCase())) return Number.NaN
        break
      default:
    }
  }
  return size
}

const FOR_NODE: ReadonlySet<string> = new Set([
  ...['te', 'expect', 'trailer', 'upgrade', 'transfer-encoding'],
])

function isName(name: string, wanted: string): boolean {
  return name.length === wanted.length && name.toLowerCase() === wanted
}
