/** Keys as messages to people show them: any bytes, of any length, in one short line. */
import { utf8Decode } from '../bytes.ts'

/** Characters of a key in a message. */
const KEY_TEXT_SIZE_MAX = 80

/** A key for messages: as text when it is printable, else in hex, cut when long. */
export function keyText(key: Uint8Array): string {
  const isText = key.every(byte => byte >= 0x20 && byte !== 0x7f)
  const text = isText ? JSON.stringify(utf8Decode(key)) : Buffer.from(key).toString('hex')
  return text.length <= KEY_TEXT_SIZE_MAX ? text : `${text.slice(0, KEY_TEXT_SIZE_MAX)}…`
}
