/**
 * Frames between nodes. PROTOCOL.md has the grammar with examples.
 *
 *   frame   := length u32 | type u8 | code u8 | reserved u16 (0) | id u32 | epoch u64 | body
 *   request := budget u32 ms | body
 *
 * Integers are little-endian, as on the clients' wire. `length` counts what follows it and is
 * checked before anything is allocated (net's FrameDecoder).
 */
import { assert } from '../assert.ts'
import { DecodeError, UINT32_MAX, writeUint64 } from '../bytes.ts'
import { FRAME_LENGTH_SIZE, type OutputBuffer, readUint32 } from '../net/index.ts'

/** What a frame is. Append-only. */
export const PeerFrame = {
  hello: 1,
  proof: 2,
  /** The last frame of a link; the code is a PeerRefusal. */
  refusal: 3,
  /** The code is a kind of message; see PeerMessage. */
  request: 4,
  /** As a request, but nobody waits for an answer. */
  message: 5,
  reply: 6,
  /** The code is a status of the clients' protocol, the body its error body. */
  error: 7,
  ping: 8,
  pong: 9,
} as const

/** Bytes behind the length and in front of the body. */
const MESSAGE_HEADER_SIZE = 16
export const PEER_HEADER_SIZE = FRAME_LENGTH_SIZE + MESSAGE_HEADER_SIZE
/** In front of the body of a request and of a message. */
export const BUDGET_SIZE = 4
/** A frame during the handshake is shorter. */
export const HANDSHAKE_FRAME_SIZE_MAX = 1024

/** Writes the header for a body of `bodySize` bytes and returns where the body begins. */
export function beginPeerFrame(
  output: OutputBuffer,
  type: number,
  code: number,
  id: number,
  epoch: number,
  bodySize: number,
): number {
  const size = PEER_HEADER_SIZE + bodySize
  const at = output.reserve(size)
  const { view } = output
  view.setUint32(at, size - FRAME_LENGTH_SIZE, true)
  view.setUint32(at + 4, type | (code << 8), true)
  view.setUint32(at + 8, id, true)
  writeUint64(view, at + 12, epoch)
  return at + PEER_HEADER_SIZE
}

export function writePeerFrame(
  output: OutputBuffer,
  type: number,
  code: number,
  id: number,
  epoch: number,
  body: Uint8Array,
): void {
  const at = beginPeerFrame(output, type, code, id, epoch, body.length)
  output.bytes.set(body, at)
}

/** Writes a request, or with id 0 a message. `budgetMs` 0 says that it may take any time. */
export function writePeerRequest(
  output: OutputBuffer,
  kind: number,
  id: number,
  epoch: number,
  budgetMs: number,
  body: Uint8Array,
): void {
  assert(kind >= 1 && kind <= 0xff, 'a kind of message fits a byte')
  const type = id === 0 ? PeerFrame.message : PeerFrame.request
  const at = beginPeerFrame(output, type, kind, id, epoch, BUDGET_SIZE + body.length)
  output.view.setUint32(at, Math.min(UINT32_MAX, Math.ceil(budgetMs)), true)
  output.bytes.set(body, at + BUDGET_SIZE)
}

/** The decoded header, reused from frame to frame. */
export class PeerFrameHeader {
  type = 0
  code = 0
  id = 0
  epoch = 0
  /** Of a request or message: milliseconds, 0 for any time. */
  budgetMs = 0
  bodyStart = 0

  /** Reads the header of the message in bytes[start, end). Throws DecodeError. */
  decode(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < MESSAGE_HEADER_SIZE) {
      throw new DecodeError(`a frame of ${end - start} bytes has no complete header`, start)
    }
    this.type = bytes[start]!
    this.code = bytes[start + 1]!
    this.id = readUint32(bytes, start + 4)
    this.epoch = readEpoch(bytes, start + 8)
    this.bodyStart = start + MESSAGE_HEADER_SIZE
    if (this.type !== PeerFrame.request && this.type !== PeerFrame.message) return
    if (end - this.bodyStart < BUDGET_SIZE) throw new DecodeError('a request has no budget', start)
    this.budgetMs = readUint32(bytes, this.bodyStart)
    this.bodyStart += BUDGET_SIZE
  }
}

function readEpoch(bytes: Uint8Array, at: number): number {
  const high = readUint32(bytes, at + 4)
  if (high > 0x1f_ffff) throw new DecodeError('an epoch exceeds 2^53 - 1', at)
  return high * 0x1_0000_0000 + readUint32(bytes, at)
}
