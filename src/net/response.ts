/**
 * Replies, and what the server says unasked. The bodies of HELLO, pages and errors are below.
 *
 *   reply := length u32 | status u8 | opcode u8 | flags u16 | id u32 | body
 *
 * `opcode` and `id` repeat the request's; id 0 is for what no request asked for (GOAWAY, and errors
 * that concern the whole connection). `flags` is 0 in this version; clients ignore unknown bits.
 *
 *   status ok, by opcode:
 *     HELLO      := version u16 | features u32 | wall u64 | frameSizeMax u32 | valueSizeMax u32
 *                 | inFlightMax u32 | getManyKeysMax u32 | batchOperationsMax u32 | scansMax u32
 *                 | idleTimeoutMs u32 | node id | server name | server version | anything
 *                   (strings := length u16 | UTF-8)
 *     PING       := the request's body
 *     GET        := value                               (status absent: no body)
 *     GET_ENTRY  := expiry u64 | versionLength u8 | version | value   (status absent: no body)
 *     GET_MANY   := count u32 | (length u32 | value) * count     (length 2^32 - 1: absent)
 *     PUT, DELETE, BATCH := nothing | wall u64       (the latter with feature serverTime only)
 *     SCAN_CLOSE, CANCEL := nothing
 *     SCAN_OPEN, SCAN_NEXT := page
 *     page       := flags u8 | count u32 | cursorLength u16 | cursor | entry * count
 *     entry      := keyLength u16 | key | (valueLength u32 | value) when flags has values
 *     COUNT      := count u64
 *     STATS      := a JSON object in UTF-8
 *     RING_MAP   := the ring, as the cluster's PROTOCOL.md describes it
 *     GOAWAY     := reason u8 | grace u32 ms | message (UTF-8)
 *   any error status := outcome u8 | retryAfter u32 ms | messageLength u16 | message | detail
 *
 * Page flags: 1 the scan is done and closed, 2 entries have values.
 */
