/**
 * The sections of an SSTable that are read when it is opened: footer, properties, index, filter and
 * range tombstones, checked against each other and against what the MANIFEST says of the table.
 */
import { compareBytes, DecodeError, equalBytes } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec, openSealedBlock } from './block-codec.ts'
import { BlockIndex } from './block-index.ts'
import { BlockOffsets } from './block-offsets.ts'
import { BloomFilter } from './bloom-filter.ts'
import { BufferPool } from './buffer-pool.ts'
import type { File } from './file-system.ts'
import { lastKeyBefore, NO_FRAGMENTS, type RangeFragments } from './range-fragment.ts'
import { decodeRangeTombstones } from './range-tombstone-format.ts'
import { shortRead } from './short-read.ts'
import {
  type BlockHandle,
  decodeFooter,
  decodeProperties,
  FOOTER_SIZE,
  type Footer,
  type TableProperties,
} from './sstable-format.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Properties that the MANIFEST repeats. */
const COMPARED = [
  'entryCount',
  'tombstoneCount',
  'rangeTombstoneCount',
  'expiringCount',
  'expiryMax',
  'rawSize',
  'smallestSequence',
  'largestSequence',
] as const

export interface OpenOptions {
  /** Lends the buffer that the sections are read to. @defaultValue a new one each time */
  readonly buffers?: BufferPool | undefined
  /**
   * For who reads the blocks one after another: filter and index are checked but not kept, which
   * are all that an open table takes. It cannot be searched then.
   */
  readonly scanOnly?: boolean
}

/** What an open table keeps in memory. */
export interface TableSections {
  /** Where the blocks are; with their last keys, unless the table is only scanned. */
  readonly index: BlockIndex | BlockOffsets
  /** Undefined when the table has none, or is only scanned. */
  readonly filter: BloomFilter | undefined
  readonly ranges: RangeFragments
}

/**
 * Reads and checks the sections of the table in `file`. Throws CorruptionError unless it is the
 * table that `metadata` describes.
 */
export function readSectionsSync(
  file: File,
  metadata: TableMetadata,
  hasher: Hasher,
  options: OpenOptions,
): TableSections {
  const footer = readFooterSync(file, metadata, hasher)
  const start = sectionsStart(footer)
  const size = metadata.size - FOOTER_SIZE - start
  const sections = options.buffers?.take(size) ?? new Uint8Array(size)
  expectAll(file, file.readSync(sections, 0, size, start), size, start)
  const decoded = decodeSections(file, metadata, hasher, footer, sections, options)
  options.buffers?.giveBack(sections)
  return decoded
}

/** As readSectionsSync, without holding up the event loop. */
export async function readSections(
  file: File,
  metadata: TableMetadata,
  hasher: Hasher,
  options: OpenOptions,
): Promise<TableSections> {
  const at = checkSize(file, metadata) - FOOTER_SIZE
  const bytes = new Uint8Array(FOOTER_SIZE)
  expectAll(file, await file.read(bytes, 0, FOOTER_SIZE, at), FOOTER_SIZE, at)
  const place = { path: file.path, fileNumber: metadata.fileNumber }
  const footer = decodeFooter(bytes, at, place, hasher)
  const start = sectionsStart(footer)
  const size = at - start
  const sections = options.buffers?.take(size) ?? new Uint8Array(size)
  expectAll(file, await file.read(sections, 0, size, start), size, start)
  const decoded = decodeSections(file, metadata, hasher, footer, sections, options)
  options.buffers?.giveBack(sections)
  return decoded
}

