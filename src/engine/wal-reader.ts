/**
 * Reads the frames of one WAL segment front to back, in pieces, and says of each whether it is
 * whole. What damage means is for wal-replay.ts to judge; see wal-format.ts for the format.
 *
 *   for (let state = reader.next(); ; state = reader.next()) {
 *     if (state === 'more') await reader.fill()
 *     else if (state !== 'frame') break
 *     else while (!reader.visitOps(visitor)) await visitor.resume?.()
 *   }
 *
 * Invariants:
 *  1. Nothing of a frame is delivered before its sums were checked.
 *  2. No memory is taken for a length that a valid sum and the size of the file do not vouch for.
 *  3. A read that ends before the size of the file is an error, never the end of the log.
 *  4. What is large is summed up in turns of the event loop, by fill().
 *  5. Zeros from a frame's place to the end of the file are the end: the writer puts them there.
 */
import { compareRanges } from '../bytes.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { placeSeed } from './file-seed.ts'
import type { File } from './file-system.ts'
import { ENTRY_KIND_MAX, EntryKind, EXPIRY_SIZE } from './internal-key.ts'
import { shortRead } from './short-read.ts'
import { LARGE_SIZE_MIN, sumInSlices, uninitialized } from './slices.ts'
import {
  DecodedWalFrameHeader,
  WAL_FRAME_ALIGNMENT,
  WAL_FRAME_FLAGS_KNOWN,
  WAL_FRAME_HEADER_SIZE,
  WAL_FRAME_SUM_SIZE,
  WAL_HEADER_SIZE,
  WAL_MORE_FLAG,
  WalFrameFlag,
  WalFrameType,
  walFrameSize,
} from './wal-format.ts'

/** Bytes read at once. */
export const WAL_PIECE_SIZE = 1024 * 1024

const NO_HEADER = 'no valid frame header'

/** Takes what recovery finds in the log, in the order in which it was written. */
export interface WalVisitor {
  /**
   * A whole frame follows: so many ops, with so many bytes of keys, values and overhead. A promise
   * is awaited before its ops are delivered: to make room for them, or to let other work run.
   */
  beginFrame?(fileNumber: number, opCount: number, payloadLength: number): Promise<void> | undefined
  /**
   * One op. The buffers are borrowed until the call returns. `logData` has an empty key and
   * carries the sequence that the next entry takes. `more` says that the next op belongs to the
   * same batch. Returns true to pause behind the op, until resume() resolves.
   */
  op(
    kind: EntryKind,
    sequence: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
    more: boolean,
  ): boolean
  /** Awaited after each pause that op() asked for. */
  resume?(): Promise<void>
}

/** Why a frame is not whole. */
export interface WalDamage {
  readonly what: string
  readonly expected?: string
  readonly actual?: string
}

/** `more`: call fill() and ask again. */
export type WalReaderState = 'frame' | 'end' | 'damaged' | 'more'

export class WalSegmentReader {
  /** The header of the frame that next() found. */
  readonly frame = new DecodedWalFrameHeader()
  readonly #file: File
  readonly #pieceSize: number
  #size: number
  readonly #segmentSeed: number
  readonly #hasher: Hasher
  /** Holds the file's bytes [base, base + filled). */
  #bytes: Uint8Array
  #view: DataView
  #base = WAL_HEADER_SIZE
  #filled = 0
  /** Where the next frame starts in the file. */
  #offset = WAL_HEADER_SIZE
  /** Of the frame at hand, what visitOps has still to deliver, and whether that begins a batch. */
  #opsLeft = 0
  #opAt = 0
  #payloadEnd = 0
  #sequence = 0
  #isBatchOpen = false
  #chain = 0
  #damage: WalDamage | undefined
  /** Everything from #offset to here is zero; 0 while that is not in question. */
  #zerosEnd = 0
  /** The payload of a large frame, as it stands in #bytes: fill() sums it up. */
  #unsummed: { readonly start: number; readonly end: number; readonly seed: number } | undefined
  /** The sum of the payload of the frame at the offset #sumOf. */
  #sum = 0
  #sumOf = -1
  /** Bytes from #offset on that the next step needs in memory. */
  #needed = WAL_FRAME_HEADER_SIZE