import { copyBytes, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import { Opcode, STATUS_ERROR_MIN, Status } from './opcode.ts'
import type { OutputBuffer } from './output-buffer.ts'
import { ReplyHeader } from './reply-header.ts'
import {
  decodeCountReply,
  decodeEntryReply,
  decodeGoaway,
  decodeHelloReply,
  decodePage,
  decodeTimeReply,
  decodeValues,
  type EntryReply,
  encodeBytesReply,
  encodeCountReply,
  encodeDoneReply,
  encodeEntryReply,
  encodeErrorReply,
  encodeGoaway,
  encodeHelloReply,
  encodePageReply,
  encodeTimeReply,
  encodeValueReply,
  encodeValuesReply,
  type GoawayMessage,
  type HelloReply,
  type PageReply,
} from './response-body.ts'
import { decodeErrorBody, type ErrorBody } from './status-error.ts'

/** Everything a server can say, told apart by `type`. */
export type Response =
  | ({ readonly type: 'hello' } & HelloReply)
  | { readonly type: 'pong'; readonly payload: Uint8Array }
  | { readonly type: 'value'; readonly value: Uint8Array }
  | ({ readonly type: 'entry' } & EntryReply)
  | { readonly type: 'absent' }
  | { readonly type: 'values'; readonly values: readonly (Uint8Array | undefined)[] }
  | { readonly type: 'done'; readonly wallMs?: number }
  | ({ readonly type: 'page' } & PageReply)
  | { readonly type: 'count'; readonly count: number }
  | { readonly type: 'stats'; readonly json: string }
  | { readonly type: 'ring'; readonly ring: Uint8Array }
  | { readonly type: 'admin'; readonly json: string }
  | ({ readonly type: 'goaway' } & GoawayMessage)
  | ({ readonly type: 'error'; readonly status: number } & ErrorBody)

/** Appends the frame of any response. `opcode` says which request a `done` or `page` answers. */
export function encodeResponse(
  output: OutputBuffer,
  opcode: number,
  id: number,
  response: Response,
): void {
  switch (response.type) {
    case 'hello':
      encodeHelloReply(output, id, response)
      break
    case 'pong':
      encodeBytesReply(output, Opcode.ping, id, response.payload)
      break
    case 'value':
      encodeValueReply(output, id, response.value)
      break
    case 'entry':
      encodeEntryReply(output, id, response)
      break
    case 'absent':
      if (opcode === Opcode.getEntry) encodeEntryReply(output, id, undefined)
      else encodeValueReply(output, id, undefined)
      break
    case 'values':
      encodeValuesReply(output, id, response.values, Number.POSITIVE_INFINITY)
      break
    case 'done':
      if (response.wallMs === undefined) encodeDoneReply(output, opcode, id)
      else encodeTimeReply(output, opcode, id, response.wallMs)
      break
    case 'page':
      encodePageReply(output, opcode, id, response)
      break
    case 'count':
      encodeCountReply(output, id, response.count)
      break
    case 'stats':
      encodeBytesReply(output, Opcode.stats, id, utf8Encode(response.json))
      break
    case 'ring':
      encodeBytesReply(output, Opcode.ringMap, id, response.ring)
      break
    case 'admin':
      encodeBytesReply(output, Opcode.admin, id, utf8Encode(response.json))
      break
    case 'goaway':
      encodeGoaway(output, response)
      break
    case 'error':
      encodeErrorReply(output, response.status, opcode, id, response)
      break
  }
}

/** Decodes the message in bytes[start, end). Throws DecodeError. */
export function decodeResponse(
  bytes: Uint8Array,
  start: number,
  end: number,
): { readonly opcode: number; readonly id: number; readonly response: Response } {
  const header = new ReplyHeader()
  header.decode(bytes, start, end)
  const { opcode, id } = header
  return { opcode, id, response: decodeBody(bytes, header, end) }
}

const MAY_BE_ABSENT: ReadonlySet<number> = new Set([Opcode.get, Opcode.getEntry])

function decodeBody(bytes: Uint8Array, header: ReplyHeader, end: number): Response {
  const { status, opcode, bodyStart: at } = header
  if (status >= STATUS_ERROR_MIN) {
    return { type: 'error', status, ...decodeErrorBody(bytes, at, end) }
  }
  if (status === Status.absent && MAY_BE_ABSENT.has(opcode) && at === end) {
    return { type: 'absent' }
  }
  if (status !== Status.ok) throw new DecodeError(`unknown status ${status}`, at)
  switch (opcode) {
    case Opcode.hello:
      return { type: 'hello', ...decodeHelloReply(bytes, at, end) }
    case Opcode.ping:
      return { type: 'pong', payload: copyBytes(bytes, at, end) }
    case Opcode.get:
      return { type: 'value', value: copyBytes(bytes, at, end) }
    case Opcode.getEntry:
      return { type: 'entry', ...decodeEntryReply(bytes, at, end) }
    case Opcode.getMany:
      return { type: 'values', values: decodeValues(bytes, at, end) }
    case Opcode.scanOpen:
    case Opcode.scanNext:
      return { type: 'page', ...decodePage(bytes, at, end) }
    case Opcode.count:
      return { type: 'count', count: decodeCountReply(bytes, at, end) }
    case Opcode.stats:
      return { type: 'stats', json: utf8Decode(bytes.subarray(at, end)) }
    case Opcode.ringMap:
      return { type: 'ring', ring: copyBytes(bytes, at, end) }
    case Opcode.admin:
      return { type: 'admin', json: utf8Decode(bytes.subarray(at, end)) }
    case Opcode.goaway:
      return { type: 'goaway', ...decodeGoaway(bytes, at, end) }
    case Opcode.put:
    case Opcode.delete:
    case Opcode.batch: {
      const wallMs = decodeTimeReply(bytes, at, end)
      return wallMs === undefined ? { type: 'done' } : { type: 'done', wallMs }
    }
    case Opcode.scanClose:
    case Opcode.cancel:
      if (at !== end) throw new DecodeError(`${end - at} bytes too many`, at)
      return { type: 'done' }
    default:
      throw new DecodeError(`unknown opcode ${opcode} in a reply`, at)
  }
}
