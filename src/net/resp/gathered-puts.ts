/**
 * Puts of one pipeline that follow each other, handed to the store as one batch: a version, an
 * entry in the log and a promise for all of them cost half of what they cost one by one.
 *
 * Only small ones, so that they are copied cheaply, and with keys that any store takes, so that
 * none fails for another.
 */
import type { HandlerPut, MaybePromise, RequestHandler } from '../request-handler.ts'
import type { RespRequest } from './resp-request.ts'

const KEY_SIZE_MAX = 1024
const VALUE_SIZE_MAX = 4096
const COUNT_MAX = 128
const CHUNK_SIZE = 32 * 1024

export class GatheredPuts {
  readonly requests: RespRequest[] = []
  readonly #puts: HandlerPut[] = []
  #chunk = new Uint8Array(0)
  #used = 0

  static takes({ key, value }: HandlerPut): boolean {
    const { length } = key
    return length > 0 && length <= KEY_SIZE_MAX && value.length <= VALUE_SIZE_MAX
  }

  get isFull(): boolean {
    return this.#puts.length >= COUNT_MAX
  }

  /** Copies the put. Requires that its value lies behind its key in the same memory. */
  add(put: HandlerPut, request: RespRequest): void {
    const { key, value, expiryMs = 0 } = put
    // Both lie in one command, the value behind the key: one copy is cheaper than two.
    const size = value.byteOffset + value.length - key.byteOffset
    const copy = this.#copy(new Uint8Array(key.buffer, key.byteOffset, size))
    this.#puts.push({
      type: 'put',
      key: copy.subarray(0, key.length),
      value: copy.subarray(size - value.length),
      ttlMs: 0,
      expiryMs,
    })
    this.requests.push(request)
  }

  /** Gives them to the handler; one promise for all. */
  submit(handler: RequestHandler): MaybePromise<void> {
    const [first] = this.#puts
    const context = this.requests[0]!
    return this.#puts.length === 1
      ? handler.put(first!, context)
      : handler.batch(this.#puts, context)
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const { length } = bytes
    if (this.#used + length > this.#chunk.length) {
      this.#chunk = new Uint8Array(Math.max(CHUNK_SIZE, length))
      this.#used = 0
    }
    const copy = this.#chunk.subarray(this.#used, this.#used + length)
    copy.set(bytes)
    this.#used += length
    return copy
  }
}