  /** `size` is that of the file, `segmentSeed` from fileSeed. */
  constructor(
    file: File,
    size: number,
    segmentSeed: number,
    hasher: Hasher,
    pieceSize = WAL_PIECE_SIZE,
  ) {
    this.#file = file
    this.#size = size
    this.#pieceSize = pieceSize
    this.#segmentSeed = segmentSeed
    this.#hasher = hasher
    this.#bytes = new Uint8Array(Math.max(WAL_FRAME_HEADER_SIZE, Math.min(pieceSize, size)))
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Where the frame after the last whole one starts, or should. */
  get offset(): number {
    return this.#offset
  }

  /** The chain value after the last whole frame. Requires one. */
  get chain(): number {
    return this.#chain
  }

  /** Set once next() returned 'damaged'. */
  get damage(): WalDamage | undefined {
    return this.#damage
  }

  /** The file has come to have `size` bytes: what follows 'end' may be asked for again. */
  grow(size: number): void {
    this.#size = size
    if (this.#zerosEnd > 0) this.skipTo(this.#offset)
  }

  /** Steps to the next frame. After 'damaged' it is called no more, after 'end' only to grow(). */
  next(): WalReaderState {
    const left = this.#size - this.#offset
    if (left === 0) return 'end'
    if (this.#zerosEnd > 0) return this.#zeros()
    if (!this.#has(Math.min(left, WAL_FRAME_HEADER_SIZE))) return 'more'
    const at = this.#offset - this.#base
    if (this.#bytes[at] === 0) {
      this.#zerosEnd = this.#offset
      return this.#zeros()
    }
    if (left < WAL_FRAME_HEADER_SIZE) {
      return this.#damaged({ what: 'the file ends within a frame header' })
    }
    const seed = placeSeed(this.#segmentSeed, this.#offset)
    if (!this.frame.decode(this.#bytes, this.#view, at, seed)) {
      return this.#damaged({ what: NO_HEADER })
    }
    const { payloadLength, headerSum } = this.frame
    const frameSize = walFrameSize(payloadLength)
    if (frameSize > left) {
      const expected = `${frameSize} bytes`
      return this.#damaged({ what: 'the file ends within a frame', expected, actual: `${left}` })
    }
    if (!this.#has(frameSize)) return 'more'
    const start = at + WAL_FRAME_HEADER_SIZE
    const end = start + payloadLength
    const expected = this.#view.getUint32(end, true)
    const isSummed = this.#sumOf === this.#offset
    if (payloadLength > LARGE_SIZE_MIN && !isSummed) {
      this.#unsummed = { start, end, seed: headerSum }
      return 'more'
    }
    const actual = isSummed ? this.#sum : this.#hasher.hash32(this.#bytes, start, end, headerSum)
    if (actual !== expected) {
      const what = 'the payload of a frame has another checksum'
      return this.#damaged({ what, expected: hex(expected), actual: hex(actual) })
    }
    for (let pad = end + WAL_FRAME_SUM_SIZE; pad < at + frameSize; pad++) {
      if (this.#bytes[pad] !== 0)
        return this.#damaged({ what: 'the padding of a frame is not zero' })
    }
    this.#opsLeft = this.frame.opCount
    this.#opAt = start
    this.#payloadEnd = end
    this.#sequence = this.frame.firstSequence
    this.#isBatchOpen = false
    this.#offset += frameSize
    this.#chain = expected
    return 'frame'
  }

  /** The end, unless something stands behind the zeros. */
  #zeros(): 'end' | 'more' | 'damaged' {
    const end = this.#base + this.#filled
    for (let at = this.#zerosEnd - this.#base; at < this.#filled; at++) {
      if (this.#bytes[at] !== 0) return this.#damaged({ what: NO_HEADER })
    }
    this.#zerosEnd = end
    return end < this.#size ? 'more' : 'end'
  }

  /** Reads on, or sums up a large frame that was read, so that next() can go on. */
  async fill(): Promise<void> {
    const unsummed = this.#unsummed
    if (unsummed !== undefined) {
      const { start, end, seed } = unsummed
      this.#unsummed = undefined
      this.#sum = await sumInSlices(this.#hasher, this.#bytes, start, end, seed)
      this.#sumOf = this.#offset
      return
    }
    // Of zeros none need to stay in memory.
    const base = Math.max(this.#offset, this.#zerosEnd)
    const from = base - this.#base
    const kept = this.#filled - from
    const wanted = Math.max(this.#needed, Math.min(this.#pieceSize, this.#size - base))
    if (wanted > this.#bytes.length) {
      const grown = uninitialized(wanted)
      grown.set(this.#bytes.subarray(from, this.#filled))
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    } else {
      this.#bytes.copyWithin(0, from, this.#filled)
    }
    this.#base = base
    const length = Math.min(wanted, this.#size - base) - kept
    await readFully(this.#file, this.#bytes, kept, length, base + kept)
    this.#filled = kept + length
  }

  /** Entries of the frame that visitOps has delivered so far. */
  get entryCount(): number {
    return this.#sequence - this.frame.firstSequence
  }

  /**
   * Delivers the ops of the frame that next() found, up to a pause that the visitor asks for.
   * Returns whether that were all; if not, the next call goes on.
   */
  visitOps(visitor: WalVisitor): boolean {
    const bytes = this.#bytes
    const { type, flags } = this.frame
    if (type !== WalFrameType.ops || (flags & ~WAL_FRAME_FLAGS_KNOWN) !== 0) {
      throw new VersionMismatchError(
        `${this.#file.path}: holds a frame of type ${type} with flags ${flags}, ` +
          'which only a newer version of Duramen understands',
      )
    }
    const end = this.#payloadEnd
    while (this.#opsLeft > 0) {
      const at = this.#opAt
      // The shortest op is three bytes, and the sum follows, so three can be read anyway.
      const kind = bytes[at]! & ~WAL_MORE_FLAG
      const more = bytes[at]! >= WAL_MORE_FLAG
      let keyLength = bytes[at + 1]!
      let lengthsEnd = at + 2
      if (keyLength >= 0x80) {
        keyLength = longVarint(bytes, at + 1, end)
        lengthsEnd = varintEnd(bytes, at + 1, end)
      }
      let valueLength = bytes[lengthsEnd] ?? 0x80
      let keyStart = lengthsEnd + 1
      if (valueLength >= 0x80) {
        valueLength = longVarint(bytes, lengthsEnd, end)
        keyStart = varintEnd(bytes, lengthsEnd, end)
      }
      const keyEnd = keyStart + keyLength
      const valueEnd = keyEnd + valueLength
      // Infinity, for a varint that is none, fails here too.
      if (!(valueEnd <= end) || !isValidOp(kind, keyLength, valueLength)) this.#malformed(at)
      if (kind === EntryKind.deleteRange) {
        const isAnnounced = (flags & WalFrameFlag.deletesRanges) !== 0
        if (!isAnnounced || !isRange(bytes, keyStart, keyEnd, valueEnd)) this.#malformed(at)
      }
      // Log data stands at the beginning of a batch that has more, and a frame ends with a batch.
      const isLogData = kind === EntryKind.logData
      if (isLogData && (!more || this.#isBatchOpen)) this.#malformed(at)
      if (more && this.#opsLeft === 1) this.#malformed(at)
      const sequence = this.#sequence
      if (!isLogData) this.#sequence++
      this.#isBatchOpen = more
      this.#opAt = valueEnd
      this.#opsLeft--
      const pause = visitor.op(
        kind as EntryKind,
        sequence,
        bytes,
        keyStart,
        keyEnd,
        bytes,
        keyEnd,
        valueEnd,
        more,
      )
      if (pause) return false
    }
    if (this.#opAt !== end) this.#malformed(this.#opAt)
    return true
  }

  /**
   * Searches behind the damage for a frame that promises more than `above` bytes were durable
   * before it. Returns its offset, or -1 when there is none: then no more was ever promised. With
   * -1 it finds the next frame header that is valid.
   */
  async findPromise(above: number): Promise<number> {
    const bytes = new Uint8Array(Math.max(WAL_FRAME_HEADER_SIZE, this.#bytes.length & ~7))
    const view = new DataView(bytes.buffer)
    const last = this.#size - WAL_FRAME_HEADER_SIZE
    for (let base = this.#offset + WAL_FRAME_ALIGNMENT; base <= last; ) {
      const length = Math.min(bytes.length, this.#size - base)
      await readFully(this.#file, bytes, 0, length, base)
      let at = 0
      for (; at + WAL_FRAME_HEADER_SIZE <= length; at += WAL_FRAME_ALIGNMENT) {
        const seed = placeSeed(this.#segmentSeed, base + at)
        if (this.frame.decode(bytes, view, at, seed) && this.frame.syncedUpTo > above) {
          return base + at
        }
      }
      base += at
    }
    return -1
  }

  /** Goes on at a frame that findPromise found, leaving out what is before it. */
  skipTo(offset: number): void {
    this.#offset = offset
    this.#base = offset
    this.#filled = 0
    this.#zerosEnd = 0
    this.#sumOf = -1
    this.#needed = WAL_FRAME_HEADER_SIZE
    this.#damage = undefined
  }

  #has(size: number): boolean {
    this.#needed = size
    return this.#offset + size <= this.#base + this.#filled
  }

  #damaged(damage: WalDamage): 'damaged' {
    this.#damage = damage
    return 'damaged'
  }

  /** A frame with valid sums that does not say what the format promises. */
  #malformed(at: number): never {
    throw new CorruptionError(
      { path: this.#file.path, offset: this.#base + at },
      'an op of a frame with a valid checksum is malformed',
    )
  }
}

function isValidOp(kind: number, keyLength: number, valueLength: number): boolean {
  if (kind === EntryKind.logData) return keyLength === 0
  if (kind < 1 || kind > ENTRY_KIND_MAX || keyLength === 0) return false
  if (kind === EntryKind.delete) return valueLength === 0
  return kind !== EntryKind.putExpiring || valueLength >= EXPIRY_SIZE
}

/** Whether [start, middle) and [middle, end) are the bounds of a range that holds a key. */
function isRange(bytes: Uint8Array, start: number, middle: number, end: number): boolean {
  if (end === middle) return true
  if (end - middle > KEY_SIZE_MAX) return false
  return compareRanges(bytes, start, middle, bytes, middle, end) < 0
}

/** The varint at `at`, or Infinity when it does not end before `end` or is too long. */
function longVarint(bytes: Uint8Array, at: number, end: number): number {
  let value = 0
  let scale = 1
  for (let index = at; index < end && index < at + 5; index++) {
    const byte = bytes[index]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value
    scale *= 128
  }
  return Number.POSITIVE_INFINITY
}

function varintEnd(bytes: Uint8Array, at: number, end: number): number {
  let index = at
  while (index < end && bytes[index]! >= 0x80) index++
  return index + 1
}

/** Reads exactly `length` bytes, or fails with IoError or CorruptionError. */
async function readFully(
  file: File,
  target: Uint8Array,
  targetOffset: number,
  length: number,
  position: number,
): Promise<void> {
  const count = await file.read(target, targetOffset, length, position)
  if (count === length) return
  throw shortRead(file, position, length, count, 'the file has become shorter')
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
