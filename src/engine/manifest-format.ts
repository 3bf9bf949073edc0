/**
 * Format of the MANIFEST, the log of version edits. The full specification with worked bytes is
 * FORMAT.md, section "MANIFEST".
 *
 *   manifest := header frame*                    file `MANIFEST-<number>`
 *   header   := magic u32 | version u16 | readerVersion u16 | fileNumber u64 | databaseId [16]
 *               | zero u32 | headerSum u32
 *   frame    := magic u32 | payloadLength u32 | previousChain u32 | headerSum u32
 *               | payload | payloadSum u32 | zeros to a multiple of 8
 *   payload  := edit                             version-edit.ts
 *
 * All integers are little-endian. Frames start at multiples of 8.
 *
 * Invariants:
 *  1. The first frame is a snapshot: it holds everything. CURRENT names the file only after header
 *     and first frame are durable, so damage to them is corruption.
 *  2. An edit is durable before the next one is written. So only the last frame may be torn, and a
 *     damaged frame with a valid frame header anywhere behind it is corruption.
 *  3. Sums chain as in the WAL: headerSum is seeded with its place, payloadSum with headerSum, and
 *     the next frame carries payloadSum as its previousChain (0 for the first).
 */
import { assert } from '../assert.ts'
import { ByteWriter, copyBytes, DecodeError, readUint64 } from '../bytes.ts'
import { yieldToEventLoop } from '../clock.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { type Hasher, xxh32 } from '../hash.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import { fileSeed, foldNumber, placeSeed } from './file-seed.ts'
import { sumInSlices } from './slices.ts'
import {
  decodeVersionEdit,
  encodeVersionEdit,
  type LeveledTable,
  type VersionEdit,
} from './version-edit.ts'

/** The bytes `DMAN`. */
const MANIFEST_MAGIC = 0x4e41_4d44
/** The bytes `DEDT`; never 0, so zeroed disk space is never a frame. */
const FRAME_MAGIC = 0x5444_4544
/** Of what this build writes, and of what a reader must understand at least to read that. */
const MANIFEST_VERSION = 1
const MANIFEST_READER_VERSION = 1

export const MANIFEST_HEADER_SIZE = 40
const HEADER_SUM_OFFSET = 36
const FRAME_HEADER_SIZE = 16
const FRAME_HEADER_SUM_OFFSET = 12
const FRAME_ALIGNMENT = 8
const PAYLOAD_SIZE_MAX = 2 ** 30
/** Bytes of a table in an edit besides its keys, and of an edit without tables, at most. */
const TABLE_SIZE_MAX = 128
const SMALL_EDIT_SIZE = 256
/** Of a slice: tables cost by their number, and by their keys where those are long. */
const SLICE_TABLES_MAX = 256
const SLICE_SIZE_MAX = 256 * 1024

/** The 40 bytes of a header. Another reader version than ours is for tests. */
export function encodeManifestHeader(
  databaseId: Uint8Array,
  fileNumber: number,
  readerVersion = MANIFEST_READER_VERSION,
): Uint8Array {
  assert(databaseId.length === DATABASE_ID_SIZE, 'a database id has 16 bytes')
  const writer = new ByteWriter(MANIFEST_HEADER_SIZE)
  writer.uint32(MANIFEST_MAGIC).uint16(MANIFEST_VERSION).uint16(readerVersion).uint64(fileNumber)
  writer.raw(databaseId).uint32(0)
  return writer.uint32(headerSum(writer.written, fileNumber)).written
}

function headerSum(bytes: Uint8Array, fileNumber: number): number {
  return xxh32(bytes, 0, HEADER_SUM_OFFSET, foldNumber(fileNumber))
}

export interface EncodedEdit {
  readonly bytes: Uint8Array
  /** The chain value after this frame. */
  readonly chain: number
}

/** The frame of `edit` for its place: `seed` is the file's, `chain` that after the frame before. */
export function encodeManifestFrame(
  edit: VersionEdit,
  seed: number,
  offset: number,
  chain: number,
): EncodedEdit {
  const writer = new ByteWriter()
  beginFrame(writer, chain)
  encodeVersionEdit(edit, writer)
  const sum = sealFrameHeader(writer, 0, placeSeed(seed, offset))
  const payloadSum = xxh32(writer.written, FRAME_HEADER_SIZE, writer.length, sum)
  return endFrame(writer, payloadSum)
}

function beginFrame(writer: ByteWriter, chain: number): void {
  writer.uint32(FRAME_MAGIC).uint32(0).uint32(chain).uint32(0)
}

/** Of the frame at `start`, once its payload is written. Returns the headerSum. */
function sealFrameHeader(writer: ByteWriter, start: number, seed: number): number {
  const payloadLength = writer.length - start - FRAME_HEADER_SIZE
  assert(payloadLength <= PAYLOAD_SIZE_MAX, 'an edit of a gigabyte is never made')
  writer.setUint32(start + 4, payloadLength)
  const sum = xxh32(writer.written, start, start + FRAME_HEADER_SUM_OFFSET, seed)
  writer.setUint32(start + FRAME_HEADER_SUM_OFFSET, sum)
  return sum
}

