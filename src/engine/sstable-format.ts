/**
 * The frame of an SSTable: what stands behind its data blocks. FORMAT.md has a worked example.
 *
 *   sstable    := stored block … | filter? | index | ranges? | properties | footer
 *   filter, index, ranges, properties: sections, stored like blocks with a checksum
 *                 (block-codec.ts)
 *   filter     := see bloom-filter.ts; left out when there is no filter
 *   index      := see block-index.ts
 *   ranges     := see range-tombstone-format.ts; left out when there are no range tombstones
 *   properties := block count u32 | entry count u64 | tombstone count u64 | expiring count u64
 *                 | last expiry u64 | raw size u64 | smallest sequence u64 | largest sequence u64
 *                 | smallest key | largest key           keys behind their length as a varint
 *                 | range tombstone count u64                             from version 2 on
 *   footer     := filter offset u64 | filter size u32 | index offset u64 | index size u32
 *                 | properties offset u64 | properties size u32 | file number u64
 *                 | version u16 | reader version u16 | checksum type u8 | 0 u8 | 0 u8 | 0 u8
 *                 | checksum u32 | magic (8 bytes)                                  64 bytes
 *
 * Little-endian. Sections follow each other without a gap; a size includes the trailer. The
 * footer's checksum is the XXH32 of the 52 bytes before it, with the seed of a block at its offset.
 * `version` is that of the file, 2 when it has range tombstones and 1 when it has none; a reader
 * refuses a file whose `reader version` exceeds its own. What lies between index and properties in
 * version 2 is the section of range tombstones, and then there may be no block, and no filter.
 * Later versions may add fields to the end of the properties; the place and meaning of the last 28
 * bytes of the footer never change.
 */
import { ByteReader, ByteWriter, DecodeError, readUint64 } from '../bytes.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BLOCK_TRAILER_SIZE, type BlockFile, checksumSeed } from './block-codec.ts'
import type { TableMetadata } from './table-metadata.ts'

/** The version that this build reads. */
export const SSTABLE_VERSION = 2
/** A table with nothing that version 1 lacks is written in it, for builds that know no other. */
const VERSION_WITHOUT_RANGES = 1
const VERSION_WITH_RANGES = 2
export const FOOTER_SIZE = 64
const FOOTER_CHECKSUM_OFFSET = 52
const FOOTER_MAGIC_OFFSET = 56
const FOOTER_FILE_NUMBER_OFFSET = 36
/** "DURAMSST" */
const MAGIC = [0x44, 0x55, 0x52, 0x41, 0x4d, 0x53, 0x53, 0x54] as const
const CHECKSUM_TYPE_XXH32 = 1

/** Where a stored block or section stands; its size includes the trailer. */
export interface BlockHandle {
  readonly offset: number
  readonly size: number
}

export interface Footer {
  /** Of size 0 when the table has no filter. */
  readonly filter: BlockHandle
  readonly index: BlockHandle
  /** Of size 0 when the table has no range tombstones. */
  readonly ranges: BlockHandle
  readonly properties: BlockHandle
  readonly fileNumber: number
}

/** What a table says of itself. The MANIFEST says the same (TableMetadata), which is compared. */
export type TableProperties = Omit<TableMetadata, 'fileNumber' | 'size' | 'fileChecksum'> & {
  readonly blockCount: number
}

/** The footer that stands at `offset` of its file. */
export function encodeFooter(footer: Footer, offset: number, hasher: Hasher): Uint8Array {
  const writer = new ByteWriter(FOOTER_SIZE)
  for (const handle of [footer.filter, footer.index, footer.properties]) {
    writer.uint64(handle.offset).uint32(handle.size)
  }
  const version = footer.ranges.size === 0 ? VERSION_WITHOUT_RANGES : VERSION_WITH_RANGES
  writer.uint64(footer.fileNumber).uint16(version).uint16(version)
  writer.uint8(CHECKSUM_TYPE_XXH32).uint8(0).uint8(0).uint8(0)
  const seed = checksumSeed(footer.fileNumber, offset)
  writer.uint32(hasher.hash32(writer.written, 0, FOOTER_CHECKSUM_OFFSET, seed))
  return writer.raw(Uint8Array.from(MAGIC)).written
}

/**
 * Reads the footer `bytes[0, 64)` that stood at `offset` of `file`. Throws CorruptionError, or
 * VersionMismatchError when an intact footer asks for a later reader.
 */
