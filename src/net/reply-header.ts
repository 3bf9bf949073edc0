/**
 * The header of everything a server says; response.ts has the grammar.
 *
 *   header := length u32 | status u8 | opcode u8 | flags u16 | id u32
 */
import { DecodeError } from '../bytes.ts'
import { FRAME_LENGTH_SIZE, readUint32 } from './frame.ts'
import type { OutputBuffer } from './output-buffer.ts'

/** Bytes of a reply in front of its body, with the length. */
export const REPLY_HEADER_SIZE = 12
const REPLY_MESSAGE_HEADER_SIZE = REPLY_HEADER_SIZE - FRAME_LENGTH_SIZE

/** Writes the header for a body of `bodySize` bytes and returns where the body begins. */
export function beginReply(
  output: OutputBuffer,
  status: number,
  opcode: number,
  id: number,
  bodySize: number,
): number {
  const size = REPLY_HEADER_SIZE + bodySize
  const at = output.reserve(size)
  const view = output.view
  view.setUint32(at, size - FRAME_LENGTH_SIZE, true)
  view.setUint32(at + 4, status | (opcode << 8), true)
  view.setUint32(at + 8, id, true)
  return at + REPLY_HEADER_SIZE
}

/** The decoded header, reused from reply to reply. */
export class ReplyHeader {
  status = 0
  opcode = 0
  id = 0
  bodyStart = 0

  /** Reads the header of the message in bytes[start, end). Throws DecodeError. */
  decode(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < REPLY_MESSAGE_HEADER_SIZE) {
      throw new DecodeError(`a reply of ${end - start} bytes has no complete header`, start)
    }
    this.status = bytes[start]!
    this.opcode = bytes[start + 1]!
    this.id = readUint32(bytes, start + 4)
    this.bodyStart = start + REPLY_MESSAGE_HEADER_SIZE
  }
}