function endFrame(writer: ByteWriter, payloadSum: number): EncodedEdit {
  writer.uint32(payloadSum)
  while (writer.length % FRAME_ALIGNMENT !== 0) writer.uint8(0)
  return { bytes: writer.written, chain: payloadSum }
}

export interface EncodedManifest extends EncodedEdit {
  /** The file's seed, for the frames that follow. */
  readonly seed: number
}

/** A whole file: its header, and `snapshot`, which must hold everything, as its first edit. */
export function encodeManifestFile(
  databaseId: Uint8Array,
  fileNumber: number,
  snapshot: VersionEdit,
): EncodedManifest {
  const seed = fileSeed(databaseId, fileNumber)
  const header = encodeManifestHeader(databaseId, fileNumber)
  const frame = encodeManifestFrame(snapshot, seed, MANIFEST_HEADER_SIZE, 0)
  const bytes = new Uint8Array(header.length + frame.bytes.length)
  bytes.set(header)
  bytes.set(frame.bytes, header.length)
  return { bytes, seed, chain: frame.chain }
}

/**
 * encodeManifestFile with a turn of the event loop between slices: 10,000 tables take 16 ms. The
 * snapshot must not change until it resolves.
 */
export async function encodeManifestFileInSlices(
  databaseId: Uint8Array,
  fileNumber: number,
  snapshot: VersionEdit,
  hasher: Hasher,
): Promise<EncodedManifest> {
  const { added = [], ...counters } = snapshot
  const seed = fileSeed(databaseId, fileNumber)
  const start = MANIFEST_HEADER_SIZE
  const sizeMax = start + SMALL_EDIT_SIZE + tablesSizeMax(added, 0, added.length)
  // To look at all of them, and to make room for them, takes half a millisecond each.
  const isLong = added.length > SLICE_TABLES_MAX
  if (isLong) await yieldToEventLoop()
  const writer = new ByteWriter(sizeMax)
  writer.raw(encodeManifestHeader(databaseId, fileNumber))
  beginFrame(writer, 0)
  encodeVersionEdit(counters, writer)
  for (let from = 0; from < added.length; ) {
    if (isLong || from > 0) await yieldToEventLoop()
    const end = sliceEnd(added, from)
    encodeVersionEdit({ added: added.slice(from, end) }, writer)
    from = end
  }
  const sum = sealFrameHeader(writer, start, placeSeed(seed, start))
  const payloadStart = start + FRAME_HEADER_SIZE
  const payloadSum = await sumInSlices(hasher, writer.written, payloadStart, writer.length, sum)
  return { ...endFrame(writer, payloadSum), seed }
}

/** Behind the tables that are encoded in one turn: half a millisecond of them. */
function sliceEnd(added: readonly LeveledTable[], from: number): number {
  const last = Math.min(from + SLICE_TABLES_MAX, added.length)
  let end = from
  for (let size = 0; end < last && size < SLICE_SIZE_MAX; end++) {
    size += tablesSizeMax(added, end, end + 1)
  }
  return end
}

/** At least the bytes that they take in an edit. */
function tablesSizeMax(added: readonly LeveledTable[], start: number, end: number): number {
  let size = 0
  for (let at = start; at < end; at++) {
    const { smallestKey, largestKey } = added[at]!.table
    size += TABLE_SIZE_MAX + smallestKey.length + largestKey.length
  }
  return size
}

/** A last edit that was not wholly written, and so never acknowledged. */
export interface ManifestTornTail {
  readonly offset: number
  readonly length: number
}

export interface DecodedManifest {
  readonly databaseId: Uint8Array
  /** The snapshot first. */
  readonly edits: readonly VersionEdit[]
  readonly tornTail: ManifestTornTail | undefined
}

/**
 * Decodes the whole file with this path and number. Throws CorruptionError, or VersionMismatchError
 * when a newer build wrote it.
 */
export function decodeManifest(
  bytes: Uint8Array,
  path: string,
  fileNumber: number,
): DecodedManifest {
  return new ManifestDecoder(bytes, path, fileNumber).decode()
}

/** What of a damaged MANIFEST can be read: the edits before the damage. */
export interface SalvagedManifest {
  readonly databaseId: Uint8Array
  readonly edits: readonly VersionEdit[]
}

/**
 * As decodeManifest, but damage ends the edits. Undefined when the header is damaged. Throws
 * VersionMismatchError.
 */
export function salvageManifest(
  bytes: Uint8Array,
  path: string,
  fileNumber: number,
): SalvagedManifest | undefined {
  const decoder = new ManifestDecoder(bytes, path, fileNumber)
  try {
    return decoder.decode()
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error
    const { databaseId, edits } = decoder
    return databaseId && { databaseId, edits }
  }
}

