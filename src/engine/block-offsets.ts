/**
 * What of a table's index (format: block-index.ts) somebody needs who reads the table from front
 * to back: where its blocks stand. The rest is checked as for a table that will be searched.
 */
import { ByteReader, compareRanges, DecodeError } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import type { BufferPool } from './buffer-pool.ts'

/** The least bytes that an entry takes, to bound what a block count may claim. */
const ENTRY_SIZE_MIN = 4

/** Throws DecodeError when the index, all of the reader, cannot have so many entries. */
export function readBlockCount(reader: ByteReader, start: number): number {
  const size = reader.remaining
  const count = reader.uint32()
  if (count <= reader.remaining / (ENTRY_SIZE_MIN - 1)) return count
  throw new DecodeError(`an index of ${size} bytes has no ${count} entries`, start)
}

export class BlockOffsets {
  readonly blockCount: number
  /** As BlockIndex.offsets, in a lent buffer. */
  readonly offsets: Float64Array
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #buffers: BufferPool

  private constructor(blockCount: number, buffers: BufferPool) {
    const size = (blockCount + 1) * Float64Array.BYTES_PER_ELEMENT
    this.#bytes = buffers.take(size)
    this.#buffers = buffers
    this.blockCount = blockCount
    this.offsets = new Float64Array(this.#bytes.buffer, 0, blockCount + 1)
  }

  /** Reads an index out of `bytes[start, end)`. Throws DecodeError when it is malformed. */
  static decode(bytes: Uint8Array, start: number, end: number, buffers: BufferPool): BlockOffsets {
    const reader = new ByteReader(bytes, start, end)
    const index = new BlockOffsets(readBlockCount(reader, start), buffers)
    const key = buffers.take(KEY_SIZE_MAX)
    try {
      index.#read(reader, bytes, key)
      return index
    } catch (error) {
      index.release()
      throw error
    } finally {
      buffers.giveBack(key)
    }
  }

  get memorySize(): number {
    return this.#bytes.length
  }

  /** Gives the buffer back; nobody uses the offsets after it. */
  release(): void {
    this.#buffers.giveBack(this.#bytes)
  }

  /** Assembles one separator after another in `key`. */
  #read(reader: ByteReader, bytes: Uint8Array, key: Uint8Array): void {
    const { offsets, blockCount } = this
    let keyLength = 0
    offsets[0] = 0
    for (let block = 0; block < blockCount; block++) {
      offsets[block + 1] = offsets[block]! + reader.varint()
      const shared = reader.varint()
      const restLength = reader.varint()
      const rest = reader.skip(restLength)
      const length = shared + restLength
      if (shared > keyLength || length > KEY_SIZE_MAX || length < 1) {
        throw new DecodeError('a separator shares more than there is', rest)
      }
      if (compareRanges(key, shared, keyLength, bytes, rest, rest + restLength) > 0) {
        throw new DecodeError('separators ascend', rest)
      }
      for (let at = 0; at < restLength; at++) key[shared + at] = bytes[rest + at]!
      keyLength = length
    }
    reader.expectEnd()
  }
}
