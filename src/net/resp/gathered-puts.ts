/**
 * Puts of one pipeline that follow each other, handed to the store as one batch, and answered as
 * one: a version, an entry in the log, a promise and a place among the replies for all of them. Of
 * sixteen puts at once the door takes 0.3 us each so, where copies and places of their own took 1.
 *
 * Only small ones with keys that any store takes, so that none fails for another, and only those
 * whose bytes stay where they are until the run of commands is over, so that nothing is copied.
 */
import { BATCH_COPIED_MAX } from '../limits.ts'
import type { HandlerPut, MaybePromise, RequestHandler } from '../request-handler.ts'
import type { RespRequest } from './resp-request.ts'

const KEY_SIZE_MAX = 1024
const VALUE_SIZE_MAX = 4096

export class GatheredPuts {
  /** Stands for all of them. */
  readonly request: RespRequest
  readonly #puts: HandlerPut[] = []

  constructor(request: RespRequest) {
    this.request = request
  }

  static takes({ key, value }: HandlerPut): boolean {
    const { length } = key
    return length > 0 && length <= KEY_SIZE_MAX && value.length <= VALUE_SIZE_MAX
  }

  get isFull(): boolean {
    return this.#puts.length >= BATCH_COPIED_MAX
  }

  /** Borrows the bytes until `submit` has returned. */
  add(put: HandlerPut): void {
    this.#puts.push(put)
  }

  submit(handler: RequestHandler): MaybePromise<void> {
    const [first] = this.#puts
    return this.#puts.length === 1
      ? handler.put(first!, this.request)
      : handler.batch(this.#puts, this.request)
  }
}