class ManifestDecoder {
  /** Known once the header was read. */
  databaseId: Uint8Array | undefined
  /** Those decoded so far. */
  readonly edits: VersionEdit[] = []
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #path: string
  readonly #fileNumber: number
  #seed = 0
  #offset = MANIFEST_HEADER_SIZE
  #chain = 0

  constructor(bytes: Uint8Array, path: string, fileNumber: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#path = path
    this.#fileNumber = fileNumber
  }

  decode(): DecodedManifest {
    const databaseId = this.#header()
    this.databaseId = databaseId
    this.#seed = fileSeed(databaseId, this.#fileNumber)
    const { edits } = this
    let tornTail: ManifestTornTail | undefined
    while (this.#offset < this.#bytes.length) {
      const payloadLength = this.#frame(this.#offset)
      if (payloadLength < 0) {
        tornTail = this.#judge(edits.length)
        break
      }
      edits.push(this.#edit(payloadLength))
    }
    if (edits.length === 0) this.#fail('the file ends before its first edit')
    return { databaseId, edits, tornTail }
  }

  #header(): Uint8Array {
    const bytes = this.#bytes
    if (
      bytes.length < MANIFEST_HEADER_SIZE ||
      this.#view.getUint32(0, true) !== MANIFEST_MAGIC ||
      this.#view.getUint32(HEADER_SUM_OFFSET, true) !== headerSum(bytes, this.#fileNumber) ||
      readUint64(this.#view, 8) !== this.#fileNumber
    ) {
      this.#offset = 0
      this.#fail('the header of the MANIFEST is damaged')
    }
    const readerVersion = this.#view.getUint16(6, true)
    if (readerVersion > MANIFEST_VERSION) {
      throw new VersionMismatchError(
        `${this.#path}: needs a reader of version ${readerVersion}, ` +
          `this build has ${MANIFEST_VERSION}`,
      )
    }
    return copyBytes(bytes, 16, 16 + DATABASE_ID_SIZE)
  }

  /** Whether a valid frame header stands at `offset`; it may lie about nothing but its payload. */
  #isFrameHeader(offset: number): boolean {
    if (offset + FRAME_HEADER_SIZE > this.#bytes.length) return false
    if (this.#view.getUint32(offset, true) !== FRAME_MAGIC) return false
    const sumOffset = offset + FRAME_HEADER_SUM_OFFSET
    const sum = xxh32(this.#bytes, offset, sumOffset, placeSeed(this.#seed, offset))
    return this.#view.getUint32(sumOffset, true) === sum
  }

  /** The payload length of the frame at `offset`, or -1 when it is not whole. */
  #frame(offset: number): number {
    if (!this.#isFrameHeader(offset)) return -1
    const payloadLength = this.#view.getUint32(offset + 4, true)
    const start = offset + FRAME_HEADER_SIZE
    const end = start + payloadLength
    if (frameEnd(end) > this.#bytes.length) return -1
    const sum = this.#view.getUint32(offset + FRAME_HEADER_SUM_OFFSET, true)
    if (this.#view.getUint32(end, true) !== xxh32(this.#bytes, start, end, sum)) return -1
    for (let pad = end + 4; pad < frameEnd(end); pad++) if (this.#bytes[pad] !== 0) return -1
    return payloadLength
  }

  #edit(payloadLength: number): VersionEdit {
    if (this.#view.getUint32(this.#offset + 8, true) !== this.#chain) {
      this.#fail('an edit does not follow the one before it: edits are missing')
    }
    const start = this.#offset + FRAME_HEADER_SIZE
    const end = start + payloadLength
    try {
      const edit = decodeVersionEdit(this.#bytes, start, end)
      this.#chain = this.#view.getUint32(end, true)
      this.#offset = frameEnd(end)
      return edit
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#offset = error.offset
      return this.#fail(`an edit with a valid checksum is malformed: ${error.message}`, error)
    }
  }

  /** Returns when the damage can only be an edit that was never acknowledged. */
  #judge(editCount: number): ManifestTornTail {
    if (editCount === 0) this.#fail('the first edit is damaged, which was durable before CURRENT')
    const { length } = this.#bytes
    for (let at = this.#offset + FRAME_ALIGNMENT; at < length; at += FRAME_ALIGNMENT) {
      if (!this.#isFrameHeader(at)) continue
      this.#fail(`an edit is damaged, although the one at ${at} was written when it was durable`)
    }
    return { offset: this.#offset, length: length - this.#offset }
  }

  #fail(what: string, cause?: unknown): never {
    throw new CorruptionError({ path: this.#path, offset: this.#offset }, what, { cause })
  }
}

function frameEnd(payloadEnd: number): number {
  return Math.ceil((payloadEnd + 4) / FRAME_ALIGNMENT) * FRAME_ALIGNMENT
}
