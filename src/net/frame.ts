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
 *  2. A frame that lies in one chunk is handed out where it lies. Any other is gathered in a buffer
 *     that grows with the bytes that came, never with the bytes that were promised.
 *  3. At most one frame is in the making, and its buffer is charged to the budget; so is a copy of
 *     what could not be looked at at once.
 */
import { assert } from '../assert.ts'
import { ProtocolError } from '../errors.ts'

/** Bytes of the length in front of every message. */
export const FRAME_LENGTH_SIZE = 4
/** No message is shorter: a reply's header, which is the shorter of the two headers. */
export const MESSAGE_SIZE_MIN = 8
/** Of a skipped frame only this much is kept: a request's header, to know whom to answer. */
const SKIPPED_SIZE = 32
/**
 * The first allocation for a frame that comes in pieces, kept between frames and not charged to
 * the budget; anything larger is charged, and given back once its frame was handled.
 */
const GATHER_CAPACITY_MIN = 1024

/** Memory for frames that come in pieces, shared by all connections of a server. */
export interface ReceiveBudget {
  /** False refuses; then nothing was taken. */
  reserve(size: number): boolean
  release(size: number): void
}

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

  readonly #budget: ReceiveBudget | undefined
  /** The bytes not looked at yet are chunk[at, end). */
  #chunk: Uint8Array = NOTHING
  #at = 0
  #chunkEnd = 0
  /** Bytes charged to the budget for a chunk that is a copy of our own; 0 when it is lent. */
  #keptSize = 0
  /** The frame in the making: its length prefix and message; empty when there is none. */
  #gathered: Uint8Array = NOTHING
  #gatheredLength = 0
  /** Bytes of the whole frame, or 0 while its length prefix is incomplete. */
  #frameSize = 0
  #reserved = 0
  #skipping = false
  /** True from handing out a gathered frame until the next call. */
  #handedOut = false

  constructor(frameSizeMax: number, budget?: ReceiveBudget) {
    this.frameSizeMax = frameSizeMax
    this.#budget = budget
  }

  /** True while a frame has begun and not ended. */
  get incomplete(): boolean {
    return this.#gatheredLength > 0 && !this.#handedOut
  }

  /** Bytes pushed and not looked at yet. */
  get pending(): number {
    return this.#chunkEnd - this.#at
  }

  /**
   * Adds chunk[0, size), borrowed until `next` has returned false, or until `keep`. Requires that
   * the chunk before was used up.
   */
  push(chunk: Uint8Array, size = chunk.length): void {
    assert(this.pending === 0, 'the previous chunk was used up')
    this.#chunk = chunk
    this.#at = 0
    this.#chunkEnd = size
    this.#releaseKept()
  }

  /**
   * Copies what is left of the chunk, so that whoever lent it has it back. The message at hand is
   * given up. False when the budget does not have the memory; the decoder is useless then.
   */
  keep(): boolean {
    const size = this.pending
    if (this.#keptSize > 0 || size === 0) return true
    if (this.#budget !== undefined && !this.#budget.reserve(size)) return false
    this.#chunk = this.#chunk.slice(this.#at, this.#chunkEnd)
    this.#at = 0
    this.#chunkEnd = this.#keptSize = size
    return true
  }

  #releaseKept(): void {
    if (this.#keptSize > 0) this.#budget?.release(this.#keptSize)
    this.#keptSize = 0
  }

  /** Moves to the next message. Throws ProtocolError for a length that cannot be. */
  next(): boolean {
    if (this.#handedOut) this.#finishGathered()
    if (this.#gatheredLength > 0) return this.#gather()
    const at = this.#at
    const available = this.#chunkEnd - at
    if (available < FRAME_LENGTH_SIZE) return this.#gather()
    const frameSize = this.#checkedFrameSize(readUint32(this.#chunk, at))
    if (available < frameSize) return this.#gather()
    this.bytes = this.#chunk
    this.start = at + FRAME_LENGTH_SIZE
    this.end = this.#at = at + frameSize
    this.skipped = false
    return true
  }

  /**
   * The message at hand from `start` on, in memory that nobody else uses: that of a long frame that
   * was gathered, or a copy.
   */
  takeMessage(start: number): Uint8Array {
    if (!this.#handedOut || this.#gathered.length <= GATHER_CAPACITY_MIN) {
      return this.bytes.slice(start, this.end)
    }
    const message = this.#gathered.subarray(start, this.end)
    this.#dropGathered()
    return message
  }

  /** Gives back what is charged to the budget. The decoder is not used after it. */
  dispose(): void {
    this.bytes = NOTHING
    this.#endOfChunk()
    this.#dropGathered()
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
    if (this.#frameSize === 0) {
      this.#take(FRAME_LENGTH_SIZE - this.#gatheredLength)
      if (this.#gatheredLength < FRAME_LENGTH_SIZE) return this.#endOfChunk()
      this.#frameSize = this.#checkedFrameSize(readUint32(this.#gathered, 0))
    }
    this.#take(this.#frameSize - this.#gatheredLength)
    if (this.#gatheredLength < this.#frameSize) return this.#endOfChunk()
    this.bytes = this.#gathered
    this.start = FRAME_LENGTH_SIZE
    this.end = this.#skipping ? Math.min(this.#frameSize, SKIPPED_SIZE) : this.#frameSize
    this.skipped = this.#skipping
    this.#handedOut = true
    return true
  }

  #endOfChunk(): boolean {
    this.#chunk = NOTHING
    this.#at = this.#chunkEnd = 0
    this.#releaseKept()
    return false
  }

  /** Takes up to `wanted` bytes from the chunk. */
  #take(wanted: number): void {
    const size = Math.min(wanted, this.pending)
    if (size === 0) return
    const before = this.#gatheredLength
    if (!this.#skipping && !this.#ensureCapacity(before + size)) this.#startSkipping()
    const kept = this.#skipping ? Math.min(size, SKIPPED_SIZE - before) : size
    if (kept > 0) this.#gathered.set(this.#chunk.subarray(this.#at, this.#at + kept), before)
    this.#at += size
    this.#gatheredLength = before + size
  }

  /** Makes room for `needed` gathered bytes; false when the budget does not have them. */
  #ensureCapacity(needed: number): boolean {
    const capacity = this.#gathered.length
    if (needed <= capacity) return true
    const doubled = Math.max(needed, capacity * 2, GATHER_CAPACITY_MIN)
    const wanted = Math.max(GATHER_CAPACITY_MIN, Math.min(doubled, this.#frameSize))
    if (this.#budget !== undefined && wanted > GATHER_CAPACITY_MIN) {
      if (!this.#budget.reserve(wanted - this.#reserved)) return false
      this.#reserved = wanted
    }
    const grown = new Uint8Array(wanted)
    grown.set(this.#gathered.subarray(0, this.#gatheredLength))
    this.#gathered = grown
    return true
  }

  /** Goes on without the bytes of the frame, but for the first few. */
  #startSkipping(): void {
    const kept = new Uint8Array(GATHER_CAPACITY_MIN)
    kept.set(this.#gathered.subarray(0, Math.min(this.#gatheredLength, SKIPPED_SIZE)))
    if (this.#reserved > 0) this.#budget?.release(this.#reserved)
    this.#reserved = 0
    this.#gathered = kept
    this.#skipping = true
  }

  #finishGathered(): void {
    this.#handedOut = false
    this.#gatheredLength = 0
    this.#frameSize = 0
    this.#skipping = false
    if (this.#gathered.length > GATHER_CAPACITY_MIN) this.#dropGathered()
  }

  #dropGathered(): void {
    if (this.#reserved > 0) this.#budget?.release(this.#reserved)
    this.#reserved = 0
    this.#gathered = NOTHING
    this.#gatheredLength = 0
    this.#frameSize = 0
    this.#skipping = false
    this.#handedOut = false
  }
}
