/**
 * An open SSTable: its index and filter in memory, its blocks read on demand through a BlockSource.
 *
 * Invariants:
 *  1. Opening verified the footer, the checksum of every section, and that the table is the one
 *     the MANIFEST describes: number, size, counts, key range and sequences.
 *  2. The file stays open while the reader is retained; `close` takes effect at the last release.
 */
import { assert } from '../assert.ts'
import { compareBytes, DecodeError, equalBytes } from '../bytes.ts'
import { CorruptionError, type KvError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BlockAnswer, findInBlock } from './block.ts'
import {
  BLOCK_TRAILER_SIZE,
  BlockCodec,
  type BlockFile,
  openLargeBlock,
  openSealedBlock,
} from './block-codec.ts'
import { decompressBlock, decompressLargeBlock } from './block-compression.ts'
import { checkBlock } from './block-format.ts'
import { BlockIndex } from './block-index.ts'
import { BlockOffsets } from './block-offsets.ts'
import type { BlockSource } from './block-source.ts'
import { BloomFilter } from './bloom-filter.ts'
import { BufferPool } from './buffer-pool.ts'
import type { File } from './file-system.ts'
import type { LookupResult } from './lookup-result.ts'
import {
  fragmentsMemorySize,
  lastKeyBefore,
  NO_FRAGMENTS,
  type RangeFragments,
} from './range-fragment.ts'
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

/** What the parts of a reader take that are not in typed arrays, roughly. */
const READER_OVERHEAD = 512
/** Absent from BlockSource's caches; see `slots`. */
export const NO_SLOT = -1

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

export class SstableReader {
  readonly metadata: TableMetadata
  readonly file: File
  readonly hasher: Hasher
  readonly blockCount: number
  /** Where the block cache of this thread holds each block. Owned by the cache. */
  readonly slots: Int32Array
  /** The range tombstones of the table. They hide entries of this table too. */
  readonly ranges: RangeFragments
  /** When this reader was used last, on the table cache's own clock. Owned by the table cache. */
  lastUse = 0
  /** Undefined when the table is only scanned. */
  readonly #index: BlockIndex | undefined
  readonly #offsets: Float64Array
  readonly #lent: BlockOffsets | undefined
  readonly #filter: BloomFilter | undefined
  readonly #place: BlockFile
  #holderCount = 1
  #closed = false

  private constructor(
    file: File,
    metadata: TableMetadata,
    hasher: Hasher,
    index: BlockIndex | BlockOffsets,
    filter: BloomFilter | undefined,
    ranges: RangeFragments,
  ) {
    this.file = file
    this.metadata = metadata
    this.hasher = hasher
    this.blockCount = index.blockCount
    this.#index = index instanceof BlockIndex ? index : undefined
    this.slots = new Int32Array(this.#index?.blockCount ?? 0).fill(NO_SLOT)
    this.#offsets = index.offsets
    this.#lent = index instanceof BlockOffsets ? index : undefined
    this.#filter = filter
    this.ranges = ranges
    this.#place = { path: file.path, fileNumber: metadata.fileNumber }
  }

  /**
   * Opens the table in `file`, which belongs to the reader from then on, also when this throws.
   * Throws CorruptionError unless it is the table that `metadata` describes.
   */
  static openSync(
    file: File,
    metadata: TableMetadata,
    hasher: Hasher,
    options: OpenOptions = {},
  ): SstableReader {
    try {
      const footer = readFooterSync(file, metadata, hasher)
      const start = sectionsStart(footer)
      const size = metadata.size - FOOTER_SIZE - start
      const sections = options.buffers?.take(size) ?? new Uint8Array(size)
      expectAll(file, file.readSync(sections, 0, size, start), size, start)
      const reader = SstableReader.#fromSections(file, metadata, hasher, footer, sections, options)
      options.buffers?.giveBack(sections)
      return reader
    } catch (error) {
      file.closeSync()
      throw error
    }
  }

  /** Like openSync, but reads without holding up the event loop. */
  static async open(
    file: File,
    metadata: TableMetadata,
    hasher: Hasher,
    options: OpenOptions = {},
  ): Promise<SstableReader> {
    try {
      const at = checkSize(file, metadata) - FOOTER_SIZE
      const bytes = new Uint8Array(FOOTER_SIZE)
      expectAll(file, await file.read(bytes, 0, FOOTER_SIZE, at), FOOTER_SIZE, at)
      const place = { path: file.path, fileNumber: metadata.fileNumber }
      const footer = decodeFooter(bytes, at, place, hasher)
      const start = sectionsStart(footer)
      const size = at - start
      const sections = options.buffers?.take(size) ?? new Uint8Array(size)
      expectAll(file, await file.read(sections, 0, size, start), size, start)
      const reader = SstableReader.#fromSections(file, metadata, hasher, footer, sections, options)
      options.buffers?.giveBack(sections)
      return reader
    } catch (error) {
      file.closeSync()
      throw error
    }
  }

  static #fromSections(
    file: File,
    metadata: TableMetadata,
    hasher: Hasher,
    footer: Footer,
    sections: Uint8Array,
    options: OpenOptions,
  ): SstableReader {
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
    return new SstableReader(file, metadata, hasher, index, filter, ranges)
  }

