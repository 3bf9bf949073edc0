/**
 * Requests: what clients send. The bodies are in request-body.ts.
 *
 *   request := length u32 | opcode u8 | flags u8 | consistency u8 | durability u8 | id u32
 *            | budget u32 | version [16] when flags has it | body
 *
 * `id` is the client's choice, not 0 and not that of an unanswered request of the connection.
 * `budget` is how many milliseconds the client waits from sending; 0 leaves it to the server. A
 * relative time needs no agreement of clocks. The sixteen bytes in front of the body are aligned.
 */
import { DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import { FRAME_LENGTH_SIZE, readUint32 } from './frame.ts'
import { WRITE_VERSION_SIZE } from './limits.ts'
import {
  consistencyCode,
  consistencyOf,
  durabilityCode,
  durabilityOf,
  Opcode,
  REQUEST_FLAGS_KNOWN,
  RequestFlag,
} from './opcode.ts'
import type { OutputBuffer } from './output-buffer.ts'
import {
  type CountBody,
  decodeBatch,
  decodeCount,
  decodeGetMany,
  decodeHello,
  decodeKey,
  decodeNothing,
  decodePing,
  decodePut,
  decodeScanNext,
  decodeScanOpen,
  decodeUint32Body,
  encodeBatch,
  encodeCount,
  encodeGetMany,
  encodeHello,
  encodeScanNext,
  encodeScanOpen,
  type HelloBody,
  type ScanNextBody,
  type ScanOpenBody,
} from './request-body.ts'
import type { HandlerOperation } from './request-handler.ts'

/** Bytes of a request in front of its version or body, with the length. */
export const REQUEST_HEADER_SIZE = 16
const REQUEST_MESSAGE_SIZE_MIN = REQUEST_HEADER_SIZE - FRAME_LENGTH_SIZE

/** The fields that every request has besides its body. */
export interface RequestOptions {
  readonly budgetMs: number
  readonly consistency: Consistency | undefined
  readonly durability: Durability | undefined
  readonly version: Uint8Array | undefined
}

/** Every request there is, told apart by `type`. */
export type Request =
  | ({ readonly type: 'hello' } & HelloBody)
  | { readonly type: 'ping'; readonly payload: Uint8Array }
  | { readonly type: 'get'; readonly key: Uint8Array }
  | { readonly type: 'getEntry'; readonly key: Uint8Array }
  | { readonly type: 'getMany'; readonly keys: readonly Uint8Array[] }
  | {
      readonly type: 'put'
      readonly key: Uint8Array
      readonly value: Uint8Array
      readonly ttlMs: number
    }
  | { readonly type: 'delete'; readonly key: Uint8Array }
  | { readonly type: 'batch'; readonly operations: readonly HandlerOperation[] }
  | ({ readonly type: 'scanOpen' } & ScanOpenBody)
  | ({ readonly type: 'scanNext' } & ScanNextBody)
  | { readonly type: 'scanClose'; readonly scanId: number }
  | ({ readonly type: 'count' } & CountBody)
  | { readonly type: 'stats' }
  | { readonly type: 'cancel'; readonly requestId: number }
  | { readonly type: 'ringMap' }
  | { readonly type: 'admin'; readonly json: string }

/** The decoded header, reused from request to request. */
export class RequestHeader {
  opcode = 0
  flags = 0
  consistencyCode = 0
  durabilityCode = 0
  id = 0
  budgetMs = 0
  /** Where the version lies in the message, or -1. */
  versionStart = -1
  bodyStart = 0

  /** Reads the header of the message in bytes[start, end). Throws DecodeError. */
  decode(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < REQUEST_MESSAGE_SIZE_MIN) {
      throw new DecodeError(`a request of ${end - start} bytes has no complete header`, start)
    }
    this.opcode = bytes[start]!
    this.flags = bytes[start + 1]!
    this.consistencyCode = bytes[start + 2]!
    this.durabilityCode = bytes[start + 3]!
    this.id = readUint32(bytes, start + 4)
    if (this.id === 0) throw new DecodeError('request id 0 is reserved', start + 4)
    this.budgetMs = readUint32(bytes, start + 8)
    this.versionStart = -1
    this.bodyStart = start + REQUEST_MESSAGE_SIZE_MIN
    if (this.flags !== 0) this.#decodeFlags(start, end)
  }

  #decodeFlags(start: number, end: number): void {
    if ((this.flags & ~REQUEST_FLAGS_KNOWN) !== 0) {
      throw new DecodeError(`unknown request flags 0x${this.flags.toString(16)}`, start + 1)
    }
    if ((this.flags & RequestFlag.ttl) !== 0 && this.opcode !== Opcode.put) {
      throw new DecodeError('only PUT has a time to live', start + 1)
    }
    if ((this.flags & RequestFlag.version) === 0) return
    if (end - this.bodyStart < WRITE_VERSION_SIZE) {
      throw new DecodeError('the write version is incomplete', this.bodyStart)
    }
    this.versionStart = this.bodyStart
    this.bodyStart += WRITE_VERSION_SIZE
  }
}

