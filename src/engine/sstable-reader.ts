/**
 * An open SSTable: its index and filter in memory, its blocks read on demand through a BlockSource.
 *
 * Invariants:
 *  1. Opening verified the footer, the checksum of every section, and that the table is the one
 *     the MANIFEST describes: number, size, counts, key range and sequences (sstable-sections.ts).
 *  2. The file stays open while the reader is retained; `close` takes effect at the last release.
 */
import { assert } from '../assert.ts'
import type { KvError } from '../errors.ts'
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
import type { BloomFilter } from './bloom-filter.ts'
import type { File } from './file-system.ts'
import type { LookupResult } from './lookup-result.ts'
import { fragmentsMemorySize, type RangeFragments } from './range-fragment.ts'
import { shortRead } from './short-read.ts'
import {
  located,
  type OpenOptions,
  readSections,
  readSectionsSync,
  type TableSections,
} from './sstable-sections.ts'
import type { TableMetadata } from './table-metadata.ts'

/** What the parts of a reader take that are not in typed arrays, roughly. */
const READER_OVERHEAD = 512
/** Absent from BlockSource's caches; see `slots`. */
export const NO_SLOT = -1

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
    { index, filter, ranges }: TableSections,
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
      return new SstableReader(
        file,
        metadata,
        hasher,
        readSectionsSync(file, metadata, hasher, options),
      )
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
      const sections = await readSections(file, metadata, hasher, options)
      return new SstableReader(file, metadata, hasher, sections)
    } catch (error) {
      file.closeSync()
      throw error
    }
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

  /**
   * A key that no entry of the block is behind, and all entries of the next one are, or versions of
   * it. Requires that the table is not only scanned.
   */
  separator(ordinal: number): Uint8Array {
    const index = this.#index
    assert(index !== undefined, 'a table that is only scanned has no separators')
    return index.separator(ordinal)
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
