/**
 * The index of an SSTable: for each data block its size and a key that ends it. Written by
 * block-index-builder.ts.
 *
 *   index := block count u32 | entry …
 *   entry := stored size varint | shared varint | rest length varint | rest
 *
 * An entry's separator is the first `shared` bytes of the separator before it, then `rest`. The
 * separator of a block is at least its last key, and less than the first key of the next block
 * unless both are versions of one key; the last separator is the key of the last entry. Blocks
 * follow each other from offset 0, and a stored size includes the trailer, so offsets are sums. A
 * table of range tombstones alone has no blocks.
 *
 * In memory the separators lose the prefix that all share. The next six bytes of each stand as one
 * number in an array, so that a search compares numbers that lie together and rarely looks at keys.
 */
import { ByteReader, compareRanges, DecodeError } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { readBlockCount } from './block-offsets.ts'

/** Fewer blocks are searched without guessing. */
const GUESS_RANGE_MIN = 64
/** Blocks around the first guess among which the key is looked for next. */
const GUESS_REACH = 128

export class BlockIndex {
  readonly blockCount: number
  /** Offset of each block in the file, and of the first byte behind the last. */
  readonly offsets: Float64Array
  readonly #heads: Float64Array
  /** Separators without what all share, one behind the other, and where each starts. */
  readonly #keys: Uint8Array
  readonly #starts: Uint32Array
  /** What all separators begin with. */
  readonly #shared: Uint8Array

  private constructor(
    offsets: Float64Array,
    keys: Uint8Array,
    starts: Uint32Array,
    shared: Uint8Array,
  ) {
    this.blockCount = offsets.length - 1
    this.offsets = offsets
    this.#keys = keys
    this.#starts = starts
    this.#shared = shared
    this.#heads = new Float64Array(this.blockCount)
    for (let block = 0; block < this.blockCount; block++) {
      this.#heads[block] = keyHead(keys, starts[block]!, starts[block + 1]!)
    }
  }

  /** Reads an index out of `bytes[start, end)`. Throws DecodeError when it is malformed. */
  static decode(bytes: Uint8Array, start: number, end: number): BlockIndex {
    const reader = new ByteReader(bytes, start, end)
    const count = readBlockCount(reader, start)
    const offsets = new Float64Array(count + 1)
    const ends = new Uint32Array(count)
    let keys = new Uint8Array((end - start) * 2)
    let previousStart = 0
    let previousEnd = 0
    // Loops instead of views and copies: a table has thousands of separators of a few bytes.
    for (let block = 0; block < count; block++) {
      offsets[block + 1] = offsets[block]! + reader.varint()
      const shared = reader.varint()
      const restLength = reader.varint()
      const rest = reader.skip(restLength)
      const length = shared + restLength
      if (shared > previousEnd - previousStart || length > KEY_SIZE_MAX || length < 1) {
        throw new DecodeError('a separator shares more than there is', rest)
      }
      const keyEnd = previousEnd + length
      if (keyEnd > keys.length) keys = grown(keys, keyEnd)
      const restStart = previousEnd + shared
      copyShort(keys, previousStart, keys, previousEnd, shared)
      copyShort(bytes, rest, keys, restStart, restLength)
      if (compareRanges(keys, previousStart + shared, previousEnd, keys, restStart, keyEnd) > 0) {
        throw new DecodeError('separators ascend', rest)
      }
      previousStart = previousEnd
      previousEnd = keyEnd
      ends[block] = keyEnd
    }
    reader.expectEnd()
    return new BlockIndex(offsets, ...withoutShared(keys, ends))
  }

  get memorySize(): number {
    return (
      this.offsets.byteLength +
      this.#heads.byteLength +
      this.#keys.byteLength +
      this.#starts.byteLength +
      this.#shared.byteLength
    )
  }

