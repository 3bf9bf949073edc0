/** The requests of a connection that wait for their answer. Adding and removing are O(1). */
import { assert } from '../assert.ts'
import type { ServerRequest } from './server-request.ts'

export class WaitingRequests {
  readonly #requests: ServerRequest[] = []

  get count(): number {
    return this.#requests.length
  }

  add(request: ServerRequest): void {
    assert(request.index < 0, 'a request waits once')
    request.index = this.#requests.length
    this.#requests.push(request)
  }

  /** False when it does not wait any more: something else answered it. */
  remove(request: ServerRequest): boolean {
    const index = request.index
    if (index < 0) return false
    const last = this.#requests.pop()
    assert(last !== undefined, 'a request with an index is in the list')
    if (last !== request) {
      this.#requests[index] = last
      last.index = index
    }
    request.index = -1
    return true
  }

  find(id: number): ServerRequest | undefined {
    return this.#requests.find(request => request.id === id)
  }

  /** Those whose deadline is not after `nowMs`. */
  expired(nowMs: number): ServerRequest[] {
    return this.#requests.filter(request => request.deadlineMs <= nowMs)
  }

  all(): ServerRequest[] {
    return this.#requests.slice()
  }
}
