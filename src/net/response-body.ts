/**
 * The bodies of replies: their types, encoders and decoders; response.ts has the grammar.
 *
 * Encoders append a whole frame. Decoders copy keys and values into buffers of their own, for they
 * end in the hands of the application.
 */
import { ByteReader, ByteWriter, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import { WRITE_VERSION_SIZE } from './limits.ts'
import { Opcode, Status } from './opcode.ts'
import type { OutputBuffer } from './output-buffer.ts'
import { beginReply } from './reply-header.ts'
import { type ErrorBody, encodeErrorBody } from './status-error.ts'

/** The length that stands for an absent value in a GET_MANY reply. */
const ABSENT_LENGTH = 0xffff_ffff

/** Bytes of a page in front of its cursor and entries. */
export const PAGE_HEADER_SIZE = 7

/** Bytes of an entry in front of its version and value. */
const ENTRY_HEADER_SIZE = 9

const PageFlag = { done: 1, values: 2 } as const

/** Why the server goes away. Append only. */
export const GoawayReason = { shutdown: 1 } as const

export interface HelloReply {
  readonly version: number
  readonly features: number
  /** Milliseconds since the Unix epoch by the server's clock. */
  readonly wallMs: number
  readonly frameSizeMax: number
  readonly valueSizeMax: number
  readonly inFlightMax: number
  readonly getManyKeysMax: number
  readonly batchOperationsMax: number
  readonly scansMax: number
  readonly idleTimeoutMs: number
  readonly nodeId: string
  readonly serverName: string
  readonly serverVersion: string
  /** The cluster that the server is of; empty when it does not tell. */
  readonly clusterId: string
}

export interface PageReply {
  readonly keys: readonly Uint8Array[]
  /** As many as keys, or undefined when only keys were asked for. */
  readonly values: readonly Uint8Array[] | undefined
  readonly cursor: Uint8Array | undefined
  readonly done: boolean
}

/** What is stored under a key. */
export interface EntryReply {
  readonly value: Uint8Array
  /** Milliseconds since the Unix epoch; 0 for never. */
  readonly expiryMs: number
  /** Undefined: the server knows none. */
  readonly version: Uint8Array | undefined
}

export interface GoawayMessage {
  readonly reason: number
  readonly graceMs: number
  readonly message: string
}

export function encodeDoneReply(output: OutputBuffer, opcode: number, id: number): void {
  beginReply(output, Status.ok, opcode, id, 0)
}

/** The reply to a write, with the server's time; see Feature.serverTime. */
export function encodeTimeReply(
  output: OutputBuffer,
  opcode: number,
  id: number,
  timeMs: number,
): void {
  const at = beginReply(output, Status.ok, opcode, id, 8)
  output.view.setUint32(at, timeMs % 0x1_0000_0000, true)
  output.view.setUint32(at + 4, Math.floor(timeMs / 0x1_0000_0000), true)
}

export function encodeBytesReply(
  output: OutputBuffer,
  opcode: number,
  id: number,
  body: Uint8Array,
): void {
  const at = beginReply(output, Status.ok, opcode, id, body.length)
  output.bytes.set(body, at)
}

/** The reply to a GET. */
export function encodeValueReply(
  output: OutputBuffer,
  id: number,
  value: Uint8Array | undefined,
): void {
  if (value === undefined) beginReply(output, Status.absent, Opcode.get, id, 0)
  else encodeBytesReply(output, Opcode.get, id, value)
}

/** The reply to a GET_ENTRY. */
export function encodeEntryReply(
  output: OutputBuffer,
  id: number,
  entry: EntryReply | undefined,
): void {
  if (entry === undefined) {
    beginReply(output, Status.absent, Opcode.getEntry, id, 0)
    return
  }
  const { value, expiryMs, version } = entry
  const versionSize = version === undefined ? 0 : version.length
  const size = ENTRY_HEADER_SIZE + versionSize + value.length
  const at = beginReply(output, Status.ok, Opcode.getEntry, id, size)
  output.view.setUint32(at, expiryMs % 0x1_0000_0000, true)
  output.view.setUint32(at + 4, Math.floor(expiryMs / 0x1_0000_0000), true)
  output.view.setUint8(at + 8, versionSize)
  if (version !== undefined) output.bytes.set(version, at + ENTRY_HEADER_SIZE)
  output.bytes.set(value, at + ENTRY_HEADER_SIZE + versionSize)
}

/** The reply to a GET_MANY: as many results from the front as fit in `bodySizeMax`. */
export function encodeValuesReply(
  output: OutputBuffer,
  id: number,
  values: readonly (Uint8Array | undefined)[],
  bodySizeMax: number,
): void {
  let size = 4
  let count = 0
  for (const value of values) {
    const next = size + 4 + (value === undefined ? 0 : value.length)
    if (next > bodySizeMax) break
    size = next
    count++
  }
  let at = beginReply(output, Status.ok, Opcode.getMany, id, size)
  const { view, bytes } = output
  view.setUint32(at, count, true)
  at += 4
  for (let index = 0; index < count; index++) {
    const value = values[index]
    view.setUint32(at, value === undefined ? ABSENT_LENGTH : value.length, true)
    at += 4
    if (value === undefined) continue
    bytes.set(value, at)
    at += value.length
  }
}

/** Bytes that a page takes as the body of a reply. */
export function pageSize(page: PageReply): number {
  let size = PAGE_HEADER_SIZE + (page.cursor === undefined ? 0 : page.cursor.length)
  for (const key of page.keys) size += 2 + key.length
  if (page.values !== undefined) for (const value of page.values) size += 4 + value.length
  return size
}

export function encodePageReply(
  output: OutputBuffer,
  opcode: number,
  id: number,
  page: PageReply,
): void {
  const { keys, values, cursor } = page
  let at = beginReply(output, Status.ok, opcode, id, pageSize(page))
  const { view, bytes } = output
  view.setUint8(at, (page.done ? PageFlag.done : 0) | (values === undefined ? 0 : PageFlag.values))
  view.setUint32(at + 1, keys.length, true)
  view.setUint16(at + 5, cursor === undefined ? 0 : cursor.length, true)
  at += PAGE_HEADER_SIZE
  if (cursor !== undefined) {
    bytes.set(cursor, at)
    at += cursor.length
  }
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]!
    view.setUint16(at, key.length, true)
    bytes.set(key, at + 2)
    at += 2 + key.length
    if (values === undefined) continue
    const value = values[index]!
    view.setUint32(at, value.length, true)
    bytes.set(value, at + 4)
    at += 4 + value.length
  }
}