export function decodeFooter(
  bytes: Uint8Array,
  offset: number,
  file: BlockFile,
  hasher: Hasher,
): Footer {
  const where = { path: file.path, offset }
  for (let index = 0; index < MAGIC.length; index++) {
    if (bytes[FOOTER_MAGIC_OFFSET + index] !== MAGIC[index]) {
      throw new CorruptionError(where, 'the file does not end like an SSTable')
    }
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, FOOTER_SIZE)
  const expected = view.getUint32(FOOTER_CHECKSUM_OFFSET, true)
  const fileNumber = readUint64(view, FOOTER_FILE_NUMBER_OFFSET)
  const seed = checksumSeed(Math.max(fileNumber, 0), offset)
  const actual = hasher.hash32(bytes, 0, FOOTER_CHECKSUM_OFFSET, seed)
  if (actual !== expected) {
    const sums = { expected: expected.toString(16), actual: actual.toString(16) }
    throw new CorruptionError({ ...where, ...sums }, 'footer checksum mismatch')
  }
  if (fileNumber !== file.fileNumber) {
    const numbers = { expected: String(file.fileNumber), actual: String(fileNumber) }
    throw new CorruptionError({ ...where, ...numbers }, 'the file is another table')
  }
  const reader = new ByteReader(bytes, 0, FOOTER_CHECKSUM_OFFSET)
  const readHandle = (): BlockHandle => ({ offset: reader.uint64(), size: reader.uint32() })
  const [filter, index, properties] = [readHandle(), readHandle(), readHandle()]
  reader.uint64()
  const version = reader.uint16()
  const readerVersion = reader.uint16()
  const checksumType = reader.uint8()
  if (readerVersion > SSTABLE_VERSION || checksumType !== CHECKSUM_TYPE_XXH32) {
    throw new VersionMismatchError(
      `${file.path}: written in SSTable version ${version}, which needs a reader of version ` +
        `${readerVersion}; this build reads version ${SSTABLE_VERSION}`,
    )
  }
  const indexEnd = index.offset + index.size
  const ranges = { offset: indexEnd, size: properties.offset - indexEnd }
  const footer = { filter, index, ranges, properties, fileNumber }
  checkPlaces(footer, version >= VERSION_WITH_RANGES, offset, where)
  return footer
}

/** The sections fill the file between the data blocks and the footer. */
function checkPlaces(
  footer: Footer,
  hasRanges: boolean,
  end: number,
  where: { path: string; offset: number },
): void {
  const { filter, index, ranges, properties } = footer
  const ordered = filter.offset + filter.size === index.offset || filter.size === 0
  if (
    !ordered ||
    (hasRanges ? ranges.size < BLOCK_TRAILER_SIZE : ranges.size !== 0) ||
    properties.offset + properties.size !== end ||
    index.size < BLOCK_TRAILER_SIZE ||
    properties.size < BLOCK_TRAILER_SIZE
  ) {
    throw new CorruptionError(where, 'the sections do not fill the table')
  }
}

export function encodeProperties(properties: TableProperties): Uint8Array {
  const writer = new ByteWriter()
  writer
    .uint32(properties.blockCount)
    .uint64(properties.entryCount)
    .uint64(properties.tombstoneCount)
    .uint64(properties.expiringCount)
    .uint64(properties.expiryMax)
    .uint64(properties.rawSize)
    .uint64(properties.smallestSequence)
    .uint64(properties.largestSequence)
    .lengthPrefixed(properties.smallestKey)
    .lengthPrefixed(properties.largestKey)
  if (properties.rangeTombstoneCount > 0) writer.uint64(properties.rangeTombstoneCount)
  return writer.written
}

/** Throws DecodeError when `bytes[start, end)` does not hold the properties. */
export function decodeProperties(bytes: Uint8Array, start: number, end: number): TableProperties {
  const reader = new ByteReader(bytes, start, end)
  const properties = {
    blockCount: reader.uint32(),
    entryCount: reader.uint64(),
    tombstoneCount: reader.uint64(),
    expiringCount: reader.uint64(),
    expiryMax: reader.uint64(),
    rawSize: reader.uint64(),
    smallestSequence: reader.uint64(),
    largestSequence: reader.uint64(),
    smallestKey: reader.lengthPrefixed(),
    largestKey: reader.lengthPrefixed(),
    rangeTombstoneCount: reader.remaining > 0 ? reader.uint64() : 0,
  }
  const { blockCount, entryCount, rangeTombstoneCount } = properties
  if (entryCount < blockCount || (blockCount === 0 && rangeTombstoneCount === 0)) {
    throw new DecodeError('every block has entries, and a table has blocks or ranges', start)
  }
  return properties
}
