/**
 * Builds the frame of one group commit: operations go straight into their on-disk form in a buffer
 * that is reused, and the write queue then inserts them into the memtable from there, without
 * decoding them again.
 *
 * Invariants:
 *  1. The frame starts at byte 0 of `bytes` with room for its header, which finish() fills in.
 *  2. There is always room for the sum and the padding behind the payload.
 *  3. `bytes` may be replaced by a longer buffer by any add; nothing else replaces it.
 *  4. An op is a batch of its own unless beginBatch() announced more.
 */
import { assert } from '../assert.ts'
import { varintSize, writeUint64, writeVarint } from '../bytes.ts'
import type { Hasher } from '../hash.ts'
import { EntryKind, EXPIRY_SIZE } from './internal-key.ts'
import { copyInSlices, sumInSlices, uninitialized } from './slices.ts'
import {
  WAL_FRAME_ALIGNMENT,
  WAL_FRAME_HEADER_SIZE,
  WAL_FRAME_SUM_SIZE,
  WAL_MORE_FLAG,
  WAL_PAYLOAD_SIZE_MAX,
  WalFrameFlag,
  walFrameSize,
  writeWalFrameHeader,
} from './wal-format.ts'

const CAPACITY_MIN = 4096
const INDEX_CAPACITY_MIN = 64
/** Room behind the payload. */
const TRAILER_SIZE_MAX = WAL_FRAME_SUM_SIZE + WAL_FRAME_ALIGNMENT
/** Up to this many bytes a loop beats Uint8Array.set, which costs about 40 ns to begin. */
const LOOP_SIZE_MAX = 64
/** Words of the index for one op: kind, keyStart, keyEnd, valueEnd. */
const INDEX_STRIDE = 4

const EMPTY = new Uint8Array(0)

/** What only the writer knows of a frame. */
export interface WalFramePlace {
  readonly firstSequence: number
  /** Bytes of the segment known to be durable before this frame is issued. */
  readonly syncedUpTo: number
  /** The chain value after the frame before. */
  readonly previousChain: number
  /** placeSeed of the frame. */
  readonly seed: number
}

export class WalFrameBuilder {
  readonly #hasher: Hasher
  #bytes = new Uint8Array(CAPACITY_MIN)
  #view = new DataView(this.#bytes.buffer)
  #size = WAL_FRAME_HEADER_SIZE
  #opCount = 0
  #entryCount = 0
  #rangeCount = 0
  /** Ops that the batch at hand still lacks. */
  #batchLeft = 0
  /** INDEX_STRIDE words an op. */
  #index = new Int32Array(INDEX_CAPACITY_MIN * INDEX_STRIDE)
  #chain = 0

  constructor(hasher: Hasher) {
    this.#hasher = hasher
  }

  /** The frame, from byte 0 on. Borrowed until the next add. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Bytes of header and ops so far. */
  get size(): number {
    return this.#size
  }

  get opCount(): number {
    return this.#opCount
  }

  /** Ops that take a sequence: all but logData. */
  get entryCount(): number {
    return this.#entryCount
  }

  /** Ops that delete a range. */
  get rangeCount(): number {
    return this.#rangeCount
  }

  /** The chain value after this frame. Requires finish(). */
  get chain(): number {
    return this.#chain
  }

  /** Empties the frame and keeps the buffer. */
  begin(): void {
    this.#size = WAL_FRAME_HEADER_SIZE
    this.#opCount = 0
    this.#entryCount = 0
    this.#rangeCount = 0
    this.#batchLeft = 0
  }