  /** The separator of a block, in a buffer of its own. */
  separator(block: number): Uint8Array {
    const [start, end] = [this.#starts[block]!, this.#starts[block + 1]!]
    const key = new Uint8Array(this.#shared.length + end - start)
    key.set(this.#shared)
    key.set(this.#keys.subarray(start, end), this.#shared.length)
    return key
  }

  /** The first block whose separator is at or after the key; blockCount when there is none. */
  find(key: Uint8Array, keyStart: number, keyEnd: number): number {
    const shared = this.#shared
    const sharedLength = shared.length
    const keyLength = keyEnd - keyStart
    for (let index = 0; index < sharedLength; index++) {
      if (index === keyLength) return 0
      const difference = shared[index]! - key[keyStart + index]!
      if (difference !== 0) return difference > 0 ? 0 : this.blockCount
    }
    const restStart = keyStart + sharedLength
    const head = keyHead(key, restStart, keyEnd)
    const low = this.#firstAtOrAbove(head)
    if (low === this.blockCount || this.#heads[low] !== head) return low
    return this.#findAmongEqual(low, head, key, restStart, keyEnd)
  }

  /**
   * The first block whose head is at or above `head`; blockCount when none is. Where keys are
   * spread evenly two guesses leave a few blocks of thousands (interpolation search, Peterson
   * 1957): 100 ns instead of 150 for 8,000 blocks, and 170 where every guess is bad.
   */
  #firstAtOrAbove(head: number): number {
    const heads = this.#heads
    let low = 0
    let high = this.blockCount
    for (let guesses = 2; guesses > 0 && high - low > GUESS_RANGE_MIN; guesses--) {
      const first = heads[low]!
      const last = heads[high - 1]!
      if (head <= first || head > last) break
      const guess = low + Math.floor(((head - first) / (last - first)) * (high - 1 - low))
      const reach = guesses === 2 ? GUESS_REACH : GUESS_REACH >>> 3
      if (heads[guess]! < head) {
        low = guess + 1
        const limit = guess + reach
        if (limit < high && heads[limit]! >= head) high = limit + 1
      } else {
        high = guess + 1
        const limit = guess - reach
        if (limit >= low && heads[limit]! < head) low = limit + 1
      }
    }
    while (low < high) {
      const middle = (low + high) >>> 1
      if (heads[middle]! < head) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Continues `find` from the first separator whose head is `head`. */
  #findAmongEqual(
    first: number,
    head: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
  ): number {
    const keys = this.#keys
    const starts = this.#starts
    let low = first
    let high = this.blockCount
    while (low < high) {
      const middle = (low + high) >>> 1
      const difference =
        this.#heads[middle]! - head ||
        compareRanges(keys, starts[middle]!, starts[middle + 1]!, key, keyStart, keyEnd)
      if (difference < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The first six bytes of a key as a number that sorts like them; short keys end in zeros. */
function keyHead(key: Uint8Array, start: number, end: number): number {
  if (end - start >= 6) {
    return (
      ((key[start]! << 16) | (key[start + 1]! << 8) | key[start + 2]!) * 0x100_0000 +
      ((key[start + 3]! << 16) | (key[start + 4]! << 8) | key[start + 5]!)
    )
  }
  let head = 0
  for (let index = start; index < start + 6; index++) {
    head = head * 256 + (index < end ? key[index]! : 0)
  }
  return head
}

function grown(bytes: Uint8Array, sizeMin: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(bytes.length * 2, sizeMin))
  larger.set(bytes)
  return larger
}

function copyShort(
  source: Uint8Array,
  from: number,
  target: Uint8Array,
  to: number,
  length: number,
): void {
  for (let index = 0; index < length; index++) target[to + index] = source[from + index]!
}

/** Cuts what the first and the last key share off all keys: as they ascend, all share it. */
function withoutShared(
  keys: Uint8Array,
  ends: Uint32Array,
): [keys: Uint8Array, starts: Uint32Array, shared: Uint8Array] {
  const count = ends.length
  if (count === 0) return [new Uint8Array(0), new Uint32Array(1), new Uint8Array(0)]
  const size = ends[count - 1]!
  const lastStart = count === 1 ? 0 : ends[count - 2]!
  const sharedMax = Math.min(ends[0]!, size - lastStart)
  let shared = 0
  while (shared < sharedMax && keys[shared] === keys[lastStart + shared]) shared++
  const cut = new Uint8Array(size - count * shared)
  const starts = new Uint32Array(count + 1)
  let from = 0
  for (let index = 0; index < count; index++) {
    const to = ends[index]!
    copyShort(keys, from + shared, cut, starts[index]!, to - from - shared)
    starts[index + 1] = starts[index]! + to - from - shared
    from = to
  }
  return [cut, starts, keys.slice(0, shared)]
}
