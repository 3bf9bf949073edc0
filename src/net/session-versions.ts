/**
 * What a session has written: of each key the version of its latest write, so that reads can ask
 * for nothing older, whichever server answers.
 *
 * Invariants:
 *  1. Only acknowledged writes are kept: of others nobody knows whether they are there.
 *  2. At most KEYS_MAX keys are kept, those that were written last; of others a read shows what the
 *     replica has that answers, as without a session.
 */
import { compareBytes, copyBytes } from '../bytes.ts'
import type { Request } from './request.ts'

export const SESSION_KEYS_MAX = 10_000

export class SessionVersions {
  /** By key, one character a byte, in the order of their writes. */
  readonly #versions = new Map<string, Uint8Array>()

  get size(): number {
    return this.#versions.size
  }

  /** The least version that a read of the key may show; undefined for any. */
  least(key: Uint8Array): Uint8Array | undefined {
    return this.#versions.size === 0 ? undefined : this.#versions.get(nameOf(key))
  }

  /** The write was acknowledged. Borrows the version. */
  wrote(request: Request, version: Uint8Array): void {
    const own = copyBytes(version)
    if (request.type === 'batch') {
      for (const { key } of request.operations) this.#keep(key, own)
    } else if (request.type === 'put' || request.type === 'delete') this.#keep(request.key, own)
  }

  #keep(key: Uint8Array, version: Uint8Array): void {
    const name = nameOf(key)
    const known = this.#versions.get(name)
    this.#versions.delete(name)
    const isOlder = known !== undefined && compareBytes(known, version) > 0
    this.#versions.set(name, isOlder ? known : version)
    if (this.#versions.size <= SESSION_KEYS_MAX) return
    for (const oldest of this.#versions.keys()) {
      this.#versions.delete(oldest)
      return
    }
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}
