/**
 * Frames: how messages are cut out of a stream of bytes. No sockets here, so it can be fuzzed.
 *
 *   frame := length u32 | message[length]
 *
 * All integers of the protocol are little-endian. `length` counts what follows it.
 *
 * There is no checksum: on one machine memory is as trustworthy as the rest of the process, and
 * between machines the protocol runs inside TLS, which authenticates every record. A bit reserved
 * in HELLO (Feature.frameChecksum) can add one for other links without a new version.
 *
 * Invariants:
 *  1. A length is checked before anything is allocated for it.
 *  2. What is held of the stream, and who pays for it: receive-buffer.ts.
 */
import { ProtocolError } from '../errors.ts'
import { type ReceiveBudget, ReceiveBuffer } from './receive-buffer.ts'

/** Bytes of the length in front of every message. */
export const FRAME_LENGTH_SIZE = 4
/** No message is shorter: a reply's header, which is the shorter of the two headers. */
export const MESSAGE_SIZE_MIN = 8
/** Of a skipped frame only this much is kept: a request's header, to know whom to answer. */
const SKIPPED_SIZE = 32
const NOTHING = new Uint8Array(0)

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  )
}

export function readUint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

/**
 * Cuts chunks into messages: `push` a chunk, then call `next` until it says false. The message is
 * bytes[start, end), borrowed until the next call.
 */
export class FrameDecoder {
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0
  /** True when the budget refused the frame: only the first bytes of the message are there. */
  skipped = false
  /** Longer messages are refused. May be raised between frames. */
  frameSizeMax: number

  readonly #input: ReceiveBuffer
  /** Bytes of the whole frame, or 0 while its length prefix is incomplete. */
  #frameSize = 0
  #skipping = false
  /** Bytes of the frame in the making that were not kept. */
  #skippedSize = 0

  constructor(frameSizeMax: number, budget?: ReceiveBudget) {
    this.frameSizeMax = frameSizeMax
    this.#input = new ReceiveBuffer(budget)
  }

  /** True while a frame has begun and not ended. */
  get incomplete(): boolean {
    return this.#input.incomplete
  }

  /** Bytes of the frame that has begun and not ended, once its length is known; else 0. */
  get frameSize(): number {
    return this.#frameSize
  }

  /** Bytes pushed and not looked at yet. */
  get pending(): number {
    return this.#input.pending
  }

  /**
   * Adds chunk[0, size), borrowed until `next` has returned false, or until `keep`. Requires that
   * the chunk before was used up.
   */
  push(chunk: Uint8Array, size = chunk.length): void {
    this.#input.push(chunk, size)
  }

  /** See ReceiveBuffer. */
  keep(): boolean {
    return this.#input.keep()
  }

  /** Moves to the next message. Throws ProtocolError for a length that cannot be. */
  next(): boolean {
    const input = this.#input
    if (input.handedOut) this.#finishGathered()
    if (input.length > 0) return this.#gather()
    const { at, chunk, pending } = input
    if (pending < FRAME_LENGTH_SIZE) return this.#gather()
    const frameSize = this.#checkedFrameSize(readUint32(chunk, at))
    if (pending < frameSize) return this.#gather()
    this.bytes = chunk
    this.start = at + FRAME_LENGTH_SIZE
    this.end = input.at = at + frameSize
    this.skipped = false
    return true
  }

  /**
   * The message at hand from `start` on, in memory that nobody else uses: that of a long frame that
   * was gathered, or a copy.
   */
  takeMessage(start: number): Uint8Array {
    if (!this.#input.isDisposable) return this.bytes.slice(start, this.end)
    const message = this.bytes.subarray(start, this.end)
    this.#input.drop()
    this.#finishGathered()
    return message
  }

  /** Gives back what is charged to the budget. The decoder is not used after it. */
  dispose(): void {
    this.bytes = NOTHING
    this.#input.dispose()
    this.#finishGathered()
  }

  #checkedFrameSize(length: number): number {
    if (length < MESSAGE_SIZE_MIN || length > this.frameSizeMax) {
      throw new ProtocolError(
        `a frame of ${length} bytes is outside ${MESSAGE_SIZE_MIN} to ${this.frameSizeMax}`,
      )
    }
    return FRAME_LENGTH_SIZE + length
  }

  /** Moves what the chunk has of the frame in the making; true when that completes it. */
  #gather(): boolean {
    const input = this.#input
    if (this.#frameSize === 0) {
      this.#take(FRAME_LENGTH_SIZE - input.length)
      if (input.length < FRAME_LENGTH_SIZE) return input.endOfChunk()
      this.#frameSize = this.#checkedFrameSize(readUint32(input.gathered, 0))
    }
    this.#take(this.#frameSize - input.length - this.#skippedSize)
    if (input.length + this.#skippedSize < this.#frameSize) return input.endOfChunk()
    this.bytes = input.gathered
    this.start = FRAME_LENGTH_SIZE
    this.end = input.length
    this.skipped = this.#skipping
    input.handedOut = true
    return true
  }

  /** Takes up to `wanted` bytes from the chunk. */
  #take(wanted: number): void {
    const input = this.#input
    const size = Math.min(wanted, input.pending)
    if (size === 0) return
    const sizeMax = Math.max(this.#frameSize, FRAME_LENGTH_SIZE)
    if (!this.#skipping && input.gather(size, sizeMax)) return
    if (!this.#skipping) this.#startSkipping()
    const kept = Math.min(size, SKIPPED_SIZE - input.length)
    if (kept > 0) input.gather(kept, SKIPPED_SIZE)
    input.at += size - kept
    this.#skippedSize += size - kept
  }

  /** Goes on without the bytes of the frame, but for the first few. */
  #startSkipping(): void {
    this.#skippedSize = Math.max(0, this.#input.length - SKIPPED_SIZE)
    this.#input.cut(SKIPPED_SIZE)
    this.#skipping = true
  }

  #finishGathered(): void {
    this.#input.finish()
    this.#frameSize = 0
    this.#skippedSize = 0
    this.#skipping = false
  }
}
