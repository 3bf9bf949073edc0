/**
 * Finds stored blocks in a table whose index is lost. A stored block does not say how long it is,
 * but ends with a codec and a checksum that knows where the block begins: the end is where the
 * checksum fits. Right behind a block the next one begins; behind damage every byte may.
 *
 * A byte that may be a codec is one in 85, so a block of 4 KiB takes some fifty looks at the hash.
 */
import type { Hasher } from '../hash.ts'
import { VALUE_SIZE_MAX } from '../key-value-store.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec, checksumSeed } from './block-codec.ts'
import {
  BLOCK_HEADER_SIZE,
  DELTA_WIDTH_MAX,
  DELTA_WIDTH_OFFSET,
  RECORD_SIZE,
  readUintLe,
  SHARED_BLOCK_SIZE_MAX,
  VALUES_START_OFFSET,
} from './block-format.ts'
import type { File } from './file-system.ts'
import { shortRead } from './short-read.ts'
import type { BlockHandle } from './sstable-format.ts'

/** Bytes of a stored block of several entries. */
const SIZE_MAX = SHARED_BLOCK_SIZE_MAX + BLOCK_TRAILER_SIZE
/** Bytes of one with a single large entry, which only a good place to begin is searched for. */
const SINGLE_SIZE_MAX = VALUE_SIZE_MAX + SIZE_MAX + SIZE_MAX
const SIZE_MIN = 1 + BLOCK_TRAILER_SIZE
const WINDOW_SIZE = 4 * SIZE_MAX
const CODEC_MAX = Math.max(...Object.values(BlockCodec))

export class BlockSearch {
  readonly #file: File
  readonly #fileNumber: number
  readonly #hasher: Hasher
  readonly #end: number
  /** The file's bytes [base, base + length). */
  #window = new Uint8Array(0)
  #base = 0

  /** Searches `file[0, end)`. */
  constructor(file: File, fileNumber: number, hasher: Hasher, end: number) {
    this.#file = file
    this.#fileNumber = fileNumber
    this.#hasher = hasher
    this.#end = end
  }

  /** The next block at or behind `offset`; undefined when there is none. */
  next(offset: number): BlockHandle | undefined {
    const trusted = this.#at(offset, this.#reach(offset))
    if (trusted !== undefined) return trusted
    for (let start = offset + 1; start + SIZE_MIN <= this.#end; start++) {
      const found = this.#isPlausible(start) ? this.#at(start, SIZE_MAX) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }

  /** How long a block that begins here may be. */
  #reach(offset: number): number {
    this.#load(offset, BLOCK_HEADER_SIZE)
    const at = offset - this.#base
    const isSingle = this.#window[at] === 1 && this.#window[at + 1] === 0
    return isSingle ? SINGLE_SIZE_MAX : SIZE_MAX
  }

  /** Whether a block of several entries may begin here, going by its first bytes. */
  #isPlausible(offset: number): boolean {
    if (offset + BLOCK_HEADER_SIZE > this.#end) return false
    this.#load(offset, BLOCK_HEADER_SIZE)
    const at = offset - this.#base
    const bytes = this.#window
    // A compressed one begins with its size, and range tombstones with their count.
    const size = readUintLe(bytes, at, 4)
    if (size >= 1 && size <= SHARED_BLOCK_SIZE_MAX) return true
    const count = readUintLe(bytes, at, 2)
    const width = bytes[at + DELTA_WIDTH_OFFSET]!
    const valuesStart = readUintLe(bytes, at + VALUES_START_OFFSET, 4)
    const least = BLOCK_HEADER_SIZE + count * (1 + RECORD_SIZE + width)
    return count >= 1 && width <= DELTA_WIDTH_MAX && valuesStart >= least && valuesStart <= SIZE_MAX
  }

  /** The block at `start` of up to `sizeMax` bytes, or undefined when none begins there. */
  #at(start: number, sizeMax: number): BlockHandle | undefined {
    const limit = Math.min(sizeMax, this.#end - start)
    const stream = this.#hasher.stream32(checksumSeed(this.#fileNumber, start))
    let hashed = 0
    for (let reach = Math.min(SIZE_MAX, limit); ; reach = Math.min(reach * 2, limit)) {
      this.#load(start, reach)
      const bytes = this.#window
      const base = start - this.#base
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      // `last` is the place of the codec: the last byte that the checksum covers.
      for (let last = Math.max(1, hashed); last + BLOCK_TRAILER_SIZE <= reach; last++) {
        const codec = bytes[base + last]!
        if (codec < 1 || codec > CODEC_MAX) continue
        stream.update(bytes, base + hashed, base + last + 1)
        hashed = last + 1
        if (stream.digest() === view.getUint32(base + hashed, true)) {
          return { offset: start, size: last + BLOCK_TRAILER_SIZE }
        }
      }
      if (reach === limit) return undefined
    }
  }

  /** Makes the window hold `file[offset, offset + length)`, as far as the file goes. */
  #load(offset: number, length: number): void {
    const wanted = Math.min(length, this.#end - offset)
    const isThere = offset >= this.#base && offset + wanted <= this.#base + this.#window.length
    if (isThere) return
    const size = Math.min(Math.max(WINDOW_SIZE, wanted), this.#end - offset)
    const bytes = new Uint8Array(size)
    const count = this.#file.readSync(bytes, 0, size, offset)
    if (count !== size) throw shortRead(this.#file, offset, size, count, 'the file ends too early')
    this.#window = bytes
    this.#base = offset
  }
}
