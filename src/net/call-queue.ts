/**
 * Calls that wait for a connection, first come, first served, bounded in number and in bytes.
 * A call that was settled meanwhile (deadline, abortion) is skipped when its turn comes.
 */
import { type PendingCall, requestSize } from './call.ts'

/** The used front of the array is cut off once it is so long. */
const COMPACT_COUNT = 1024

export class CallQueue {
  readonly #countMax: number
  readonly #bytesMax: number
  #calls: PendingCall[] = []
  #head = 0
  /** Calls that still wait. */
  #count = 0
  #bytes = 0

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#count
  }

  /** False when the call does not fit. */
  push(call: PendingCall): boolean {
    const size = requestSize(call.spec.request)
    if (this.#count >= this.#countMax || this.#bytes + size > this.#bytesMax) return false
    // Settled calls that were not reached yet do not count, but they must not pile up either.
    if (this.#calls.length - this.#head > 2 * this.#countMax) this.#compact()
    call.state = 'queued'
    this.#calls.push(call)
    this.#count++
    this.#bytes += size
    return true
  }

  /** The next call that still waits, or undefined; it stays. */
  peek(): PendingCall | undefined {
    while (this.#head < this.#calls.length) {
      const call = this.#calls[this.#head]!
      if (call.state === 'queued') return call
      this.#advance()
    }
    this.#compact()
    return undefined
  }

  /** Takes the next call that still waits, if there is one. */
  shift(): PendingCall | undefined {
    const call = this.peek()
    if (call === undefined) return undefined
    this.#advance()
    this.forget(call)
    call.state = 'new'
    return call
  }

  #advance(): void {
    this.#head++
    if (this.#head >= COMPACT_COUNT && this.#head * 2 >= this.#calls.length) this.#compact()
  }

  /** Stops counting a call that leaves the queue. Requires that it is queued. */
  forget(call: PendingCall): void {
    this.#count--
    this.#bytes -= requestSize(call.spec.request)
  }

  #compact(): void {
    this.#calls = this.#calls.slice(this.#head).filter(call => call.state === 'queued')
    this.#head = 0
  }
}
