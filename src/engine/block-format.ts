/**
 * The layout of a data block, shared by block-builder.ts and block.ts.
 *
 *   block       := header | fingerprint u8 [count] | record[count] | prefix | suffix … | value …
 *   header      := count u16 | prefix length u16 | delta width u8 | base sequence (7 bytes)
 *                  | values start u32                                              16 bytes
 *   record      := suffix start u16 | value start u16 | kind u8 | sequence delta (width bytes)
 *
 * Little-endian. `prefix` is what all keys of the block begin with; a key is prefix | suffix. The
 * fingerprint is the low byte of the XXH32 (seed 0) of the user key. Starts count from the first
 * suffix and the first value; an entry ends where the next begins, the last one with the area. The
 * tag of internal-key.ts is stored as kind and the sequence's distance from the block's smallest.
 *
 * Why not restart points and delta-coded keys: every entry is addressable, so that a seek is one
 * binary search, `prev` costs what `next` does, and a point read looks at the fingerprints (the
 * first cache line of the block), one record, one key and its value. At 16-byte keys and 100-byte
 * values, out of cache, that took 0.6-0.8 us against 1.1-1.5 us for restart points every 16 or 4
 * entries, and the block is smaller too (123.8 against 125.1 bytes an entry).
 *
 * Invariants, all checked by checkBlock before a block is used, so that readers need no bounds:
 *  1. count >= 1; the areas fill the block exactly; starts never decrease and stay in their area.
 *  2. Every kind is one that a table may hold; a putExpiring value has room for its expiry.
 *  3. Entries stand in internal order (promised by the writer, not checked here).
 *  4. With two entries or more the block has at most 65,535 bytes; a bigger entry is alone.
 */
import { DecodeError } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { EntryKind, EXPIRY_SIZE } from './internal-key.ts'

export const BLOCK_HEADER_SIZE = 16
export const PREFIX_LENGTH_OFFSET = 2
export const DELTA_WIDTH_OFFSET = 4
export const BASE_SEQUENCE_OFFSET = 5
export const VALUES_START_OFFSET = 12

/** Bytes of a record without its sequence delta. */
export const RECORD_SIZE = 5
export const RECORD_VALUE_OFFSET = 2
export const RECORD_KIND_OFFSET = 4
export const DELTA_WIDTH_MAX = 7

/** Bytes of a block of several entries, so that 16 bits address its parts. */
export const SHARED_BLOCK_SIZE_MAX = 65_535

/** The bytes that tell apart sequences up to `range` above the smallest. */
export function deltaWidth(range: number): number {
  let width = 0
  for (let rest = range; rest >= 1; rest /= 256) width++
  return width
}

/** An unsigned little-endian number of up to seven bytes. */
export function readUintLe(bytes: Uint8Array, at: number, width: number): number {
  if (width < 4) return readUint24(bytes, at, width)
  const low = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
  return readUint24(bytes, at + 4, width - 4) * 0x1_0000_0000 + (low >>> 0)
}

/**
 * Four bytes that checkBlock found to be a place in the block, so below 2^31. As an unsigned number
 * every place that is derived from it would be a floating-point number for the compiler, and so the
 * index of every loop over a key or value.
 */
export function readPlace(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** Up to three bytes, without the loop that would cost more than the loads. */
function readUint24(bytes: Uint8Array, at: number, width: number): number {
  if (width === 3) return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
  if (width === 2) return bytes[at]! | (bytes[at + 1]! << 8)
  return width === 1 ? bytes[at]! : 0
}

/** Writes the low `width` bytes of a safe integer. */
export function writeUintLe(bytes: Uint8Array, at: number, width: number, value: number): void {
  const low = value % 0x1_0000_0000
  let rest = low | 0
  for (let index = 0; index < width; index++) {
    if (index === 4) rest = (value - low) / 0x1_0000_0000
    bytes[at + index] = rest
    rest >>>= 8
  }
}

function readUint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

/** Throws DecodeError unless `bytes[start, end)` is laid out as a block (invariants 1 and 2). */
export function checkBlock(bytes: Uint8Array, start: number, end: number): void {
  const size = end - start
  if (size < BLOCK_HEADER_SIZE) throw new DecodeError(`a block is not ${size} bytes long`, start)
  const count = readUint16(bytes, start)
  const prefixLength = readUint16(bytes, start + PREFIX_LENGTH_OFFSET)
  const width = bytes[start + DELTA_WIDTH_OFFSET]!
  const valuesStart = readUintLe(bytes, start + VALUES_START_OFFSET, 4)
  const stride = RECORD_SIZE + width
  const suffixesStart = BLOCK_HEADER_SIZE + count * (1 + stride) + prefixLength
  if (count < 1) throw new DecodeError('a block has entries', start)
  if (width > DELTA_WIDTH_MAX) throw new DecodeError('a sequence delta has up to 7 bytes', start)
  if (valuesStart < suffixesStart || valuesStart > size) {
    throw new DecodeError('the areas of a block fill it', start + VALUES_START_OFFSET)
  }
  if (count > 1 && size > SHARED_BLOCK_SIZE_MAX) {
    throw new DecodeError(`a block of ${count} entries is not ${size} bytes long`, start)
  }
  checkRecords(bytes, start + BLOCK_HEADER_SIZE + count, count, stride, {
    suffixesSize: valuesStart - suffixesStart,
    valuesSize: size - valuesStart,
    prefixLength,
    base: readUintLe(bytes, start + BASE_SEQUENCE_OFFSET, DELTA_WIDTH_MAX),
  })
}

interface Areas {
  readonly suffixesSize: number
  readonly valuesSize: number
  readonly prefixLength: number
  readonly base: number
}

function checkRecords(
  bytes: Uint8Array,
  records: number,
  count: number,
  stride: number,
  areas: Areas,
): void {
  const width = stride - RECORD_SIZE
  let suffix = readUint16(bytes, records)
  let value = readUint16(bytes, records + RECORD_VALUE_OFFSET)
  if (suffix !== 0 || value !== 0) throw new DecodeError('the first entry starts at 0', records)
  for (let index = 0; index < count; index++) {
    const at = records + index * stride
    const isLast = index === count - 1
    const suffixEnd = isLast ? areas.suffixesSize : readUint16(bytes, at + stride)
    const valueEnd = isLast
      ? areas.valuesSize
      : readUint16(bytes, at + stride + RECORD_VALUE_OFFSET)
    const kind = bytes[at + RECORD_KIND_OFFSET]!
    const keyLength = areas.prefixLength + suffixEnd - suffix
    if (suffixEnd < suffix || valueEnd < value || keyLength < 1 || keyLength > KEY_SIZE_MAX) {
      throw new DecodeError('the entries of a block follow each other', at)
    }
    if (kind !== EntryKind.put && kind !== EntryKind.delete && kind !== EntryKind.putExpiring) {
      throw new DecodeError(`entry kind ${kind} is not supported in tables`, at)
    }
    if (kind === EntryKind.putExpiring && valueEnd - value < EXPIRY_SIZE) {
      throw new DecodeError('an expiring value begins with its expiry', at)
    }
    const delta = readUintLe(bytes, at + RECORD_SIZE, width)
    if (delta + areas.base > Number.MAX_SAFE_INTEGER) {
      throw new DecodeError('a sequence is at most 2^53 - 1', at)
    }
    suffix = suffixEnd
    value = valueEnd
  }
}
