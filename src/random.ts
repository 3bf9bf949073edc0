/** Randomness, as everything in Duramen sees it. The only file that asks the machine for some. */
import { randomBytes } from 'node:crypto'

/** Injected, so that a test replays from its seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform integer in [0, limit). Requires 1 <= limit <= 2^32. */
  below(limit: number): number
  /** `length` uniform bytes in a buffer of their own. */
  bytes(length: number): Uint8Array
}

/** A generator of the sfc32 family (Doty-Humphrey, PractRand); the same seed replays the same. */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88 ^ Math.floor(seed / 0x1_0000_0000)
  let c = 0xb7e15162
  let counter = 1
  function uint32(): number {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  for (let round = 0; round < 12; round++) uint32()
  return fromUint32(uint32)
}

/** Seeded once from the operating system's entropy. Not for secrets: those take secureBytes. */
export function systemRandom(): Random {
  const seed = randomBytes(6)
  return seededRandom(seed.readUIntLE(0, 6))
}

/** Unpredictable bytes for identities and secrets. */
export function secureBytes(length: number): Uint8Array {
  return new Uint8Array(randomBytes(length))
}

function fromUint32(uint32: () => number): Random {
  return {
    next: () => uint32() / 0x1_0000_0000,
    below: limit => Math.floor((uint32() / 0x1_0000_0000) * limit),
    bytes(length) {
      const result = new Uint8Array(length)
      for (let index = 0; index < length; index++) result[index] = uint32()
      return result
    },
  }
}
