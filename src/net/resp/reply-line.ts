/**
 * Requests whose replies have not gone out, in the order of their commands: a reply leaves when all
 * before it have.
 *
 * Invariant: the first request of the line is not done.
 */
import { type Reply, replySize } from './reply.ts'
import type { RespRequest } from './resp-request.ts'

/** Gone requests that are kept before the list is cut. */
const GONE_MAX = 1024

export class ReplyLine {
  readonly #send: (reply: Reply) => void
  #requests: RespRequest[] = []
  #head = 0
  #count = 0
  #bytes = 0

  constructor(send: (reply: Reply) => void) {
    this.#send = send
  }

  /** Commands whose replies have not gone out. */
  get length(): number {
    return this.#count
  }

  /** About the bytes of the replies that wait for others. */
  get bytes(): number {
    return this.#bytes
  }

  /** One that is done waits for those before it, of which there must be one. */
  push(request: RespRequest): void {
    if (request.isDone) this.#bytes += sizeOf(request)
    this.#requests.push(request)
    this.#count += request.count
  }

  /** Lets the request stand for one more command; false when it is not the last of the line. */
  extend(request: RespRequest): boolean {
    if (this.#requests.at(-1) !== request) return false
    request.count++
    this.#count++
    return true
  }

  /** The reply to a request in the line is known. */
  done(request: RespRequest, reply: Reply): void {
    request.reply = reply
    request.isDone = true
    if (this.#requests[this.#head] !== request) {
      this.#bytes += sizeOf(request)
      return
    }
    this.#next(request)
    let next = this.#requests[this.#head]
    while (next?.isDone === true) {
      this.#bytes -= sizeOf(next)
      this.#next(next)
      next = this.#requests[this.#head]
    }
  }

  #next(request: RespRequest): void {
    this.#head++
    this.#count -= request.count
    if (this.#head === this.#requests.length) {
      this.#requests = []
      this.#head = 0
    } else if (this.#head > GONE_MAX) {
      this.#requests = this.#requests.slice(this.#head)
      this.#head = 0
    }
    if (request.isSilent) return
    for (let left = request.count; left > 0; left--) this.#send(request.reply ?? null)
  }

  /** Those that are not done. */
  waiting(): RespRequest[] {
    return this.#requests.slice(this.#head).filter(request => !request.isDone)
  }

  /** Those of them whose deadline is not after `nowMs`. */
  expired(nowMs: number): RespRequest[] {
    if (this.length === 0) return []
    return this.waiting().filter(request => request.deadlineMs <= nowMs)
  }

  clear(): void {
    this.#requests = []
    this.#head = 0
    this.#count = 0
    this.#bytes = 0
  }
}

/** About the bytes of its replies. Requires that it is done. */
function sizeOf({ reply, count }: RespRequest): number {
  return replySize(reply ?? null) * count
}