export function encodeCountReply(output: OutputBuffer, id: number, count: number): void {
  const at = beginReply(output, Status.ok, Opcode.count, id, 8)
  output.view.setUint32(at, count % 0x1_0000_0000, true)
  output.view.setUint32(at + 4, Math.floor(count / 0x1_0000_0000), true)
}

export function encodeHelloReply(output: OutputBuffer, id: number, hello: HelloReply): void {
  const writer = new ByteWriter(128)
  writer.uint16(hello.version).uint32(hello.features).uint64(hello.wallMs)
  writer.uint32(hello.frameSizeMax).uint32(hello.valueSizeMax).uint32(hello.inFlightMax)
  writer.uint32(hello.getManyKeysMax).uint32(hello.batchOperationsMax).uint32(hello.scansMax)
  writer.uint32(hello.idleTimeoutMs)
  const { nodeId, serverName, serverVersion, clusterId } = hello
  for (const text of [nodeId, serverName, serverVersion, clusterId]) {
    const bytes = utf8Encode(text)
    writer.uint16(bytes.length).raw(bytes)
  }
  encodeBytesReply(output, Opcode.hello, id, writer.written)
}

export function encodeGoaway(output: OutputBuffer, goaway: GoawayMessage): void {
  const message = utf8Encode(goaway.message)
  const writer = new ByteWriter(64)
  writer.uint8(goaway.reason).uint32(goaway.graceMs).raw(message)
  encodeBytesReply(output, Opcode.goaway, 0, writer.written)
}

export function encodeErrorReply(
  output: OutputBuffer,
  status: number,
  opcode: number,
  id: number,
  error: ErrorBody,
): void {
  const body = encodeErrorBody(error)
  const at = beginReply(output, status, opcode, id, body.length)
  output.bytes.set(body, at)
}

