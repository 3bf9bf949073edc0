/**
 * Bloom filter over 32-bit key hashes, blocked by cache lines (Putze, Sanders, Singler 2007): all
 * bits of a key stand in one line of 64 bytes, so a probe costs one cache miss instead of several.
 *
 *   filter := kind u8 (1) | probe count u8 | reserved u16 (0) | line[64 bytes] …
 *
 * The line of a key is floor(hash * line count / 2^32). Its bits come from m, the hash with its
 * high half mixed down: before each probe m := m * 0x9e3779b1 mod 2^32, the top nine bits of m are
 * the number of the bit, bit b being bit b mod 8 of byte floor(b / 8).
 *
 * At 10 bits a key with 6 probes about 1.1 % of the absent keys pass. The filter hash is the XXH32
 * (seed 0) of the user key; the caller computes it once for all tables it asks.
 */
import { assert } from '../assert.ts'
import { DecodeError } from '../bytes.ts'

const KIND_BLOCKED = 1
const HEADER_SIZE = 4
const LINE_SIZE = 64
const LINE_BITS = LINE_SIZE * 8
const PROBE_COUNT_MAX = 16
const STEP = 0x9e3779b1 | 0
const MIX = 0x85ebca77 | 0

function lineCountFor(count: number, bitsPerKey: number): number {
  return Math.max(1, Math.ceil((count * bitsPerKey) / LINE_BITS))
}

/** Bytes of the encoded filter of `count` hashes. */
export function bloomFilterSize(count: number, bitsPerKey: number): number {
  return HEADER_SIZE + lineCountFor(count, bitsPerKey) * LINE_SIZE
}

/**
 * The encoded filter of the first `count` hashes in `chunks`, made in `filter`. Requires
 * 1 <= bitsPerKey, and every chunk but the last one with hashes to be full.
 */
export function buildBloomFilter(
  chunks: readonly Uint32Array[],
  count: number,
  bitsPerKey: number,
  filter: Uint8Array = new Uint8Array(bloomFilterSize(count, bitsPerKey)),
): Uint8Array {
  assert(bitsPerKey >= 1, 'a filter has bits')
  assert(filter.length === bloomFilterSize(count, bitsPerKey), 'the filter fits its bytes')
  const lineCount = lineCountFor(count, bitsPerKey)
  // ln 2 probes a bit is best for an ideal filter; blocking makes slightly fewer the better choice.
  const probeCount = Math.min(PROBE_COUNT_MAX, Math.max(1, Math.round(bitsPerKey * 0.6)))
  filter.fill(0)
  filter[0] = KIND_BLOCKED
  filter[1] = probeCount
  let left = count
  for (const hashes of chunks) {
    const most = Math.min(left, hashes.length)
    addHashes(filter, lineCount, probeCount, hashes, most)
    left -= most
  }
  assert(left === 0, 'the hashes are in the chunks')
  return filter
}

function addHashes(
  filter: Uint8Array,
  lineCount: number,
  probeCount: number,
  hashes: Uint32Array,
  count: number,
): void {
  const scale = lineCount / 0x1_0000_0000
  for (let index = 0; index < count; index++) {
    const hash = hashes[index]!
    const line = HEADER_SIZE + Math.floor(hash * scale) * LINE_SIZE
    let mixed = Math.imul(hash ^ (hash >>> 16), MIX)
    for (let probe = 0; probe < probeCount; probe++) {
      mixed = Math.imul(mixed, STEP)
      const bit = mixed >>> 23
      const at = line + (bit >>> 3)
      filter[at] = filter[at]! | (1 << (bit & 7))
    }
  }
}

/** Answers whether a key may be in the set that the filter was built from. */
export class BloomFilter {
  readonly #lines: Uint8Array
  readonly #probeCount: number
  /** Line count over 2^32. A power of two divides exactly, so build and probe agree. */
  readonly #scale: number

  private constructor(lines: Uint8Array, probeCount: number) {
    this.#lines = lines
    this.#probeCount = probeCount
    this.#scale = lines.length / LINE_SIZE / 0x1_0000_0000
  }

  /** Copies a filter out of `bytes[start, end)`. Throws DecodeError when it is malformed. */
  static decode(bytes: Uint8Array, start: number, end: number): BloomFilter {
    BloomFilter.check(bytes, start, end)
    return new BloomFilter(bytes.slice(start + HEADER_SIZE, end), bytes[start + 1]!)
  }

  /** Throws DecodeError unless `bytes[start, end)` is a filter. */
  static check(bytes: Uint8Array, start: number, end: number): undefined {
    const linesSize = end - start - HEADER_SIZE
    if (linesSize < LINE_SIZE || linesSize % LINE_SIZE !== 0) {
      throw new DecodeError(`a filter is not ${end - start} bytes long`, start)
    }
    if (bytes[start] !== KIND_BLOCKED) {
      throw new DecodeError(`filter kind ${bytes[start]} is unknown`, start)
    }
    const probeCount = bytes[start + 1]!
    if (probeCount < 1 || probeCount > PROBE_COUNT_MAX) {
      throw new DecodeError(`a filter has no ${probeCount} probes`, start + 1)
    }
    if (bytes[start + 2] !== 0 || bytes[start + 3] !== 0) {
      throw new DecodeError('reserved bytes of a filter are zero', start + 2)
    }
  }

  /** Bytes of memory it holds. */
  get memorySize(): number {
    return this.#lines.length
  }

  /** False only when no key of the set has this hash, be it given signed or unsigned. */
  mayContain(hash: number): boolean {
    const lines = this.#lines
    const line = Math.floor((hash >>> 0) * this.#scale) * LINE_SIZE
    let mixed = Math.imul(hash ^ (hash >>> 16), MIX)
    for (let probe = this.#probeCount; probe > 0; probe--) {
      mixed = Math.imul(mixed, STEP)
      const bit = mixed >>> 23
      if ((lines[line + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false
    }
    return true
  }
}
