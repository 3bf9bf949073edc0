/**
 * XXH32 (Yann Collet's xxHash, 32-bit), the one checksum and hash of Duramen's files and rings.
 *
 * Two implementations of the same function: `xxh32` in JavaScript, synchronous from the first
 * moment and quicker on short input (no copy into WebAssembly memory); `Hasher` adds xxhash-wasm
 * for long input. test/base/hash.test.ts holds them against each other. This is the only importer
 * of xxhash-wasm.
 */
import xxhash from 'xxhash-wasm'

const PRIME_1 = 0x9e3779b1 | 0
const PRIME_2 = 0x85ebca77 | 0
const PRIME_3 = 0xc2b2ae3d | 0
const PRIME_4 = 0x27d4eb2f | 0
const PRIME_5 = 0x165667b1 | 0

/** Below, JavaScript beats the copy into WebAssembly memory (bench/hash.bench.ts). Bytes. */
const WASM_LENGTH_MIN = 256
/** Longer input is hashed in pieces, so that WebAssembly memory stays small. */
const WASM_LENGTH_MAX = 64 * 1024

function round(accumulator: number, lane: number): number {
  const mixed = (accumulator + Math.imul(lane, PRIME_2)) | 0
  return Math.imul((mixed << 13) | (mixed >>> 19), PRIME_1)
}

function lane32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** The XXH32 of `bytes[start, end)` as an unsigned 32-bit number. */
export function xxh32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  const length = end - start
  let at = start
  let hash: number
  if (length >= 16) {
    let a = (seed + PRIME_1 + PRIME_2) | 0
    let b = (seed + PRIME_2) | 0
    let c = seed | 0
    let d = (seed - PRIME_1) | 0
    for (const last = end - 16; at <= last; at += 16) {
      a = round(a, lane32(bytes, at))
      b = round(b, lane32(bytes, at + 4))
      c = round(c, lane32(bytes, at + 8))
      d = round(d, lane32(bytes, at + 12))
    }
    hash =
      (((a << 1) | (a >>> 31)) +
        ((b << 7) | (b >>> 25)) +
        ((c << 12) | (c >>> 20)) +
        ((d << 18) | (d >>> 14))) |
      0
  } else {
    hash = (seed + PRIME_5) | 0
  }
  hash = (hash + length) | 0
  for (; at + 4 <= end; at += 4) {
    hash = (hash + Math.imul(lane32(bytes, at), PRIME_3)) | 0
    hash = Math.imul((hash << 17) | (hash >>> 15), PRIME_4)
  }
  for (; at < end; at++) {
    hash = (hash + Math.imul(bytes[at]!, PRIME_5)) | 0
    hash = Math.imul((hash << 11) | (hash >>> 21), PRIME_1)
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2)
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** XXH32 of any range, by whichever implementation is quicker. Load one per thread and share it. */
export interface Hasher {
  /** The XXH32 of `bytes[start, end)` as an unsigned 32-bit number. */
  hash32(bytes: Uint8Array, start: number, end: number, seed: number): number
  /** Begins the XXH32 of bytes that come in pieces. */
  stream32(seed: number): HashStream
}

/** The XXH32 of bytes that come in pieces, however they are cut. */
export interface HashStream {
  update(bytes: Uint8Array, start: number, end: number): void
  /** The XXH32 of all pieces so far as an unsigned 32-bit number. */
  digest(): number
}

/** Compiles the WebAssembly module (a few kilobytes, inside the package: nothing is fetched). */
export async function loadHasher(): Promise<Hasher> {
  const { h32Raw, create32 } = await xxhash()
  return {
    hash32(bytes, start, end, seed) {
      const length = end - start
      if (length < WASM_LENGTH_MIN) return xxh32(bytes, start, end, seed)
      if (length <= WASM_LENGTH_MAX) return h32Raw(bytes.subarray(start, end), seed)
      const stream = stream32(seed)
      stream.update(bytes, start, end)
      return stream.digest()
    },
    stream32,
  }
  function stream32(seed: number): HashStream {
    const state = create32(seed)
    return {
      update(bytes, start, end) {
        for (let at = start; at < end; at += WASM_LENGTH_MAX) {
          state.update(bytes.subarray(at, Math.min(at + WASM_LENGTH_MAX, end)))
        }
      },
      digest: () => state.digest(),
    }
  }
}