function decodeSections(
  file: File,
  metadata: TableMetadata,
  hasher: Hasher,
  footer: Footer,
  sections: Uint8Array,
  options: OpenOptions,
): TableSections {
  const place = { path: file.path, fileNumber: metadata.fileNumber }
  const base = sectionsStart(footer)
  function decode<T>(
    handle: BlockHandle,
    decodeData: (bytes: Uint8Array, start: number, end: number) => T,
  ): T {
    const start = handle.offset - base
    const end = start + handle.size
    const codec = openSealedBlock(sections, start, end, place, handle.offset, hasher)
    return located(file.path, handle.offset, start, () => {
      if (codec !== BlockCodec.none) throw new DecodeError('sections are not compressed', start)
      return decodeData(sections, start, end - BLOCK_TRAILER_SIZE)
    })
  }
  const properties = decode(footer.properties, decodeProperties)
  const { scanOnly = false, buffers = new BufferPool(0) } = options
  const decodeOffsets = (bytes: Uint8Array, start: number, end: number) =>
    BlockOffsets.decode(bytes, start, end, buffers)
  const index = decode<BlockIndex | BlockOffsets>(
    footer.index,
    scanOnly ? decodeOffsets : BlockIndex.decode,
  )
  const decodeFilter = scanOnly ? BloomFilter.check : BloomFilter.decode
  const filter = footer.filter.size === 0 ? undefined : decode(footer.filter, decodeFilter)
  const ranges =
    footer.ranges.size === 0 ? NO_FRAGMENTS : decode(footer.ranges, decodeRangeTombstones)
  checkProperties(file.path, metadata, properties, footer.properties.offset)
  checkRanges(file.path, metadata, ranges, footer.ranges.offset)
  if (index.blockCount !== properties.blockCount || index.offsets[index.blockCount] !== base) {
    throw new CorruptionError(
      { path: file.path, offset: footer.index.offset },
      'the index does not cover the data blocks',
    )
  }
  return { index, filter, ranges }
}

/** Runs a decoder and turns its DecodeError into damage at a place of the file. */
export function located<T>(path: string, offset: number, start: number, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    const detail = { path, offset: offset + error.offset - start }
    throw new CorruptionError(detail, error.message, { cause: error })
  }
}

function sectionsStart(footer: Footer): number {
  return footer.filter.size === 0 ? footer.index.offset : footer.filter.offset
}

function checkSize(file: File, metadata: TableMetadata): number {
  const size = file.sizeSync()
  if (size === metadata.size && size >= FOOTER_SIZE) return size
  throw new CorruptionError(
    { path: file.path, offset: 0, expected: `${metadata.size} bytes`, actual: `${size} bytes` },
    'the table has not the size that the manifest records',
  )
}

function readFooterSync(file: File, metadata: TableMetadata, hasher: Hasher): Footer {
  const at = checkSize(file, metadata) - FOOTER_SIZE
  const bytes = new Uint8Array(FOOTER_SIZE)
  expectAll(file, file.readSync(bytes, 0, FOOTER_SIZE, at), FOOTER_SIZE, at)
  const place = { path: file.path, fileNumber: metadata.fileNumber }
  return decodeFooter(bytes, at, place, hasher)
}

function expectAll(file: File, actual: number, expected: number, offset: number): void {
  if (actual === expected) return
  throw shortRead(file, offset, expected, actual, 'the file ends too early')
}

function checkProperties(
  path: string,
  metadata: TableMetadata,
  properties: TableProperties,
  offset: number,
): void {
  for (const name of COMPARED) {
    if (metadata[name] !== properties[name]) {
      const detail = { expected: String(metadata[name]), actual: String(properties[name]) }
      throw new CorruptionError({ path, offset, ...detail }, `${name} differs from the manifest`)
    }
  }
  for (const name of ['smallestKey', 'largestKey'] as const) {
    if (!equalBytes(metadata[name], properties[name])) {
      throw new CorruptionError({ path, offset }, `${name} differs from the manifest`)
    }
  }
}

/** The range tombstones are as many as the properties say, and within their bounds. */
function checkRanges(
  path: string,
  metadata: TableMetadata,
  ranges: RangeFragments,
  offset: number,
): void {
  const { rangeTombstoneCount, smallestKey, largestKey, smallestSequence, largestSequence } =
    metadata
  if (ranges.length !== rangeTombstoneCount) {
    const numbers = { expected: String(rangeTombstoneCount), actual: String(ranges.length) }
    throw new CorruptionError({ path, offset, ...numbers }, 'the table has other range tombstones')
  }
  const [first, last] = [ranges[0], ranges.at(-1)]
  if (first === undefined || last === undefined) return
  const isWithin =
    compareBytes(smallestKey, first.start) <= 0 &&
    compareBytes(lastKeyBefore(last.end), largestKey) <= 0 &&
    ranges.every(
      ({ sequences }) => sequences[0]! <= largestSequence && sequences.at(-1)! >= smallestSequence,
    )
  if (!isWithin) {
    throw new CorruptionError({ path, offset }, 'a range tombstone lies beyond the table')
  }
}
