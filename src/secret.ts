/**
 * Secrets: one that others must know and say, and one that both sides know and prove.
 *
 * What is said is kept as a keyed hash only, so neither a dump of the memory nor a log line has it.
 * Whatever is compared takes the same time however much of a guess is right.
 */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

const KEY_SIZE = 32

/** True when both hold the same bytes; how long that takes tells nothing but their lengths. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

export class Secret {
  readonly #key = randomBytes(KEY_SIZE)
  readonly #hash: Buffer

  constructor(secret: Uint8Array) {
    this.#hash = this.#hashOf(secret)
  }

  matches(guess: Uint8Array): boolean {
    return timingSafeEqual(this.#hash, this.#hashOf(guess))
  }

  #hashOf(bytes: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(bytes).digest()
  }
}

/** Bytes of a proof: HMAC-SHA256. */
export const PROOF_SIZE = 32

/** A secret that two sides prove to each other over what they said, without saying it. */
export class SharedSecret {
  readonly #key: Uint8Array

  constructor(secret: Uint8Array) {
    this.#key = secret.slice()
  }

  /** HMAC-SHA256 of the parts, one behind the other. */
  proof(...parts: readonly Uint8Array[]): Uint8Array {
    const hmac = createHmac('sha256', this.#key)
    for (const part of parts) hmac.update(part)
    return new Uint8Array(hmac.digest())
  }

  proves(proof: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
    return equalInConstantTime(proof, this.proof(...parts))
  }
}

/** What guessing a password costs. */
export interface ScryptCost {
  /** A power of two. Memory is 128 N r bytes. */
  readonly N: number
  readonly r: number
  readonly p: number
}

/** Resolves with a key of `size` bytes that only the password gives, computed off the loop. */
export function scryptKey(
  password: string,
  salt: Uint8Array,
  { N, r, p }: ScryptCost,
  size: number,
): Promise<Uint8Array> {
  // Twice what it takes itself, for OpenSSL counts some more.
  const options = { N, r, p, maxmem: 256 * N * r }
  return new Promise((resolve, reject) => {
    scrypt(password, salt, size, options, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}
