/** Keys and values are bytes: how they are shown, typed and put into paths. */

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** What would not be seen, or would turn a line around. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029]/gu
const HEX_WIDTH = 16

/**
 * Each byte percent-encoded that is not plain.
 *
 * @param {Uint8Array} bytes
 */
export function keyPath(bytes) {
  return Array.from(bytes, byte => {
    const character = String.fromCharCode(byte)
    if (/[A-Za-z0-9_~]/.test(character)) return character
    return `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }).join('')
}

/**
 * As text, undefined for what is no UTF-8.
 *
 * @param {Uint8Array} bytes
 */
export function textOf(bytes) {
  try {
    return UTF8.decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/**
 * On one line: unseen characters as code points, what is no text as hex.
 *
 * @param {Uint8Array} bytes
 */
export function shownKey(bytes) {
  const text = textOf(bytes)
  if (text === undefined) return `0x${hexOf(bytes)}`
  return text.replaceAll(UNSEEN, unseen => `\\u{${unseen.codePointAt(0)?.toString(16)}}`)
}

/**
 * What somebody typed: text, or bytes in hex behind 0x.
 *
 * @param {string} text
 */
export function typedKey(text) {
  if (!/^0x(?:[0-9a-f]{2})+$/i.test(text)) return new TextEncoder().encode(text)
  const pairs = text.slice(2).match(/../g) ?? []
  return Uint8Array.from(pairs, pair => Number.parseInt(pair, 16))
}

/**
 * The key of a line of a scan.
 *
 * @param {{ key?: string, key64?: string }} line
 */
export function lineKey({ key, key64 = '' }) {
  if (key !== undefined) return new TextEncoder().encode(key)
  return Uint8Array.from(atob(key64), character => character.charCodeAt(0))
}

/** @param {Uint8Array} bytes */
function hexOf(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * Offset, sixteen bytes in hex, and what of them is ASCII, a line each.
 *
 * @param {Uint8Array} bytes
 */
export function hexDump(bytes) {
  const lines = []
  for (let at = 0; at < bytes.length; at += HEX_WIDTH) {
    const part = bytes.subarray(at, at + HEX_WIDTH)
    const hex = hexOf(part)
      .replaceAll(/../g, '$& ')
      .padEnd(HEX_WIDTH * 3)
    const ascii = String.fromCharCode(...part).replaceAll(/[^\x20-\x7e]/g, '.')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex} ${ascii}`)
  }
  return lines.join('\n')
}
