/** The first bytes of a connection, kept until it says who it is, to tell what it sent instead. */
import { describeForeignBytes } from './foreign-bytes.ts'

const SIZE_MAX = 16

export class FirstBytes {
  readonly #bytes: number[] = []

  /** Takes what is missing from what came. */
  remember(bytes: Uint8Array, size: number): void {
    const missing = SIZE_MAX - this.#bytes.length
    if (missing > 0) this.#bytes.push(...bytes.subarray(0, Math.min(size, missing)))
  }

  /** Undefined when so many have not come. */
  at(index: number): number | undefined {
    return this.#bytes[index]
  }

  describe(): string {
    return describeForeignBytes(Uint8Array.from(this.#bytes))
  }
}
