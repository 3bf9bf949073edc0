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
  #bytes = 0

  constructor(send: (reply: Reply) => void) {
    this.#send = send
  }

  get length(): number {
    return this.#requests.length - this.#head
  }

  /** About the bytes of the replies that wait for others. */
  get bytes(): number {
    return this.#bytes
  }

  /** One that is done waits for those before it, of which there must be one. */
  push(request: RespRequest): void {
    if (request.isDone) this.#bytes += replySize(request.reply ?? null)
    this.#requests.push(request)
  }

  /** The reply to a request in the line is known. */
  done(request: RespRequest, reply: Reply): void {
    request.reply = reply
    request.isDone = true
    if (this.#requests[this.#head] !== request) {
      this.#bytes += replySize(reply)
      return
    }
    this.#next(request)
    let next = this.#requests[this.#head]
    while (next?.isDone === true) {
      this.#bytes -= replySize(next.reply ?? null)
      this.#next(next)
      next = this.#requests[this.#head]
    }
  }

  #next(request: RespRequest): void {
    this.#head++
    if (this.#head === this.#requests.length) {
      this.#requests = []
      this.#head = 0
    } else if (this.#head > GONE_MAX) {
      this.#requests = this.#requests.slice(this.#head)
      this.#head = 0
    }
    this.#send(request.reply ?? null)
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
    this.#bytes = 0
  }
}