  /** Bytes of memory that the open table holds. */
  get memorySize(): number {
    return (
      READER_OVERHEAD +
      (this.#index ?? this.#lent)!.memorySize +
      this.slots.byteLength +
      (this.#filter?.memorySize ?? 0) +
      fragmentsMemorySize(this.ranges)
    )
  }

  /** False only when the table holds no version of any key with this hash. */
  mayContain(hash: number): boolean {
    const filter = this.#filter
    return filter === undefined || filter.mayContain(hash)
  }

  /** The first block that can hold an entry at or after the key; blockCount when none can. */
  findBlock(key: Uint8Array, keyStart: number, keyEnd: number): number {
    const index = this.#index
    assert(index !== undefined, 'a table that is only scanned is not searched')
    return index.find(key, keyStart, keyEnd)
  }

  /** Offset of a block in the file; of the end of the data for blockCount. */
  blockOffset(ordinal: number): number {
    return this.#offsets[ordinal]!
  }

  /** Bytes of the stored block, trailer included. */
  storedSize(ordinal: number): number {
    const offsets = this.#offsets
    return offsets[ordinal + 1]! - offsets[ordinal]!
  }

  /**
   * Finds the newest version of the key at or below `maxSequence` and describes it in `result`,
   * borrowing the block. Returns false when the table holds none. `hash` is the key's XXH32, seed
   * 0. Throws BlockMiss when `source` must load a block first; then it is asked again.
   */
  get(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    hash: number,
    maxSequence: number,
    source: BlockSource,
    result: LookupResult,
  ): boolean {
    return (
      this.mayContain(hash) && this.find(key, keyStart, keyEnd, hash, maxSequence, source, result)
    )
  }

  /** As get, for who has asked the filter already. */
  find(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    hash: number,
    maxSequence: number,
    source: BlockSource,
    result: LookupResult,
  ): boolean {
    const blockCount = this.blockCount
    const view = source.lookupView
    for (let ordinal = this.findBlock(key, keyStart, keyEnd); ordinal < blockCount; ordinal++) {
      source.fetch(this, ordinal, view)
      const { bytes, start, end } = view
      const answer = findInBlock(
        bytes,
        start,
        end,
        hash,
        key,
        keyStart,
        keyEnd,
        maxSequence,
        result,
      )
      if (answer !== BlockAnswer.continues) return answer === BlockAnswer.found
    }
    return false
  }

  /**
   * Verifies the stored block `ordinal` that was read to `bytes[start, end)`, trailer included.
   * Returns the block itself when it was compressed, or undefined when it stands in
   * bytes[start, end - BLOCK_TRAILER_SIZE). Throws CorruptionError.
   */
  verifyBlock(
    ordinal: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Uint8Array | undefined {
    const offset = this.blockOffset(ordinal)
    return verifyStoredBlock(bytes, start, end, this.#place, offset, this.hasher)
  }

  /**
   * verifyBlock with turns of the event loop, for a large block, which is all of `bytes`. Resolves
   * with the block itself. The bytes may not change until then; it may be a part of them.
   */
  async verifyLargeBlock(ordinal: number, bytes: Uint8Array): Promise<Uint8Array> {
    const offset = this.blockOffset(ordinal)
    const { length } = bytes
    const codec = await openLargeBlock(bytes, 0, length, this.#place, offset, this.hasher)
    const dataEnd = length - BLOCK_TRAILER_SIZE
    const block =
      codec === BlockCodec.none
        ? bytes.subarray(0, dataEnd)
        : await decompressLargeBlock(codec, bytes, 0, dataEnd, this.#place, offset)
    located(this.file.path, offset, 0, () => checkBlock(block, 0, block.length))
    return block
  }

  /** The error for a block that the file did not give whole. */
  shortRead(ordinal: number, length: number): KvError {
    const offset = this.blockOffset(ordinal)
    const size = this.storedSize(ordinal)
    return shortRead(this.file, offset, size, length, 'the file ends inside a block')
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Keeps the file open until `release`, even through `close`. Requires that it is open. */
  retain(): void {
    assert(this.#holderCount > 0, 'a closed table is not retained')
    this.#holderCount++
  }

  release(): void {
    assert(this.#holderCount > 0, 'a table is released once for each time it was retained')
    this.#holderCount--
    if (this.#holderCount > 0) return
    this.file.closeSync()
    this.#lent?.release()
  }

  /** Lets the file close as soon as nobody retains the reader. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.release()
  }
}

/** As SstableReader.verifyBlock, of a block that stands at `offset` of `file`. */
export function verifyStoredBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
  hasher: Hasher,
): Uint8Array | undefined {
  const codec = openSealedBlock(bytes, start, end, file, offset, hasher)
  const dataEnd = end - BLOCK_TRAILER_SIZE
  if (codec === BlockCodec.none) {
    located(file.path, offset, start, () => checkBlock(bytes, start, dataEnd))
    return undefined
  }
  const block = decompressBlock(codec, bytes, start, dataEnd, file, offset)
  located(file.path, offset, 0, () => checkBlock(block, 0, block.length))
  return block
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
