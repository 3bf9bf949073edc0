/**
 * Writes one SSTable (format: sstable-format.ts) with synchronous file calls, on a worker thread.
 *
 * Invariants:
 *  1. Entries arrive in internal order, each once.
 *  2. The file is written front to back in pieces of 1 MiB, each followed by a sync: many short
 *     syncs disturb the foreground's less than one long one at the end.
 *  3. finish() reports a table only after it was synced, opened again like any other table, and
 *     found to hold what was added. The caller syncs the directory.
 */
import { assert } from '../assert.ts'
import { compareBytes, compareRanges } from '../bytes.ts'
import { type Hasher, type HashStream, xxh32 } from '../hash.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { BlockBuilder } from './block-builder.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec, sealBlock } from './block-codec.ts'
import { CompressionTrials, compressBlock } from './block-compression.ts'
import { BlockIndexBuilder, writeSeparator } from './block-index-builder.ts'
import { bloomFilterSize, buildBloomFilter } from './bloom-filter.ts'
import { BufferPool } from './buffer-pool.ts'
import { formatFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import { EntryKind, readExpiry } from './internal-key.ts'
import type { TableOptions } from './job.ts'
import { lastKeyBefore, NO_FRAGMENTS, type RangeFragments } from './range-fragment.ts'
import { encodeRangeTombstones } from './range-tombstone-format.ts'
import { type BlockHandle, encodeFooter, encodeProperties } from './sstable-format.ts'
import { SstableReader } from './sstable-reader.ts'
import type { TableMetadata } from './table-metadata.ts'

const PIECE_SIZE = 1024 * 1024
/** The buffer starts so small and doubles: most tables of a small database never fill a piece. */
const PIECE_SIZE_START = 64 * 1024
const HASHES_PER_PIECE = 16 * 1024
const NO_SECTION: BlockHandle = { offset: 0, size: 0 }

export class SstableWriter {
  readonly fileNumber: number
  readonly #file: File
  readonly #options: TableOptions
  readonly #hasher: Hasher
  readonly #block: BlockBuilder
  readonly #index: BlockIndexBuilder
  readonly #trials = new CompressionTrials()
  readonly #buffers: BufferPool
  #piece: Uint8Array<ArrayBuffer>
  readonly #fileChecksum: HashStream
  #pieceSize = 0
  /** Bytes handed to the file. */
  #written = 0
  /** Stored size of a block whose separator waits for the next key; 0 for none. */
  #unindexedSize = 0
  /** Hashes of the keys for the filter, in pieces: one that doubles would leave its halves. */
  readonly #hashPieces: Uint8Array<ArrayBuffer>[] = []
  readonly #hashes: Uint32Array[] = []
  #hashCount = 0
  readonly #lastKey: Uint8Array<ArrayBuffer>
  #lastKeyLength = 0
  #lastSequence = 0
  readonly #separator: Uint8Array<ArrayBuffer>
  #smallestKey = new Uint8Array(0)
  #smallestSequence = Number.POSITIVE_INFINITY
  #largestSequence = 0
  #entryCount = 0
  #tombstoneCount = 0
  #expiringCount = 0
  #expiryMax = 0
  #rawSize = 0
  /** Whether the buffers went back. */
  #isOver = false

  /** Creates the file of table `fileNumber` in `directory`. `buffers` are lent until the end. */
  constructor(
    fileSystem: FileSystem,
    directory: string,
    fileNumber: number,
    options: TableOptions,
    hasher: Hasher,
    buffers: BufferPool = new BufferPool(0),
  ) {
    this.fileNumber = fileNumber
    this.#options = options
    this.#hasher = hasher
    this.#fileChecksum = hasher.stream32(0)
    this.#block = new BlockBuilder(options.blockSize - BLOCK_TRAILER_SIZE)
    this.#file = fileSystem.createSync(joinPath(directory, formatFileName('table', fileNumber)))
    this.#buffers = buffers
    this.#index = new BlockIndexBuilder(buffers)
    this.#piece = buffers.take(PIECE_SIZE_START)
    this.#lastKey = buffers.take(KEY_SIZE_MAX)
    this.#separator = buffers.take(KEY_SIZE_MAX)
  }

  get entryCount(): number {
    return this.#entryCount
  }

  /** The key of the last entry, in a buffer of its own. */
  get lastKey(): Uint8Array {
    return this.#lastKey.slice(0, this.#lastKeyLength)
  }

  /** Bytes of finished blocks. */
  get size(): number {
    return this.#written + this.#pieceSize
  }

  /** Requires an entry behind the last one in internal order, of a kind that tables hold. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const order =
      this.#entryCount === 0
        ? -1
        : compareRanges(this.#lastKey, 0, this.#lastKeyLength, key, keyStart, keyEnd)
    assert(
      order < 0 || (order === 0 && sequence < this.#lastSequence),
      'entries are added in internal order',
    )
    const hash = xxh32(key, keyStart, keyEnd, 0)
    if (order !== 0) this.#addHash(hash)
    if (this.#unindexedSize > 0) this.#indexBlock(key, keyStart, keyEnd)
    const block = this.#block
    const print = hash & 0xff
    if (!block.tryAdd(print, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)) {
      if (block.count > 0) {
        block.finish()
        this.#storeBlock()
        this.#indexBlock(key, keyStart, keyEnd)
      }
      const fits = block.tryAdd(
        print,
        key,
        keyStart,
        keyEnd,
        sequence,
        kind,
        value,
        valueStart,
        valueEnd,
      )
      if (!fits) {
        block.buildAlone(print, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
        this.#storeBlock()
      }
    }
    for (let at = 0, from = keyStart; from < keyEnd; at++, from++) this.#lastKey[at] = key[from]!
    this.#lastKeyLength = keyEnd - keyStart
    this.#lastSequence = sequence
    this.#count(kind, sequence, keyEnd - keyStart, value, valueStart, valueEnd)
  }

  /**
   * Completes, syncs, verifies and closes the file. Requires at least one entry or range tombstone.
   */
  finish(ranges: RangeFragments = NO_FRAGMENTS): TableMetadata {
    assert(this.#entryCount > 0 || ranges.length > 0, 'an empty table is not written')
    if (this.#block.count > 0) {
      this.#block.finish()
      this.#storeBlock()
    }
    if (this.#unindexedSize > 0) {
      this.#index.add(this.#unindexedSize, this.lastKey)
      this.#unindexedSize = 0
    }
    const counts = this.#counts(ranges)
    const filter = this.#storeFilter()
    const index = this.#storeSection(this.#index.finish())
    const rangeSection =
      ranges.length === 0 ? NO_SECTION : this.#storeSection(encodeRangeTombstones(ranges))
    const properties = this.#storeSection(
      encodeProperties({ ...counts, blockCount: this.#index.count }),
    )
    const { fileNumber } = this
    const footer = { filter, index, ranges: rangeSection, properties, fileNumber }
    const encodedFooter = encodeFooter(footer, this.size, this.#hasher)
    this.#append(encodedFooter, encodedFooter.length)
    this.#writePiece()
    const metadata = {
      fileNumber: this.fileNumber,
      size: this.#written,
      ...counts,
      fileChecksum: this.#fileChecksum.digest(),
    }
    this.#giveBuffersBack()
    const options = { buffers: this.#buffers, scanOnly: true }
    SstableReader.openSync(this.#file, metadata, this.#hasher, options).close()
    return metadata
  }

  /** Closes the file as it is, for the caller to remove, unless it is complete. Idempotent. */
  abandon(): void {
    this.#file.closeSync()
    this.#giveBuffersBack()
  }

  /** Nothing is added after it. Idempotent. */
  #giveBuffersBack(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#index.giveBuffersBack()
    for (const bytes of [this.#piece, ...this.#hashPieces, this.#lastKey, this.#separator]) {
      this.#buffers.giveBack(bytes)
    }
  }

  /** What the properties and the MANIFEST say of the table. */
  #counts(ranges: RangeFragments) {
    let smallestKey = this.#smallestKey
    let largestKey = this.lastKey
    let smallestSequence = this.#smallestSequence
    let largestSequence = this.#largestSequence
    const [first, last] = [ranges[0], ranges.at(-1)]
    if (first !== undefined && last !== undefined) {
      const rangesEnd = lastKeyBefore(last.end)
      const isEmpty = this.#entryCount === 0
      if (isEmpty || compareBytes(first.start, smallestKey) < 0) smallestKey = first.start.slice()
      if (isEmpty || compareBytes(rangesEnd, largestKey) > 0) largestKey = rangesEnd.slice()
    }
    for (const { sequences } of ranges) {
      largestSequence = Math.max(largestSequence, sequences[0]!)
      smallestSequence = Math.min(smallestSequence, sequences.at(-1)!)
    }
    return {
      smallestKey,
      largestKey,
      smallestSequence,
      largestSequence,
      entryCount: this.#entryCount,
      tombstoneCount: this.#tombstoneCount,
      rangeTombstoneCount: ranges.length,
      expiringCount: this.#expiringCount,
      expiryMax: this.#expiryMax,
      rawSize: this.#rawSize,
    }
  }

  #storeFilter(): BlockHandle {
    const { filterBitsPerKey } = this.#options
    if (filterBitsPerKey === 0 || this.#hashCount === 0) return NO_SECTION
    const size = bloomFilterSize(this.#hashCount, filterBitsPerKey)
    const bytes = this.#buffers.take(size)
    const filter = bytes.subarray(0, size)
    const handle = this.#storeSection(
      buildBloomFilter(this.#hashes, this.#hashCount, filterBitsPerKey, filter),
    )
    this.#buffers.giveBack(bytes)
    return handle
  }

  #addHash(hash: number): void {
    if (this.#options.filterBitsPerKey === 0) return
    const at = this.#hashCount % HASHES_PER_PIECE
    if (at === 0) {
      const piece = this.#buffers.take(HASHES_PER_PIECE * Uint32Array.BYTES_PER_ELEMENT)
      this.#hashPieces.push(piece)
      this.#hashes.push(new Uint32Array(piece.buffer, 0, HASHES_PER_PIECE))
    }
    this.#hashes.at(-1)![at] = hash
    this.#hashCount++
  }

  #count(
    kind: number,
    sequence: number,
    keyLength: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    if (this.#entryCount === 0) this.#smallestKey = this.#lastKey.slice(0, keyLength)
    this.#entryCount++
    this.#rawSize += keyLength + valueEnd - valueStart
    if (sequence < this.#smallestSequence) this.#smallestSequence = sequence
    if (sequence > this.#largestSequence) this.#largestSequence = sequence
    if (kind === EntryKind.put) return
    if (kind === EntryKind.delete) {
      this.#tombstoneCount++
      return
    }
    assert(kind === EntryKind.putExpiring, 'tables hold puts, deletes and expiring puts')
    const expiry = readExpiry(value, valueStart)
    this.#expiringCount++
    if (expiry > this.#expiryMax) this.#expiryMax = expiry
  }

  /** Stores the block that the builder just made; it is indexed when the next key is known. */
  #storeBlock(): void {
    const block = this.#block
    const { codec = BlockCodec.none } = this.#options
    const compressed = this.#compress(codec)
    this.#unindexedSize =
      compressed === undefined
        ? this.#store(block.bytes, block.size, BlockCodec.none)
        : this.#store(compressed, compressed.length, codec)
    block.shrink()
  }

  #compress(codec: BlockCodec): Uint8Array | undefined {
    if (codec === BlockCodec.none || !this.#trials.shouldTry()) return undefined
    const { bytes, size } = this.#block
    const compressed = compressBlock(bytes.subarray(0, size), codec)
    this.#trials.tried(compressed !== undefined)
    return compressed
  }

  #indexBlock(nextKey: Uint8Array, nextStart: number, nextEnd: number): void {
    const length = writeSeparator(
      this.#lastKey,
      this.#lastKeyLength,
      nextKey,
      nextStart,
      nextEnd,
      this.#separator,
    )
    this.#index.add(this.#unindexedSize, this.#separator.subarray(0, length))
    this.#unindexedSize = 0
  }

  #storeSection(data: Uint8Array): BlockHandle {
    const offset = this.size
    return { offset, size: this.#store(data, data.length, BlockCodec.none) }
  }

  /** Appends `data[0, size)` with its trailer and returns their size together. */
  #store(data: Uint8Array, size: number, codec: BlockCodec): number {
    const storedSize = size + BLOCK_TRAILER_SIZE
    if (this.#pieceSize + storedSize <= PIECE_SIZE) {
      // The usual case: sealed in place, without another copy.
      const start = this.#pieceSize
      this.#reserve(start + storedSize)
      this.#piece.set(data.subarray(0, size), start)
      sealBlock(this.#piece, start, start + size, codec, this.fileNumber, this.size, this.#hasher)
      this.#pieceSize += storedSize
      return storedSize
    }
    const stored = this.#buffers.take(storedSize)
    stored.set(data.subarray(0, size))
    sealBlock(stored, 0, size, codec, this.fileNumber, this.size, this.#hasher)
    this.#append(stored, storedSize)
    this.#buffers.giveBack(stored)
    return storedSize
  }

  #append(bytes: Uint8Array, size: number): void {
    for (let from = 0; from < size; ) {
      const length = Math.min(size - from, PIECE_SIZE - this.#pieceSize)
      this.#reserve(this.#pieceSize + length)
      this.#piece.set(bytes.subarray(from, from + length), this.#pieceSize)
      this.#pieceSize += length
      from += length
      if (this.#pieceSize === PIECE_SIZE) this.#writePiece()
    }
  }

  /** Makes the buffer at least so large. Requires that `size` is at most PIECE_SIZE. */
  #reserve(size: number): void {
    if (size <= this.#piece.length) return
    this.#piece = this.#buffers.enlarge(this.#piece, size)
  }

  #writePiece(): void {
    if (this.#pieceSize === 0) return
    this.#file.writeSync(this.#piece, 0, this.#pieceSize, this.#written)
    this.#file.syncSync()
    this.#fileChecksum.update(this.#piece, 0, this.#pieceSize)
    this.#written += this.#pieceSize
    this.#pieceSize = 0
  }
}
