/**
 * Requests to another node that have no answer yet, each with a deadline.
 *
 * One timer stands for all: it is set for the earliest deadline, and all calls are looked at when
 * it fires. A deadline whose call was answered meanwhile costs one look for nothing.
 */
import { UINT32_MAX } from '../bytes.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { type KvError, TimeoutError } from '../errors.ts'

interface PendingCall {
  readonly resolve: (body: Uint8Array) => void
  readonly reject: (error: KvError) => void
  readonly deadlineMs: number
  readonly timeoutMs: number
}

export class PeerCalls {
  readonly #clock: Clock
  /** Whom they are to, for messages. */
  readonly #to: string
  readonly #pending = new Map<number, PendingCall>()
  #lastId = 0
  #cancelTimer: CancelTimer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock, to: string) {
    this.#clock = clock
    this.#to = to
  }

  get count(): number {
    return this.#pending.size
  }

  /** An id from 1 to 2^32 - 1 that no pending call has. */
  nextId(): number {
    do {
      this.#lastId = this.#lastId === UINT32_MAX ? 1 : this.#lastId + 1
    } while (this.#pending.has(this.#lastId))
    return this.#lastId
  }

  /** Resolves to the answer that `answered` brings for this id. */
  wait(id: number, timeoutMs: number): Promise<Uint8Array> {
    const deadlineMs = this.#clock.monotonicMs() + timeoutMs
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, deadlineMs, timeoutMs })
      if (deadlineMs < this.#timerMs) this.#setTimer(deadlineMs)
    })
  }

  /** True while somebody waits for the answer to this id. */
  has(id: number): boolean {
    return this.#pending.has(id)
  }

  answered(id: number, body: Uint8Array): void {
    this.#take(id)?.resolve(body)
  }

  failed(id: number, error: KvError): void {
    this.#take(id)?.reject(error)
  }

  failAll(error: KvError): void {
    const calls = [...this.#pending.values()]
    this.#pending.clear()
    this.#cancelTimer?.()
    this.#timerMs = Number.POSITIVE_INFINITY
    for (const call of calls) call.reject(error)
  }

  #take(id: number): PendingCall | undefined {
    const call = this.#pending.get(id)
    if (call !== undefined) this.#pending.delete(id)
    return call
  }

  #setTimer(atMs: number): void {
    this.#cancelTimer?.()
    this.#timerMs = atMs
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs())
    this.#cancelTimer = this.#clock.setTimer(delayMs, () => this.#expire())
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs()
    const late: PendingCall[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (const [id, call] of this.#pending) {
      if (call.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, call.deadlineMs)
        continue
      }
      this.#pending.delete(id)
      late.push(call)
    }
    this.#timerMs = Number.POSITIVE_INFINITY
    if (nextMs !== Number.POSITIVE_INFINITY) this.#setTimer(nextMs)
    for (const { reject, timeoutMs } of late) {
      reject(new TimeoutError(`${this.#to} did not answer within ${timeoutMs} ms`))
    }
  }
}
