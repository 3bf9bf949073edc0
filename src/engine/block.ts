/**
 * Reading a data block (layout: block-format.ts). The functions take the block as a range of a
 * bigger buffer, which passed checkBlock, and allocate nothing.
 */
import {
  BASE_SEQUENCE_OFFSET,
  BLOCK_HEADER_SIZE,
  DELTA_WIDTH_MAX,
  DELTA_WIDTH_OFFSET,
  PREFIX_LENGTH_OFFSET,
  RECORD_KIND_OFFSET,
  RECORD_SIZE,
  RECORD_VALUE_OFFSET,
  readPlace,
  readUintLe,
  VALUES_START_OFFSET,
} from './block-format.ts'
import type { EntryFields } from './entry-fields.ts'
import { NO_SEQUENCE } from './internal-key.ts'
import type { LookupResult } from './lookup-result.ts'

/** Room for most keys; longer ones make it grow. Up to 64 bytes are cheap to allocate. */
const SCRATCH_SIZE_START = 64
const NOTHING: Uint8Array = new Uint8Array(0)

/** What a search of one block for a key says. */
export const BlockAnswer = {
  /** The block would hold the key, and does not. */
  absent: 0,
  found: 1,
  /** Every version of the key here is too new, and older ones may open the next block. */
  continues: 2,
} as const
export type BlockAnswer = (typeof BlockAnswer)[keyof typeof BlockAnswer]

/**
 * Finds the newest version of the key at or below `maxSequence` in the block `bytes[start, end)`
 * and describes it in `result`, borrowing the block.
 */
export function findInBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  hash: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  maxSequence: number,
  result: LookupResult,
): BlockAnswer {
  const count = bytes[start]! | (bytes[start + 1]! << 8)
  const prefixLength = bytes[start + PREFIX_LENGTH_OFFSET]! | (bytes[start + 3]! << 8)
  const width = bytes[start + DELTA_WIDTH_OFFSET]!
  const stride = RECORD_SIZE + width
  const fingerprints = start + BLOCK_HEADER_SIZE
  const records = fingerprints + count
  const suffixes = records + count * stride + prefixLength
  const values = start + readPlace(bytes, start + VALUES_START_OFFSET)
  const suffixLength = keyEnd - keyStart - prefixLength
  if (suffixLength < 0) return BlockAnswer.absent
  const fingerprint = hash & 0xff
  let answer: BlockAnswer = BlockAnswer.absent
  for (let index = 0; index < count; index++) {
    if (bytes[fingerprints + index] !== fingerprint) continue
    const record = records + index * stride
    const from = suffixes + (bytes[record]! | (bytes[record + 1]! << 8))
    const isLast = index === count - 1
    const to = isLast
      ? values
      : suffixes + (bytes[record + stride]! | (bytes[record + stride + 1]! << 8))
    if (to - from !== suffixLength) continue
    // Backwards: keys of one block begin alike and differ at the end.
    let place = suffixLength - 1
    while (place >= 0 && bytes[from + place] === key[keyStart + prefixLength + place]) place--
    if (place >= 0) continue
    let at = prefixLength - 1
    while (at >= 0 && bytes[suffixes - prefixLength + at] === key[keyStart + at]) at--
    if (at >= 0) return BlockAnswer.absent
    const sequence =
      readUintLe(bytes, start + BASE_SEQUENCE_OFFSET, DELTA_WIDTH_MAX) +
      readUintLe(bytes, record + RECORD_SIZE, width)
    if (sequence > maxSequence) {
      if (isLast) answer = BlockAnswer.continues
      continue
    }
    result.kind = bytes[record + RECORD_KIND_OFFSET]!
    result.sequence = sequence
    result.valueBytes = bytes
    result.valueStart =
      values +
      (bytes[record + RECORD_VALUE_OFFSET]! | (bytes[record + RECORD_VALUE_OFFSET + 1]! << 8))
    result.valueEnd = isLast
      ? end
      : values +
        (bytes[record + stride + RECORD_VALUE_OFFSET]! |
          (bytes[record + stride + RECORD_VALUE_OFFSET + 1]! << 8))
    return BlockAnswer.found
  }
  return answer
}

/** Reads the entries of one block after another by number. table-cursor.ts makes a Cursor of it. */
export class BlockReader {
  /** Entries of the block; 0 before the first `open`. */
  count = 0
  #bytes = NOTHING
  #end = 0
  #prefixLength = 0
  #width = 0
  #stride = 0
  #records = 0
  #suffixes = 0
  #values = 0
  #base = NO_SEQUENCE
  /** Assembles keys. Its first bytes are the prefix of the block at hand. */
  #scratch = new Uint8Array(SCRATCH_SIZE_START)