/** Writes the header for a body of `bodySize` bytes and returns where the body begins. */
export function beginRequest(
  output: OutputBuffer,
  opcode: number,
  flags: number,
  id: number,
  options: RequestOptions,
  bodySize: number,
): number {
  const version = options.version
  const versionSize = version === undefined ? 0 : WRITE_VERSION_SIZE
  const size = REQUEST_HEADER_SIZE + versionSize + bodySize
  const at = output.reserve(size)
  const view = output.view
  view.setUint32(at, size - FRAME_LENGTH_SIZE, true)
  view.setUint8(at + 4, opcode)
  view.setUint8(at + 5, version === undefined ? flags : flags | RequestFlag.version)
  view.setUint8(at + 6, consistencyCode(options.consistency))
  view.setUint8(at + 7, durabilityCode(options.durability))
  view.setUint32(at + 8, id, true)
  view.setUint32(at + 12, options.budgetMs, true)
  if (version !== undefined) output.bytes.set(version, at + REQUEST_HEADER_SIZE)
  return at + REQUEST_HEADER_SIZE + versionSize
}

function encodeBytes(
  output: OutputBuffer,
  opcode: number,
  id: number,
  options: RequestOptions,
  body: Uint8Array,
): void {
  const at = beginRequest(output, opcode, 0, id, options, body.length)
  output.bytes.set(body, at)
}

function encodePut(
  output: OutputBuffer,
  id: number,
  options: RequestOptions,
  request: Request & { type: 'put' },
): void {
  const { key, value, ttlMs } = request
  const ttlSize = ttlMs === 0 ? 0 : 8
  const flags = ttlMs === 0 ? 0 : RequestFlag.ttl
  const size = ttlSize + 2 + key.length + value.length
  let at = beginRequest(output, Opcode.put, flags, id, options, size)
  if (ttlMs !== 0) {
    output.view.setUint32(at, ttlMs % 0x1_0000_0000, true)
    output.view.setUint32(at + 4, Math.floor(ttlMs / 0x1_0000_0000), true)
    at += 8
  }
  output.view.setUint16(at, key.length, true)
  output.bytes.set(key, at + 2)
  output.bytes.set(value, at + 2 + key.length)
}

function encodeNumber(
  output: OutputBuffer,
  opcode: number,
  id: number,
  options: RequestOptions,
  value: number,
): void {
  const at = beginRequest(output, opcode, 0, id, options, 4)
  output.view.setUint32(at, value, true)
}

/** Appends the frame of a request. */
export function encodeRequest(
  output: OutputBuffer,
  id: number,
  options: RequestOptions,
  request: Request,
): void {
  switch (request.type) {
    case 'get':
      encodeBytes(output, Opcode.get, id, options, request.key)
      break
    case 'put':
      encodePut(output, id, options, request)
      break
    case 'delete':
      encodeBytes(output, Opcode.delete, id, options, request.key)
      break
    case 'getEntry':
      encodeBytes(output, Opcode.getEntry, id, options, request.key)
      break
    case 'ping':
      encodeBytes(output, Opcode.ping, id, options, request.payload)
      break
    case 'scanClose':
      encodeNumber(output, Opcode.scanClose, id, options, request.scanId)
      break
    case 'cancel':
      encodeNumber(output, Opcode.cancel, id, options, request.requestId)
      break
    case 'stats':
      beginRequest(output, Opcode.stats, 0, id, options, 0)
      break
    case 'ringMap':
      beginRequest(output, Opcode.ringMap, 0, id, options, 0)
      break
    case 'admin':
      encodeBytes(output, Opcode.admin, id, options, utf8Encode(request.json))
      break
    default:
      encodeLongRequest(output, id, options, request)
  }
}