/** The reply to a GET_ENTRY, in buffers of its own. */
export function decodeEntryReply(bytes: Uint8Array, start: number, end: number): EntryReply {
  const reader = new ByteReader(bytes, start, end)
  const expiryMs = reader.uint64()
  const versionSize = reader.uint8()
  if (versionSize !== 0 && versionSize !== WRITE_VERSION_SIZE) {
    throw new DecodeError(`a version has ${WRITE_VERSION_SIZE} bytes, not ${versionSize}`, start)
  }
  const version = versionSize === 0 ? undefined : reader.copy(versionSize)
  return { value: reader.copy(reader.remaining), expiryMs, version }
}

/** The results of a GET_MANY reply, in buffers of their own. */
export function decodeValues(
  bytes: Uint8Array,
  start: number,
  end: number,
): (Uint8Array | undefined)[] {
  const reader = new ByteReader(bytes, start, end)
  const count = reader.uint32()
  if (count * 4 > reader.remaining) throw new DecodeError('more results than bytes', start)
  const values: (Uint8Array | undefined)[] = []
  for (let index = 0; index < count; index++) {
    const length = reader.uint32()
    values.push(length === ABSENT_LENGTH ? undefined : reader.copy(length))
  }
  reader.expectEnd()
  return values
}

/** The page of a scan, its entries in buffers of their own. */
export function decodePage(bytes: Uint8Array, start: number, end: number): PageReply {
  const reader = new ByteReader(bytes, start, end)
  const flags = reader.uint8()
  const count = reader.uint32()
  const cursorLength = reader.uint16()
  const cursor = cursorLength === 0 ? undefined : reader.copy(cursorLength)
  const hasValues = (flags & PageFlag.values) !== 0
  if (count * (hasValues ? 6 : 2) > reader.remaining) {
    throw new DecodeError('more entries than bytes', start)
  }
  const keys: Uint8Array[] = []
  const values: Uint8Array[] = []
  for (let index = 0; index < count; index++) {
    keys.push(reader.copy(reader.uint16()))
    if (hasValues) values.push(reader.copy(reader.uint32()))
  }
  reader.expectEnd()
  const done = (flags & PageFlag.done) !== 0
  return { keys, values: hasValues ? values : undefined, cursor, done }
}

/** Whatever follows the known fields is for later versions, and ignored. */
export function decodeHelloReply(bytes: Uint8Array, start: number, end: number): HelloReply {
  const reader = new ByteReader(bytes, start, end)
  return {
    version: reader.uint16(),
    features: reader.uint32(),
    wallMs: reader.uint64(),
    frameSizeMax: reader.uint32(),
    valueSizeMax: reader.uint32(),
    inFlightMax: reader.uint32(),
    getManyKeysMax: reader.uint32(),
    batchOperationsMax: reader.uint32(),
    scansMax: reader.uint32(),
    idleTimeoutMs: reader.uint32(),
    nodeId: utf8Decode(reader.view(reader.uint16())),
    serverName: utf8Decode(reader.view(reader.uint16())),
    serverVersion: utf8Decode(reader.view(reader.uint16())),
    // Older servers end here.
    clusterId: reader.remaining === 0 ? '' : utf8Decode(reader.view(reader.uint16())),
  }
}

/** The server's time in the reply to a write, or undefined when it has none. */
export function decodeTimeReply(bytes: Uint8Array, start: number, end: number): number | undefined {
  if (start === end) return undefined
  const reader = new ByteReader(bytes, start, end)
  const timeMs = reader.uint64()
  reader.expectEnd()
  return timeMs
}

export function decodeCountReply(bytes: Uint8Array, start: number, end: number): number {
  const reader = new ByteReader(bytes, start, end)
  const count = reader.uint64()
  reader.expectEnd()
  return count
}

export function decodeGoaway(bytes: Uint8Array, start: number, end: number): GoawayMessage {
  const reader = new ByteReader(bytes, start, end)
  const reason = reader.uint8()
  const graceMs = reader.uint32()
  return { reason, graceMs, message: utf8Decode(reader.view(reader.remaining)) }
}
