/**
 * The bodies of requests (request.ts has the header).
 *
 *   GET, GET_ENTRY, DELETE := key
 *   PUT          := ttl u64 when flags has it | keyLength u16 | key | value
 *   GET_MANY     := count u32 | (keyLength u16 | key) * count
 *   BATCH        := count u32 | operation * count
 *   operation    := 1 | keyLength u16 | key | valueLength u32 | value              put
 *                 | 2 | keyLength u16 | key                                        del
 *                 | 3 | keyLength u16 | key | valueLength u32 | value | ttl u64    put that expires
 *   SCAN_OPEN    := range | scanId u32 | limit u64 | entriesMax u32 | bytesMax u32
 *                 | cursorLength u16 | cursor
 *   SCAN_NEXT    := scanId u32 | entriesMax u32 | bytesMax u32
 *   SCAN_CLOSE   := scanId u32
 *   COUNT        := range
 *   range        := flags u8 | (keyLength u16 | lower key) | (keyLength u16 | upper key)
 *   PING         := any bytes    STATS, RING_MAP := nothing    CANCEL := request id u32
 *   HELLO        := "DRMN" | versionMin u16 | versionMax u16 | features u32
 *                 | nameLength u16 | client name | credentialsLength u16 | credentials | anything
 *
 * Range flags: 1 has a lower bound, 2 it is inclusive, 4 has an upper bound, 8 it is inclusive,
 * 16 reverse, 32 unordered, 64 keys only. Decoders borrow byte strings from the message.
 */
import { ByteReader, ByteWriter, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import { readUint16, readUint32 } from './frame.ts'
import { CLIENT_NAME_SIZE_MAX, CREDENTIALS_SIZE_MAX, PING_SIZE_MAX } from './limits.ts'
import type { HandlerOperation, HandlerPut, HandlerScan } from './request-handler.ts'

/** Opens every HELLO, so that other protocols are told apart: "DRMN". */
export const HELLO_MAGIC = 0x4e4d5244

/** Part of the protocol. Append only; never renumber. */
export const BatchOperationCode = { put: 1, del: 2, putExpiring: 3 } as const

/** The least a BATCH operation takes: its code and a key length. Empty keys are refused later. */
const BATCH_OPERATION_SIZE_MIN = 3
/** The least a key of GET_MANY takes. */
const GET_MANY_KEY_SIZE_MIN = 2

const RangeFlag = {
  lower: 1,
  lowerInclusive: 2,
  upper: 4,
  upperInclusive: 8,
  reverse: 16,
  unordered: 32,
  keysOnly: 64,
} as const
const RANGE_FLAGS_KNOWN = 127

export interface HelloBody {
  readonly versionMin: number
  readonly versionMax: number
  readonly features: number
  readonly clientName: string
  /** Reserved for authentication; empty for none. */
  readonly credentials: Uint8Array
}

/** A range to read. A SCAN_OPEN without a cursor has an empty one. */
export interface CountBody {
  readonly scan: HandlerScan
}

export interface ScanOpenBody {
  readonly scan: HandlerScan
  readonly scanId: number
  /** 0 for no limit. */
  readonly limit: number
  readonly entriesMax: number
  readonly bytesMax: number
}

export interface ScanNextBody {
  readonly scanId: number
  readonly entriesMax: number
  readonly bytesMax: number
}

export function encodeHello(hello: HelloBody): Uint8Array {
  const name = utf8Encode(hello.clientName)
  const writer = new ByteWriter(64)
  writer.uint32(HELLO_MAGIC).uint16(hello.versionMin).uint16(hello.versionMax)
  writer.uint32(hello.features)
  writer.uint16(name.length).raw(name)
  writer.uint16(hello.credentials.length).raw(hello.credentials)
  return writer.written
}

/** Whatever follows the known fields is for later versions, and ignored. */
export function decodeHello(bytes: Uint8Array, start: number, end: number): HelloBody {
  const reader = new ByteReader(bytes, start, end)
  if (reader.uint32() !== HELLO_MAGIC) throw new DecodeError('the HELLO lacks its magic', start)
  const versionMin = reader.uint16()
  const versionMax = reader.uint16()
  const features = reader.uint32()
  const name = shortString(reader, CLIENT_NAME_SIZE_MAX, 'client name')
  const credentials = shortString(reader, CREDENTIALS_SIZE_MAX, 'credentials')
  return { versionMin, versionMax, features, clientName: utf8Decode(name), credentials }
}

function shortString(reader: ByteReader, sizeMax: number, what: string): Uint8Array {
  const size = reader.uint16()
  if (size > sizeMax) throw new DecodeError(`the ${what} exceeds ${sizeMax} bytes`, reader.offset)
  return reader.view(size)
}

export function decodePing(bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (end - start > PING_SIZE_MAX) {
    throw new DecodeError(`a PING carries at most ${PING_SIZE_MAX} bytes`, start)
  }
  return bytes.subarray(start, end)
}

/** The command of an ADMIN: a JSON object with the name of a command. */
export function decodeAdmin(
  bytes: Uint8Array,
  start: number,
  end: number,
): Readonly<Record<string, unknown>> {
  let command: unknown
  try {
    command = JSON.parse(utf8Decode(bytes.subarray(start, end)))
  } catch (error) {
    throw new DecodeError(`an ADMIN carries JSON: ${String(error)}`, start)
  }
  if (typeof command === 'object' && command !== null && 'command' in command) {
    if (typeof command.command === 'string') return { ...command }
  }
  throw new DecodeError("an ADMIN carries an object with a 'command'", start)
}

/** The key of a GET or DELETE: the whole body. Its size is checked by the server. */
export function decodeKey(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return bytes.subarray(start, end)
}

export function decodePut(
  bytes: Uint8Array,
  start: number,
  end: number,
  hasTtl: boolean,
): HandlerPut {
  let at = start
  let ttlMs = 0
  if (end - start < (hasTtl ? 10 : 2)) throw new DecodeError('a PUT ends inside its fields', end)
  if (hasTtl) {
    ttlMs = uint64(bytes, at)
    at += 8
  }
  const keyLength = readUint16(bytes, at)
  at += 2
  if (keyLength > end - at) throw new DecodeError('a PUT ends inside its key', end)
  const valueStart = at + keyLength
  const key = bytes.subarray(at, valueStart)
  return { type: 'put', key, value: bytes.subarray(valueStart, end), ttlMs }
}

function uint64(bytes: Uint8Array, at: number): number {
  const high = readUint32(bytes, at + 4)
  if (high > 0x1f_ffff) throw new DecodeError('a 64-bit number exceeds 2^53 - 1', at)
  return high * 0x1_0000_0000 + readUint32(bytes, at)
}

/** The body of a request without arguments. */
export function decodeNothing(_bytes: Uint8Array, start: number, end: number): void {
  if (start !== end) throw new DecodeError(`${end - start} bytes too many`, start)
}

export function decodeUint32Body(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 4) throw new DecodeError('the body is one 32-bit number', start)
  return readUint32(bytes, start)
}

