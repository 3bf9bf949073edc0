/**
 * Entries as lines of JSON, the way kvcli exports and imports them:
 *
 *   {"key":…,"value":…}      UTF-8 as text; "key64" and "value64" with base64 for what is not
 *
 * Small entries of a page go into one buffer. A large value is written piece by piece, so that the
 * event loop has its turns between them.
 */
import { isUtf8 } from 'node:buffer'

/** Of a value: encoded at once up to here, and in pieces of this size above. A multiple of 3. */
const PIECE_SIZE = 48 * 1024

/** The text of an entry, in one piece or several; `value` absent: keys alone were asked for. */
export function* entryPieces(key: Uint8Array, value: Uint8Array | undefined): Generator<string> {
  const head = `{${member('key', key)}`
  if (value === undefined) yield `${head}}\n`
  else if (value.length <= PIECE_SIZE) yield `${head},${member('value', value)}}\n`
  else {
    const isText = isUtf8(value)
    yield `${head},"${isText ? 'value' : 'value64'}":"`
    for (let at = 0; at < value.length; ) {
      const end = isText ? characterEnd(value, at + PIECE_SIZE) : at + PIECE_SIZE
      const piece = bufferOf(value.subarray(at, end))
      // Quotes around the whole, not around each piece.
      yield isText ? JSON.stringify(piece.toString('utf8')).slice(1, -1) : piece.toString('base64')
      at = end
    }
    yield '"}\n'
  }
}

function member(name: string, bytes: Uint8Array): string {
  if (isUtf8(bytes)) return `"${name}":${JSON.stringify(bufferOf(bytes).toString('utf8'))}`
  return `"${name}64":"${bufferOf(bytes).toString('base64')}"`
}

/** The end, at `end` or a few bytes before, of the last character that begins before it. */
function characterEnd(bytes: Uint8Array, end: number): number {
  if (end >= bytes.length) return bytes.length
  let at = end
  while ((bytes[at]! & 0xc0) === 0x80) at--
  return at
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
