/** How the client takes results out of replies, one function for each kind of result. */
import { copyBytes, DecodeError, utf8Decode } from '../bytes.ts'
import { Status } from './opcode.ts'
import {
  decodeCountReply,
  decodeEntryReply,
  decodePage,
  decodeValues,
  type EntryReply,
  type PageReply,
} from './response-body.ts'

function requireOk(status: number, start: number): void {
  if (status !== Status.ok) throw new DecodeError(`unexpected status ${status}`, start)
}

export function decodeValue(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Uint8Array | undefined {
  if (status === Status.absent) return undefined
  requireOk(status, start)
  return copyBytes(bytes, start, end)
}

export function decodeEntry(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): EntryReply | undefined {
  if (status === Status.absent) return undefined
  requireOk(status, start)
  return decodeEntryReply(bytes, start, end)
}

export function decodeDone(status: number, _bytes: Uint8Array, start: number): void {
  requireOk(status, start)
}

/** The payload comes back as it was sent; that it came is what was asked. */
export function decodePong(status: number, _bytes: Uint8Array, start: number): void {
  requireOk(status, start)
}

export function decodeValuesResult(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): (Uint8Array | undefined)[] {
  requireOk(status, start)
  return decodeValues(bytes, start, end)
}

export function decodeCountResult(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  requireOk(status, start)
  return decodeCountReply(bytes, start, end)
}

export function decodePageResult(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): PageReply {
  requireOk(status, start)
  return decodePage(bytes, start, end)
}

/** The ring stays as it came: who knows rings decodes it. */
export function decodeRingMap(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Uint8Array {
  requireOk(status, start)
  return copyBytes(bytes, start, end)
}

export function decodeStats(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Record<string, unknown> {
  requireOk(status, start)
  let parsed: unknown
  try {
    parsed = JSON.parse(utf8Decode(bytes.subarray(start, end)))
  } catch (error) {
    throw new DecodeError(`the statistics are not JSON: ${String(error)}`, start)
  }
  if (typeof parsed === 'object' && parsed !== null) return { ...parsed }
  throw new DecodeError('the statistics are not a JSON object', start)
}