export function encodeGetMany(keys: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter(4 + keys.length * 32)
  writer.uint32(keys.length)
  for (const key of keys) writer.uint16(key.length).raw(key)
  return writer.written
}

/** Throws InvalidArgumentError for more than `keysMax` keys, before it makes any. */
export function decodeGetMany(
  bytes: Uint8Array,
  start: number,
  end: number,
  keysMax: number,
): Uint8Array[] {
  const reader = new ByteReader(bytes, start, end)
  const count = checkedCount(reader, GET_MANY_KEY_SIZE_MIN)
  if (count > keysMax) {
    throw new InvalidArgumentError(`GET_MANY takes at most ${keysMax} keys, got ${count}`)
  }
  const keys: Uint8Array[] = []
  for (let index = 0; index < count; index++) keys.push(reader.view(reader.uint16()))
  reader.expectEnd()
  return keys
}

/** A count that the rest of the body can hold, so that a lie allocates nothing. */
function checkedCount(reader: ByteReader, itemSizeMin: number): number {
  const at = reader.offset
  const count = reader.uint32()
  if (count * itemSizeMin > reader.remaining) {
    throw new DecodeError(`${count} items do not fit in ${reader.remaining} bytes`, at)
  }
  return count
}

export function encodeBatch(operations: readonly HandlerOperation[]): Uint8Array {
  const writer = new ByteWriter(4 + operations.length * 64)
  writer.uint32(operations.length)
  for (const operation of operations) {
    if (operation.type === 'del') {
      writer.uint8(BatchOperationCode.del).uint16(operation.key.length).raw(operation.key)
      continue
    }
    const expires = operation.ttlMs !== 0
    writer.uint8(expires ? BatchOperationCode.putExpiring : BatchOperationCode.put)
    writer.uint16(operation.key.length).raw(operation.key)
    writer.uint32(operation.value.length).raw(operation.value)
    if (expires) writer.uint64(operation.ttlMs)
  }
  return writer.written
}

/** Throws InvalidArgumentError for more than `operationsMax` operations, before it makes any. */
export function decodeBatch(
  bytes: Uint8Array,
  start: number,
  end: number,
  operationsMax: number,
): HandlerOperation[] {
  const reader = new ByteReader(bytes, start, end)
  const count = checkedBatchCount(reader, operationsMax)
  const operations: HandlerOperation[] = []
  for (let index = 0; index < count; index++) operations.push(decodeOperation(reader))
  reader.expectEnd()
  return operations
}

/** How many operations follow. Throws InvalidArgumentError for more than `operationsMax`. */
export function checkedBatchCount(reader: ByteReader, operationsMax: number): number {
  const count = checkedCount(reader, BATCH_OPERATION_SIZE_MIN)
  if (count <= operationsMax) return count
  throw new InvalidArgumentError(`BATCH takes at most ${operationsMax} operations, got ${count}`)
}

