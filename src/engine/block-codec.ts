/**
 * How a block stands in a file: compressed or not (block-compression.ts), with its checksum. Data
 * blocks and the other sections of an SSTable are all stored this way.
 *
 *   stored block := data | codec u8 | checksum u32                    trailer of 5 bytes
 *   data         := block                                          codec 1, none
 *                 | block size u32 | deflate stream                codec 2, deflate-raw (RFC 1951)
 *                 | block size u32 | zstd frame                    codec 3, zstd (RFC 8878)
 *
 * `checksum` is the XXH32 of data and codec, with a seed made of the file number and the offset of
 * the block in the file, so that right bytes in the wrong place are found out:
 *
 *   seed := (file number * 0x9e3779b1 + offset * 0x85ebca77 + floor(offset / 2^32)) mod 2^32
 */
import { assert } from '../assert.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { sumInSlices } from './slices.ts'

/** Part of the on-disk format. Append only; never renumber. 0 is never valid. */
export const BlockCodec = {
  none: 1,
  deflateRaw: 2,
  zstd: 3,
} as const
export type BlockCodec = (typeof BlockCodec)[keyof typeof BlockCodec]
export type CompressedBlockCodec = Exclude<BlockCodec, typeof BlockCodec.none>

export const BLOCK_TRAILER_SIZE = 5
const CHECKSUM_SIZE = 4
/** Which file a block belongs to. */
export interface BlockFile {
  readonly path: string
  readonly fileNumber: number
}

export function checksumSeed(fileNumber: number, offset: number): number {
  const high = Math.floor(offset / 0x1_0000_0000)
  const file = Math.imul(fileNumber % 0x1_0000_0000, 0x9e3779b1)
  return (file + Math.imul(offset % 0x1_0000_0000, 0x85ebca77) + high) >>> 0
}

/** Writes the trailer behind `bytes[start, end)`; the buffer has room for it. */
export function sealBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  codec: BlockCodec,
  fileNumber: number,
  offset: number,
  hasher: Hasher,
): void {
  assert(end + BLOCK_TRAILER_SIZE <= bytes.length, 'the trailer has room')
  bytes[end] = codec
  const checksum = hasher.hash32(bytes, start, end + 1, checksumSeed(fileNumber, offset))
  bytes[end + 1] = checksum
  bytes[end + 2] = checksum >>> 8
  bytes[end + 3] = checksum >>> 16
  bytes[end + 4] = checksum >>> 24
}

/**
 * Checks the stored block `bytes[start, end)`, trailer included, that was read at `offset`.
 * Returns its codec. Throws CorruptionError, or VersionMismatchError for a codec of later times.
 */
export function openSealedBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
  hasher: Hasher,
): BlockCodec {
  const at = sumEnd(start, end, file, offset)
  const actual = hasher.hash32(bytes, start, at, checksumSeed(file.fileNumber, offset))
  return checkSealedBlock(bytes, end, file, offset, actual)
}

/** openSealedBlock with turns of the event loop, for large blocks. */
export async function openLargeBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
  hasher: Hasher,
): Promise<BlockCodec> {
  const at = sumEnd(start, end, file, offset)
  const seed = checksumSeed(file.fileNumber, offset)
  const actual = await sumInSlices(hasher, bytes, start, at, seed)
  return checkSealedBlock(bytes, end, file, offset, actual)
}

function sumEnd(start: number, end: number, file: BlockFile, offset: number): number {
  if (end - start >= BLOCK_TRAILER_SIZE) return end - CHECKSUM_SIZE
  throw new CorruptionError({ path: file.path, offset }, 'a block is shorter than its trailer')
}

/** `actual` is the sum of all but the sum itself. */
function checkSealedBlock(
  bytes: Uint8Array,
  end: number,
  file: BlockFile,
  offset: number,
  actual: number,
): BlockCodec {
  const at = end - CHECKSUM_SIZE
  const expected =
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  if (actual !== expected) {
    throw new CorruptionError(
      { path: file.path, offset, expected: hex(expected), actual: hex(actual) },
      'block checksum mismatch',
    )
  }
  const codec = bytes[at - 1]!
  if (codec >= BlockCodec.none && codec <= BlockCodec.zstd) return codec as BlockCodec
  throw new VersionMismatchError(
    `${file.path}@${offset}: block codec ${codec} is not known to this build`,
  )
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
