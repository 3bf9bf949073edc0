/**
 * Write-ahead log format, shared by wal-frame.ts, wal-writer.ts and wal-reader.ts. The full
 * specification with worked bytes is FORMAT.md, section "WAL".
 *
 *   segment := header frame*                     file `<number>.wal`, one per memtable
 *   header  := magic u32 | version u16 | readerVersion u16 | fileNumber u64 | databaseId [16]
 *              | firstSequence u64 | previousNumber u64 | previousLength u64 | previousChain u32
 *              | headerSum u32
 *   frame   := magic u32 | payloadLength u32 | type u16 | flags u16 | opCount u32
 *              | firstSequence u64 | syncedUpTo u64 | previousChain u32 | headerSum u32
 *              | payload | payloadSum u32 | zeros to a multiple of 8
 *   payload := op*
 *   op      := kind and more u8 | keyLength varint | valueLength varint | key | value
 *
 * All integers are little-endian. Frames start at multiples of 8.
 *
 * Invariants:
 *  1. A frame is one group commit: after a crash all of its ops are there or none.
 *  2. `syncedUpTo` promises that everything below it was durable before the frame was issued, so
 *     damage below it is corruption and never a torn tail.
 *  3. Sums chain: headerSum is seeded with its place (file-seed.ts), payloadSum with
 *     headerSum, and the next frame carries payloadSum as its previousChain, through to the first
 *     frame of the next segment. Bytes that stand in the wrong place fail, and a hole is noticed.
 *  4. Every op but logData takes the next sequence, from the frame's firstSequence on.
 *  5. `more` is set in every op of a batch but its last, so a reader knows which ops were written
 *     together. A batch has entries, and at most one logData, in front of them.
 *  6. A frame with an op that deletes a range says so in its flags, so that a build that knows no
 *     such op refuses it.
 */
import { assert } from '../assert.ts'
import { copyBytes, readUint64, writeUint64 } from '../bytes.ts'
import { xxh32 } from '../hash.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import { foldNumber } from './file-seed.ts'

/** The bytes `DWAL`. */
export const WAL_MAGIC = 0x4c41_5744
/** The bytes `DFRM`; never 0, so zeroed disk space is never a frame. */
export const WAL_FRAME_MAGIC = 0x4d52_4644
/** Of what this build writes, and of what a reader must understand at least to read that. */
export const WAL_VERSION = 1
const WAL_READER_VERSION = 1

export const WAL_HEADER_SIZE = 64
const HEADER_SUM_OFFSET = 60

export const WAL_FRAME_HEADER_SIZE = 40
export const WAL_FRAME_SUM_SIZE = 4
export const WAL_FRAME_ALIGNMENT = 8
/** Far above what BATCH_SIZE_MAX bytes of keys and values can become. */
export const WAL_PAYLOAD_SIZE_MAX = 2 ** 30
const FRAME_HEADER_SUM_OFFSET = 36

/** Added to the kind of an op that is not the last of its batch. */
export const WAL_MORE_FLAG = 0x80

/** Part of the on-disk format. Append only; never renumber. 0 is never valid. */
export const WalFrameType = { ops: 1 } as const
export type WalFrameType = (typeof WalFrameType)[keyof typeof WalFrameType]

/** Bits of a frame's flags, part of the on-disk format. A reader refuses those it does not know. */
export const WalFrameFlag = { deletesRanges: 1 } as const
export const WAL_FRAME_FLAGS_KNOWN = WalFrameFlag.deletesRanges

/** A place between two frames: where a segment ends, and the chain value there. */
export interface WalPosition {
  readonly fileNumber: number
  /** Bytes from the start of the segment. */
  readonly length: number
  readonly chain: number
}

export interface WalHeader {
  readonly fileNumber: number
  readonly databaseId: Uint8Array
  /** No entry of the segment has a smaller sequence. */
  readonly firstSequence: number
  /**
   * Of the segment before, what was durable when this header was written. File number 0 for no
   * such segment; length 0 when nothing is promised of it, and then the chain starts anew, at 0.
   */
  readonly previous: WalPosition
}

/** The 64 bytes of a header. Another reader version than ours is for tests. */
export function encodeWalHeader(header: WalHeader, readerVersion = WAL_READER_VERSION): Uint8Array {
  const { fileNumber, databaseId, firstSequence, previous } = header
  assert(databaseId.length === DATABASE_ID_SIZE, 'a database id has 16 bytes')
  assert(previous.fileNumber < fileNumber, 'segments are numbered upward')
  const bytes = new Uint8Array(WAL_HEADER_SIZE)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, WAL_MAGIC, true)
  view.setUint16(4, WAL_VERSION, true)
  view.setUint16(6, readerVersion, true)
  writeUint64(view, 8, fileNumber)
  bytes.set(databaseId, 16)
  writeUint64(view, 32, firstSequence)
  writeUint64(view, 40, previous.fileNumber)
  writeUint64(view, 48, previous.length)
  view.setUint32(56, previous.chain, true)
  view.setUint32(HEADER_SUM_OFFSET, walHeaderSum(bytes, fileNumber), true)
  return bytes
}