type LongRequest = Request & {
  type: 'hello' | 'getMany' | 'batch' | 'scanOpen' | 'scanNext' | 'count'
}

/** Bodies of many fields: built in a writer of their own, then copied behind the header. */
function encodeLongRequest(
  output: OutputBuffer,
  id: number,
  options: RequestOptions,
  request: LongRequest,
): void {
  switch (request.type) {
    case 'hello':
      encodeBytes(output, Opcode.hello, id, options, encodeHello(request))
      break
    case 'getMany':
      encodeBytes(output, Opcode.getMany, id, options, encodeGetMany(request.keys))
      break
    case 'batch':
      encodeBytes(output, Opcode.batch, id, options, encodeBatch(request.operations))
      break
    case 'scanOpen':
      encodeBytes(output, Opcode.scanOpen, id, options, encodeScanOpen(request))
      break
    case 'scanNext':
      encodeBytes(output, Opcode.scanNext, id, options, encodeScanNext(request))
      break
    case 'count':
      encodeBytes(output, Opcode.count, id, options, encodeCount(request))
      break
  }
}

/** What a request says, for tests and tools; the server decodes bodies one by one. */
export interface DecodedRequest {
  readonly id: number
  readonly options: RequestOptions
  readonly request: Request
}

/** Decodes the message in bytes[start, end). Throws DecodeError. Byte strings are borrowed. */
export function decodeRequest(bytes: Uint8Array, start: number, end: number): DecodedRequest {
  const header = new RequestHeader()
  header.decode(bytes, start, end)
  const versionStart = header.versionStart
  const options: RequestOptions = {
    budgetMs: header.budgetMs,
    consistency: consistencyOf(header.consistencyCode),
    durability: durabilityOf(header.durabilityCode),
    version:
      versionStart < 0
        ? undefined
        : bytes.subarray(versionStart, versionStart + WRITE_VERSION_SIZE),
  }
  return { id: header.id, options, request: decodeBody(bytes, header, end) }
}

function decodeBody(bytes: Uint8Array, header: RequestHeader, end: number): Request {
  const at = header.bodyStart
  switch (header.opcode) {
    case Opcode.hello:
      return { type: 'hello', ...decodeHello(bytes, at, end) }
    case Opcode.ping:
      return { type: 'ping', payload: decodePing(bytes, at, end) }
    case Opcode.get:
      return { type: 'get', key: decodeKey(bytes, at, end) }
    case Opcode.getEntry:
      return { type: 'getEntry', key: decodeKey(bytes, at, end) }
    case Opcode.getMany:
      return { type: 'getMany', keys: decodeGetMany(bytes, at, end, Number.POSITIVE_INFINITY) }
    case Opcode.put:
      return decodePut(bytes, at, end, (header.flags & RequestFlag.ttl) !== 0)
    case Opcode.delete:
      return { type: 'delete', key: decodeKey(bytes, at, end) }
    case Opcode.batch:
      return {
        type: 'batch',
        operations: decodeBatch(bytes, at, end, Number.POSITIVE_INFINITY),
      }
    case Opcode.scanOpen:
      return { type: 'scanOpen', ...decodeScanOpen(bytes, at, end) }
    case Opcode.scanNext:
      return { type: 'scanNext', ...decodeScanNext(bytes, at, end) }
    case Opcode.scanClose:
      return { type: 'scanClose', scanId: decodeUint32Body(bytes, at, end) }
    case Opcode.count:
      return { type: 'count', ...decodeCount(bytes, at, end) }
    case Opcode.stats:
      decodeNothing(bytes, at, end)
      return { type: 'stats' }
    case Opcode.ringMap:
      decodeNothing(bytes, at, end)
      return { type: 'ringMap' }
    case Opcode.admin:
      return { type: 'admin', json: utf8Decode(bytes.subarray(at, end)) }
    case Opcode.cancel:
      return { type: 'cancel', requestId: decodeUint32Body(bytes, at, end) }
    default:
      throw new DecodeError(`unknown opcode ${header.opcode}`, at)
  }
}
