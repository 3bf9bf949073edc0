/**
 * How keys and values are typed in and shown: as text, or with --hex or --base64 as digits, in
 * both directions. Pure.
 */
import { isUtf8 } from 'node:buffer'
import { asBuffer, bytesToText, textToBytes } from './byte-text.ts'
import { formatToken, isShowable } from './command-line.ts'
import { UsageError } from './usage-error.ts'

export type DataEncoding = 'text' | 'hex' | 'base64'

const HEX = /^(?:[0-9a-fA-F]{2})*$/
/** Flat: a repeated group overflows the stack of the expression engine at some megabytes. */
const BASE64 = /^[A-Za-z0-9+/]*(={0,2})$/

/** The bytes of an argument. Throws UsageError, naming what it is, when it is not in `encoding`. */
export function decodeArgument(text: string, encoding: DataEncoding, what: string): Uint8Array {
  if (encoding === 'text') return textToBytes(text)
  const bytes = decodeDigits(text, encoding)
  if (bytes !== undefined) return bytes
  throw new UsageError(`the ${what} '${text}' is not ${encoding}`)
}

/** Undefined when the text is not in the encoding. */
export function decodeDigits(text: string, encoding: 'hex' | 'base64'): Uint8Array | undefined {
  const valid = encoding === 'hex' ? HEX.test(text) : isBase64(text)
  return valid ? Buffer.from(text, encoding) : undefined
}

/** With its padding, or without any. */
function isBase64(text: string): boolean {
  const match = BASE64.exec(text)
  if (match === null) return false
  return match[1] === '' ? text.length % 4 !== 1 : text.length % 4 === 0
}

export function encodeDigits(bytes: Uint8Array, encoding: 'hex' | 'base64'): string {
  return asBuffer(bytes).toString(encoding)
}

/** One word that reads back as the bytes, safe to show on a terminal. */
export function showToken(bytes: Uint8Array, encoding: DataEncoding): string {
  return encoding === 'text' ? formatToken(bytes) : encodeDigits(bytes, encoding)
}

const LINE_BREAKS = /[\n\t]/g

/** A value on its own on a terminal: text as it is, line breaks included; else as showToken. */
export function showValue(bytes: Uint8Array, encoding: DataEncoding): string {
  if (encoding !== 'text') return encodeDigits(bytes, encoding)
  const text = bytesToText(bytes)
  return text !== '' && isShowable(text.replace(LINE_BREAKS, ' ')) ? text : formatToken(bytes)
}

/** A field of a JSON result: `name` with text, or `name64` with base64 when it is not UTF-8. */
export function jsonField(
  name: string,
  bytes: Uint8Array,
  encoding: DataEncoding,
): Record<string, string> {
  if (encoding !== 'text') return { [name]: encodeDigits(bytes, encoding) }
  if (isUtf8(bytes)) return { [name]: asBuffer(bytes).toString('utf8') }
  return { [`${name}64`]: encodeDigits(bytes, 'base64') }
}