export function decodeOperation(reader: ByteReader): HandlerOperation {
  const at = reader.offset
  const code = reader.uint8()
  const key = reader.view(reader.uint16())
  if (code === BatchOperationCode.del) return { type: 'del', key }
  if (code !== BatchOperationCode.put && code !== BatchOperationCode.putExpiring) {
    throw new DecodeError(`unknown batch operation ${code}`, at)
  }
  const value = reader.view(reader.uint32())
  const ttlMs = code === BatchOperationCode.putExpiring ? reader.uint64() : 0
  return { type: 'put', key, value, ttlMs }
}

function writeRange(writer: ByteWriter, scan: HandlerScan): void {
  const lower = scan.gte ?? scan.gt
  const upper = scan.lte ?? scan.lt
  let flags = scan.reverse ? RangeFlag.reverse : 0
  if (scan.order === 'unordered') flags |= RangeFlag.unordered
  if (scan.keysOnly) flags |= RangeFlag.keysOnly
  if (lower !== undefined) flags |= RangeFlag.lower
  if (scan.gte !== undefined) flags |= RangeFlag.lowerInclusive
  if (upper !== undefined) flags |= RangeFlag.upper
  if (scan.lte !== undefined) flags |= RangeFlag.upperInclusive
  writer.uint8(flags)
  if (lower !== undefined) writer.uint16(lower.length).raw(lower)
  if (upper !== undefined) writer.uint16(upper.length).raw(upper)
}

function readRange(reader: ByteReader): Omit<HandlerScan, 'cursor'> {
  const at = reader.offset
  const flags = reader.uint8()
  if ((flags & ~RANGE_FLAGS_KNOWN) !== 0) {
    throw new DecodeError(`unknown range flags 0x${flags.toString(16)}`, at)
  }
  const hasLower = (flags & RangeFlag.lower) !== 0
  const hasUpper = (flags & RangeFlag.upper) !== 0
  if (!hasLower && (flags & RangeFlag.lowerInclusive) !== 0) {
    throw new DecodeError('an inclusive lower bound is missing', at)
  }
  if (!hasUpper && (flags & RangeFlag.upperInclusive) !== 0) {
    throw new DecodeError('an inclusive upper bound is missing', at)
  }
  const lower = hasLower ? reader.view(reader.uint16()) : undefined
  const upper = hasUpper ? reader.view(reader.uint16()) : undefined
  const lowerName = (flags & RangeFlag.lowerInclusive) !== 0 ? 'gte' : 'gt'
  const upperName = (flags & RangeFlag.upperInclusive) !== 0 ? 'lte' : 'lt'
  return {
    ...(lower === undefined ? {} : { [lowerName]: lower }),
    ...(upper === undefined ? {} : { [upperName]: upper }),
    reverse: (flags & RangeFlag.reverse) !== 0,
    order: (flags & RangeFlag.unordered) !== 0 ? 'unordered' : 'ordered',
    keysOnly: (flags & RangeFlag.keysOnly) !== 0,
  }
}

export function encodeCount(count: CountBody): Uint8Array {
  const writer = new ByteWriter(64)
  writeRange(writer, count.scan)
  return writer.written
}

export function decodeCount(bytes: Uint8Array, start: number, end: number): CountBody {
  const reader = new ByteReader(bytes, start, end)
  const range = readRange(reader)
  reader.expectEnd()
  return { scan: { ...range, cursor: undefined } }
}

export function encodeScanOpen(open: ScanOpenBody): Uint8Array {
  const writer = new ByteWriter(128)
  writeRange(writer, open.scan)
  writer.uint32(open.scanId).uint64(open.limit).uint32(open.entriesMax).uint32(open.bytesMax)
  const cursor = open.scan.cursor
  writer.uint16(cursor === undefined ? 0 : cursor.length)
  if (cursor !== undefined) writer.raw(cursor)
  return writer.written
}

export function decodeScanOpen(bytes: Uint8Array, start: number, end: number): ScanOpenBody {
  const reader = new ByteReader(bytes, start, end)
  const range = readRange(reader)
  const scanId = reader.uint32()
  const limit = reader.uint64()
  const entriesMax = reader.uint32()
  const bytesMax = reader.uint32()
  const cursorLength = reader.uint16()
  const cursor = cursorLength === 0 ? undefined : reader.view(cursorLength)
  reader.expectEnd()
  return { scan: { ...range, cursor }, scanId, limit, entriesMax, bytesMax }
}

export function encodeScanNext(next: ScanNextBody): Uint8Array {
  const writer = new ByteWriter(12)
  return writer.uint32(next.scanId).uint32(next.entriesMax).uint32(next.bytesMax).written
}

export function decodeScanNext(bytes: Uint8Array, start: number, end: number): ScanNextBody {
  const reader = new ByteReader(bytes, start, end)
  const next = {
    scanId: reader.uint32(),
    entriesMax: reader.uint32(),
    bytesMax: reader.uint32(),
  }
  reader.expectEnd()
  return next
}
