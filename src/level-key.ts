/**
 * Keys and values between the three formats of abstract-level ('utf8', 'buffer', 'view') and the
 * bytes of the engine.
 *
 * abstract-level has an empty key, the engine has not. So a key that consists of zero bytes alone,
 * or of nothing, is stored with one zero byte more; every other key is stored as it is. Keys of
 * zeros alone are the smallest there are, so this keeps the order, of bounds too:
 *
 *   ''  ->  00        00  ->  00 00        00 01  ->  00 01
 *
 * Invariant: userKey(storedKey(key)) has the bytes of key, and storedKey keeps the order.
 */
import { utf8Decode } from './bytes.ts'

/** How abstract-level hands over a key or value, and wants it back. */
export type LevelFormat = 'utf8' | 'buffer' | 'view'
export type LevelData = string | Uint8Array

/** The engine's bytes for a key, a bound or a seek target. Borrows what is bytes already. */
export function storedKey(key: LevelData): Uint8Array {
  const bytes = dataBytes(key)
  return isZeros(bytes) ? new Uint8Array(bytes.length + 1) : bytes
}

/** The user's key for a key of the engine. Borrows it. */
export function userKey(stored: Uint8Array): Uint8Array {
  return isZeros(stored) ? stored.subarray(1) : stored
}

/** The bytes of a value. Borrows what is bytes already. */
export function dataBytes(data: LevelData): Uint8Array {
  // A third of what TextEncoder takes for short texts: Node cuts it from a pool.
  return typeof data === 'string' ? Buffer.from(data, 'utf8') : data
}

/** Bytes of the engine in the format that abstract-level asked for. Borrows them. */
export function formatted(bytes: Uint8Array, format: LevelFormat): LevelData {
  switch (format) {
    case 'utf8':
      return utf8Decode(bytes)
    case 'buffer':
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    case 'view':
      return bytes
  }
}

function isZeros(bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index] !== 0) return false
  }
  return true
}
