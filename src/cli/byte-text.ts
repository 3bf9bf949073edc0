/**
 * Byte strings as text without loss, for places that only take text: command arguments, JSON.
 *
 * Valid UTF-8 stands for itself. A byte that is not part of valid UTF-8 becomes the lone surrogate
 * U+DC00 + byte (U+DC80 to U+DCFF), as Python's "surrogateescape" (PEP 383) does, so every byte
 * string has exactly one text, and that text leads back to it.
 */
import { isUtf8 } from 'node:buffer'

const ESCAPE_BASE = 0xdc00
/** With the u flag, surrogates that are part of a pair do not match. */
const ESCAPED_BYTE = /[\udc80-\udcff]/u
const LONE_SURROGATE = /[\ud800-\udc7f\udd00-\udfff]/u
/** Of U+10000, where characters begin that take two surrogates. */
const PAIRS_FROM = 0x10000

/** `bytes` as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The text of any byte string. */
export function bytesToText(bytes: Uint8Array): string {
  // Not TextDecoder: it would drop a leading byte order mark.
  if (isUtf8(bytes)) return asBuffer(bytes).toString('utf8')
  // No byte makes more than one unit. By hand, for values of many megabytes are shown this way.
  const units = new Uint16Array(bytes.length)
  let count = 0
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    const point = length === 0 ? ESCAPE_BASE + bytes[at]! : codePoint(bytes, at, length)
    at += Math.max(1, length)
    if (point < PAIRS_FROM) {
      units[count++] = point
    } else {
      units[count++] = 0xd800 + ((point - PAIRS_FROM) >> 10)
      units[count++] = 0xdc00 + ((point - PAIRS_FROM) & 0x3ff)
    }
  }
  return unitsToText(units.subarray(0, count))
}

/** The bytes of a text, escaped bytes included. Other lone surrogates become U+FFFD. */
export function textToBytes(text: string): Uint8Array {
  if (!ESCAPED_BYTE.test(text)) return Buffer.from(text, 'utf8')
  // Every character between is encoded at once; an escaped byte takes no more room than it has.
  const bytes = Buffer.allocUnsafe(3 * text.length)
  let size = 0
  let from = 0
  for (let at = 0; at < text.length; at++) {
    if (!isEscapedByte(text, at)) continue
    if (at > from) size += bytes.write(text.slice(from, at), size, 'utf8')
    bytes[size++] = text.charCodeAt(at) - ESCAPE_BASE
    from = at + 1
  }
  size += bytes.write(text.slice(from), size, 'utf8')
  return bytes.subarray(0, size)
}

/** True when the unit at `at` stands for a byte, and is not the second half of a character. */
function isEscapedByte(text: string, at: number): boolean {
  const unit = text.charCodeAt(at)
  if (unit < 0xdc80 || unit > 0xdcff) return false
  const before = at === 0 ? 0 : text.charCodeAt(at - 1)
  return before < 0xd800 || before > 0xdbff
}

/** True when the text holds a surrogate that stands for no character and no byte. */
export function hasStraySurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text)
}

/** Units decoded at a time: as many as one call to String.fromCharCode takes. */
const UNITS_MAX = 8192

function unitsToText(units: Uint16Array): string {
  let text = ''
  for (let from = 0; from < units.length; from += UNITS_MAX) {
    text += String.fromCharCode(...units.subarray(from, from + UNITS_MAX))
  }
  return text
}

/** Bytes of the valid UTF-8 sequence that starts at `at`, or 0 when none does. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!
  if (first < 0x80) return 1
  // 0xc0 and 0xc1 would begin what one byte says; beyond 0xf4 there are no characters.
  if (first < 0xc2 || first > 0xf4) return 0
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  if (at + length > bytes.length) return 0
  // The second byte rules out longer forms of shorter ones, surrogates, and what is too large.
  const second = bytes[at + 1]!
  const min = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const max = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < min || second > max) return 0
  for (let next = at + 2; next < at + length; next++) {
    if ((bytes[next]! & 0xc0) !== 0x80) return 0
  }
  return length
}

/** The character of a valid sequence. */
function codePoint(bytes: Uint8Array, at: number, length: number): number {
  if (length === 1) return bytes[at]!
  let point = bytes[at]! & (0xff >> (length + 1))
  for (let next = at + 1; next < at + length; next++) point = (point << 6) | (bytes[next]! & 0x3f)
  return point
}
