/**
 * A secret that others must know: it is kept as a keyed hash only, so neither a dump of the memory
 * nor a log line has it, and compared in the same time however much of a guess is right.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

const KEY_SIZE = 32

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