  /** Makes room for so many more bytes at once, so that adding them moves nothing. */
  reserve(size: number): void {
    const needed = this.#size + size + TRAILER_SIZE_MAX
    if (needed > this.#bytes.length) this.#grow(needed)
  }

  /** The next `opCount` ops are one batch. A logData among them must be the first. */
  beginBatch(opCount: number): void {
    assert(this.#batchLeft === 0, 'the batch before is complete')
    this.#batchLeft = opCount
  }

  addPut(key: Uint8Array, value: Uint8Array): void {
    const at = this.#addKey(EntryKind.put, key, value.length)
    copy(value, this.#bytes, at)
  }

  /** `expiryMs` is in milliseconds since the Unix epoch. */
  addPutExpiring(key: Uint8Array, value: Uint8Array, expiryMs: number): void {
    const at = this.#addKey(EntryKind.putExpiring, key, EXPIRY_SIZE + value.length)
    writeUint64(this.#view, at, expiryMs)
    copy(value, this.#bytes, at + EXPIRY_SIZE)
  }

  /**
   * addPut or, with an expiry other than 0, addPutExpiring, with turns of the event loop: for large
   * values. Nothing else may be added until it resolves; reserve() comes before.
   */
  async addPutInSlices(key: Uint8Array, value: Uint8Array, expiryMs: number): Promise<void> {
    const { length } = value
    let at: number
    if (expiryMs === 0) at = this.#addKey(EntryKind.put, key, length)
    else {
      at = this.#addKey(EntryKind.putExpiring, key, EXPIRY_SIZE + length)
      writeUint64(this.#view, at, expiryMs)
      at += EXPIRY_SIZE
    }
    await copyInSlices(value, 0, length, this.#bytes, at)
  }

  addDelete(key: Uint8Array): void {
    this.#addKey(EntryKind.delete, key, 0)
  }

  /** Deletes the keys from `start` on and below `end`, all that follow when `end` is empty. */
  addDeleteRange(start: Uint8Array, end: Uint8Array): void {
    const at = this.#addKey(EntryKind.deleteRange, start, end.length)
    copy(end, this.#bytes, at)
    this.#rangeCount++
  }

  /**
   * An opaque blob that lives only in the log and is handed back by recovery. The first op of a
   * batch that has more.
   */
  addLogData(data: Uint8Array): void {
    const at = this.#addKey(EntryKind.logData, EMPTY, data.length)
    copy(data, this.#bytes, at)
  }

  /** EntryKind of op `op`, counted from 0. */
  kind(op: number): number {
    return this.#index[op * INDEX_STRIDE]!
  }

  /** Where the key of op `op` starts in `bytes`. */
  keyStart(op: number): number {
    return this.#index[op * INDEX_STRIDE + 1]!
  }

  /** Where its key ends, and its value starts. */
  keyEnd(op: number): number {
    return this.#index[op * INDEX_STRIDE + 2]!
  }

  valueEnd(op: number): number {
    return this.#index[op * INDEX_STRIDE + 3]!
  }

  /** Writes everything but the value, and returns where that goes. */
  #addKey(kind: EntryKind, key: Uint8Array, valueLength: number): number {
    const keyLength = key.length
    const overhead = 1 + varintSize(keyLength) + varintSize(valueLength)
    const end = this.#size + overhead + keyLength + valueLength
    if (end + TRAILER_SIZE_MAX > this.#bytes.length) this.#grow(end + TRAILER_SIZE_MAX)
    const bytes = this.#bytes
    let at = this.#size
    bytes[at++] = this.#batchLeft > 1 ? kind | WAL_MORE_FLAG : kind
    if (this.#batchLeft > 0) this.#batchLeft--
    if (keyLength < 0x80) bytes[at++] = keyLength
    else at = writeVarint(bytes, at, keyLength)
    if (valueLength < 0x80) bytes[at++] = valueLength
    else at = writeVarint(bytes, at, valueLength)
    copy(key, bytes, at)
    this.#size = end

    const slot = this.#opCount * INDEX_STRIDE
    if (slot === this.#index.length) this.#growIndex()
    const index = this.#index
    index[slot] = kind
    index[slot + 1] = at
    index[slot + 2] = at + keyLength
    index[slot + 3] = end
    this.#opCount++
    if (kind !== EntryKind.logData) this.#entryCount++
    return at + keyLength
  }

  /** Fills in header and sums and returns the bytes of the whole frame. Adding more restarts it. */
  finish(place: WalFramePlace): number {
    const headerSum = this.#finishHeader(place)
    const sum = this.#hasher.hash32(this.#bytes, WAL_FRAME_HEADER_SIZE, this.#size, headerSum)
    return this.#finishPayload(sum)
  }

  /** finish() with turns of the event loop, for frames that take long to sum up. */
  async finishInSlices(place: WalFramePlace): Promise<number> {
    const seed = this.#finishHeader(place)
    const end = this.#size
    return this.#finishPayload(
      await sumInSlices(this.#hasher, this.#bytes, WAL_FRAME_HEADER_SIZE, end, seed),
    )
  }

  /** Returns the seed of the payload's sum. */
  #finishHeader(place: WalFramePlace): number {
    assert(this.#opCount > 0, 'a frame holds at least one op')
    assert(this.#batchLeft === 0, 'the last batch is complete')
    const payloadLength = this.#size - WAL_FRAME_HEADER_SIZE
    assert(payloadLength <= WAL_PAYLOAD_SIZE_MAX, 'batches are limited where they come in')
    const header = {
      payloadLength,
      flags: this.#rangeCount > 0 ? WalFrameFlag.deletesRanges : 0,
      opCount: this.#opCount,
      firstSequence: place.firstSequence,
      syncedUpTo: place.syncedUpTo,
      previousChain: place.previousChain,
    }
    return writeWalFrameHeader(this.#bytes, this.#view, 0, header, place.seed)
  }

  /** Returns the bytes of the frame. */
  #finishPayload(sum: number): number {
    this.#chain = sum
    this.#view.setUint32(this.#size, sum, true)
    const frameSize = walFrameSize(this.#size - WAL_FRAME_HEADER_SIZE)
    const bytes = this.#bytes
    for (let at = this.#size + WAL_FRAME_SUM_SIZE; at < frameSize; at++) bytes[at] = 0
    return frameSize
  }

  #grow(needed: number): void {
    assert(needed < 2 ** 31, 'batches are limited where they come in')
    const grown = uninitialized(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#size))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }

  #growIndex(): void {
    const grown = new Int32Array(this.#index.length * 2)
    grown.set(this.#index)
    this.#index = grown
  }
}

function copy(source: Uint8Array, target: Uint8Array, offset: number): void {
  const { length } = source
  if (length > LOOP_SIZE_MAX) {
    target.set(source, offset)
    return
  }
  for (let index = 0; index < length; index++) target[offset + index] = source[index]!
}
