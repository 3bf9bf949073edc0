/**
 * Where a scan stands, as bytes that an application may keep.
 *
 *   cursor := 1 | last key               ordered
 *           | 2 | the server's cursor    unordered
 */
import { InvalidArgumentError } from '../errors.ts'

const ORDERED = 1
const UNORDERED = 2

export interface ScanCursor {
  readonly order: 'ordered' | 'unordered'
  readonly position: Uint8Array
}

export function encodeScanCursor(cursor: ScanCursor): Uint8Array {
  const bytes = new Uint8Array(1 + cursor.position.length)
  bytes[0] = cursor.order === 'ordered' ? ORDERED : UNORDERED
  bytes.set(cursor.position, 1)
  return bytes
}

/** Throws InvalidArgumentError for what no scan has given out. */
export function decodeScanCursor(bytes: Uint8Array): ScanCursor {
  const kind = bytes[0]
  if (bytes.length < 2 || (kind !== ORDERED && kind !== UNORDERED)) {
    throw new InvalidArgumentError('this is not the cursor of a scan')
  }
  const order = kind === ORDERED ? 'ordered' : 'unordered'
  return { order, position: Uint8Array.from(bytes.subarray(1)) }
}