/** What stands in the first bytes of a segment, not yet judged. */
export interface DecodedWalHeader extends WalHeader {
  /** The version that a reader must understand at least. */
  readonly readerVersion: number
}

/**
 * The header in `bytes`, or undefined when they are not the whole header of the segment with this
 * number: torn, damaged, or another segment's.
 */
export function decodeWalHeader(
  bytes: Uint8Array,
  fileNumber: number,
): DecodedWalHeader | undefined {
  if (bytes.length < WAL_HEADER_SIZE) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== WAL_MAGIC) return undefined
  if (view.getUint32(HEADER_SUM_OFFSET, true) !== walHeaderSum(bytes, fileNumber)) return undefined
  const firstSequence = readUint64(view, 32)
  const previousNumber = readUint64(view, 40)
  const previousLength = readUint64(view, 48)
  if (readUint64(view, 8) !== fileNumber || firstSequence < 0) return undefined
  if (previousNumber < 0 || previousNumber >= fileNumber || previousLength < 0) return undefined
  const chain = view.getUint32(56, true)
  return {
    readerVersion: view.getUint16(6, true),
    fileNumber,
    databaseId: copyBytes(bytes, 16, 16 + DATABASE_ID_SIZE),
    firstSequence,
    previous: { fileNumber: previousNumber, length: previousLength, chain },
  }
}

function walHeaderSum(bytes: Uint8Array, fileNumber: number): number {
  return xxh32(bytes, 0, HEADER_SUM_OFFSET, foldNumber(fileNumber))
}

/** Bytes of a whole frame around a payload of `payloadLength` bytes. */
export function walFrameSize(payloadLength: number): number {
  const end = WAL_FRAME_HEADER_SIZE + payloadLength + WAL_FRAME_SUM_SIZE
  return Math.ceil(end / WAL_FRAME_ALIGNMENT) * WAL_FRAME_ALIGNMENT
}

export interface WalFrameHeader {
  readonly payloadLength: number
  /** Bits of WalFrameFlag. */
  readonly flags: number
  readonly opCount: number
  readonly firstSequence: number
  readonly syncedUpTo: number
  readonly previousChain: number
}

/** Writes the header of an ops frame and returns its headerSum, the seed of the payloadSum. */
export function writeWalFrameHeader(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  header: WalFrameHeader,
  seed: number,
): number {
  view.setUint32(offset, WAL_FRAME_MAGIC, true)
  view.setUint32(offset + 4, header.payloadLength, true)
  view.setUint16(offset + 8, WalFrameType.ops, true)
  view.setUint16(offset + 10, header.flags, true)
  view.setUint32(offset + 12, header.opCount, true)
  writeUint64(view, offset + 16, header.firstSequence)
  writeUint64(view, offset + 24, header.syncedUpTo)
  view.setUint32(offset + 32, header.previousChain, true)
  const sum = xxh32(bytes, offset, offset + FRAME_HEADER_SUM_OFFSET, seed)
  view.setUint32(offset + FRAME_HEADER_SUM_OFFSET, sum, true)
  return sum
}

/** A frame header as it stands in the file. Readers keep one and decode into it. */
export class DecodedWalFrameHeader implements WalFrameHeader {
  payloadLength = 0
  type = 0
  flags = 0
  opCount = 0
  firstSequence = 0
  syncedUpTo = 0
  previousChain = 0
  headerSum = 0

  /**
   * Decodes the header at `offset`, of which all bytes must be there. False when it is none: then
   * the fields mean nothing. Its sum covers every field, so none needs a check of its own.
   */
  decode(bytes: Uint8Array, view: DataView, offset: number, seed: number): boolean {
    if (view.getUint32(offset, true) !== WAL_FRAME_MAGIC) return false
    this.headerSum = view.getUint32(offset + FRAME_HEADER_SUM_OFFSET, true)
    if (this.headerSum !== xxh32(bytes, offset, offset + FRAME_HEADER_SUM_OFFSET, seed)) {
      return false
    }
    this.payloadLength = view.getUint32(offset + 4, true)
    this.type = view.getUint16(offset + 8, true)
    this.flags = view.getUint16(offset + 10, true)
    this.opCount = view.getUint32(offset + 12, true)
    this.firstSequence = readUint64(view, offset + 16)
    this.syncedUpTo = readUint64(view, offset + 24)
    this.previousChain = view.getUint32(offset + 32, true)
    return this.payloadLength <= WAL_PAYLOAD_SIZE_MAX && this.firstSequence >= 0
  }
}