  /** Takes up the block `bytes[start, end)`, which it borrows. */
  open(bytes: Uint8Array, start: number, end: number): void {
    const count = bytes[start]! | (bytes[start + 1]! << 8)
    const prefixLength = readUintLe(bytes, start + PREFIX_LENGTH_OFFSET, 2)
    this.count = count
    this.#bytes = bytes
    this.#end = end
    this.#prefixLength = prefixLength
    this.#width = bytes[start + DELTA_WIDTH_OFFSET]!
    this.#stride = RECORD_SIZE + this.#width
    this.#records = start + BLOCK_HEADER_SIZE + count
    this.#suffixes = this.#records + count * this.#stride + prefixLength
    this.#values = start + readPlace(bytes, start + VALUES_START_OFFSET)
    this.#base = readUintLe(bytes, start + BASE_SEQUENCE_OFFSET, DELTA_WIDTH_MAX)
    if (prefixLength > this.#scratch.length) this.#growScratch(prefixLength)
    const scratch = this.#scratch
    const prefix = this.#suffixes - prefixLength
    for (let index = 0; index < prefixLength; index++) scratch[index] = bytes[prefix + index]!
  }

  /**
   * Describes the entry at `index` in `target`, borrowing the block and, for a key with a shared
   * prefix, a buffer of this reader. Requires 0 <= index < count.
   */
  show(index: number, target: EntryFields): void {
    const bytes = this.#bytes
    const record = this.#records + index * this.#stride
    const isLast = index === this.count - 1
    const next = record + this.#stride
    const from = this.#suffixes + (bytes[record]! | (bytes[record + 1]! << 8))
    const to = isLast ? this.#values : this.#suffixes + (bytes[next]! | (bytes[next + 1]! << 8))
    const prefixLength = this.#prefixLength
    if (prefixLength === 0) {
      target.keyBytes = bytes
      target.keyStart = from
      target.keyEnd = to
    } else {
      const keyEnd = prefixLength + to - from
      if (keyEnd > this.#scratch.length) this.#growScratch(keyEnd)
      const scratch = this.#scratch
      for (let place = prefixLength, source = from; source < to; place++, source++) {
        scratch[place] = bytes[source]!
      }
      target.keyBytes = scratch
      target.keyStart = 0
      target.keyEnd = keyEnd
    }
    target.kind = bytes[record + RECORD_KIND_OFFSET]!
    target.sequence = this.#base + readUintLe(bytes, record + RECORD_SIZE, this.#width)
    target.valueBytes = bytes
    target.valueStart = this.#values + (bytes[record + 2]! | (bytes[record + 3]! << 8))
    target.valueEnd = isLast
      ? this.#end
      : this.#values + (bytes[next + 2]! | (bytes[next + 3]! << 8))
  }

  /** The number of the first entry at or after (key, sequence); count when there is none. */
  seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): number {
    const bytes = this.#bytes
    const prefixLength = this.#prefixLength
    const prefix = this.#suffixes - prefixLength
    const keyLength = keyEnd - keyStart
    for (let index = 0; index < prefixLength; index++) {
      if (index === keyLength) return 0
      const difference = bytes[prefix + index]! - key[keyStart + index]!
      if (difference !== 0) return difference > 0 ? 0 : this.count
    }
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#isBefore(middle, key, keyStart + prefixLength, keyEnd, sequence)) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Whether the entry stands before (key, sequence), the key given without the block's prefix. */
  #isBefore(
    index: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
  ): boolean {
    const bytes = this.#bytes
    const record = this.#records + index * this.#stride
    const next = record + this.#stride
    const from = this.#suffixes + (bytes[record]! | (bytes[record + 1]! << 8))
    const to =
      index === this.count - 1
        ? this.#values
        : this.#suffixes + (bytes[next]! | (bytes[next + 1]! << 8))
    const length = to - from
    const wanted = keyEnd - keyStart
    const shared = length < wanted ? length : wanted
    for (let place = 0; place < shared; place++) {
      const difference = bytes[from + place]! - key[keyStart + place]!
      if (difference !== 0) return difference < 0
    }
    if (length !== wanted) return length < wanted
    return this.#base + readUintLe(bytes, record + RECORD_SIZE, this.#width) > sequence
  }

  #growScratch(length: number): void {
    const grown = new Uint8Array(length * 2)
    grown.set(this.#scratch)
    this.#scratch = grown
  }
}
