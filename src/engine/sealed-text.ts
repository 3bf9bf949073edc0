/**
 * One text and its checksum: what the small files hold that are replaced as a whole, CURRENT, COLD
 * and OWNER.
 *
 *   sealed := text " " sum "\n"
 *   sum    := XXH32 of the text, seed 0, as eight hexadecimal digits
 */
import { utf8Decode, utf8Encode } from '../bytes.ts'
import { xxh32 } from '../hash.ts'

export function sealText(text: string): Uint8Array {
  return utf8Encode(`${text} ${sumOf(text)}\n`)
}

/** The text, or undefined when the bytes are no sealed text. */
export function unsealText(bytes: Uint8Array): string | undefined {
  const match = /^(.*) ([0-9a-f]{8})\n$/s.exec(utf8Decode(bytes))
  if (match === null || sumOf(match[1]!) !== match[2]) return undefined
  return match[1]
}

/** Eight hexadecimal digits. */
export function sumOf(text: string): string {
  const bytes = utf8Encode(text)
  return xxh32(bytes, 0, bytes.length, 0).toString(16).padStart(8, '0')
}
