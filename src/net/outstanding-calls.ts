/**
 * Every call that has no answer yet, and one timer for whatever is due for any of them: deadlines,
 * ends of attempts, hedges.
 *
 * The timer is set for the earliest time seen at the last look; a call with an earlier one sets it
 * anew. Most calls are answered long before, so with equal time limits the list is walked once in
 * that time, and a call costs no timer: adding and removing are a few assignments.
 */
import { assert } from '../assert.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { PendingCall } from './call.ts'

/** What is due within so little time is handled together. */
const RESOLUTION_MS = 1

export class OutstandingCalls {
  readonly #clock: Clock
  readonly #due: (call: PendingCall, nowMs: number) => void
  readonly #calls: PendingCall[] = []
  #timerAtMs = Number.POSITIVE_INFINITY
  #cancelTimer: CancelTimer | undefined
  #whenEmpty: (() => void)[] = []

  /** `due` must remove the call or give it a later time. */
  constructor(clock: Clock, due: (call: PendingCall, nowMs: number) => void) {
    this.#clock = clock
    this.#due = due
  }

  get count(): number {
    return this.#calls.length
  }

  add(call: PendingCall): void {
    assert(call.index < 0, 'a call is added once')
    call.index = this.#calls.length
    this.#calls.push(call)
    this.scheduled(call)
  }

  /** The call may be due earlier than it was. Requires that it is in the list. */
  scheduled({ dueMs }: PendingCall): void {
    if (dueMs < this.#timerAtMs) this.#setTimer(dueMs)
  }

  remove(call: PendingCall): void {
    assert(call.index >= 0, 'an outstanding call is in the list')
    const last = this.#calls.pop()
    assert(last !== undefined, 'a call with an index is in the list')
    if (last !== call) {
      this.#calls[call.index] = last
      last.index = call.index
    }
    call.index = -1
    if (this.#calls.length === 0) this.#emptied()
  }

  /** All of them, in a list of its own. */
  all(): PendingCall[] {
    return this.#calls.slice()
  }

  /** Resolves once there are none. */
  untilEmpty(): Promise<void> {
    if (this.#calls.length === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#whenEmpty.push(resolve)
    })
  }

  #emptied(): void {
    if (this.#whenEmpty.length === 0) return
    const waiting = this.#whenEmpty
    this.#whenEmpty = []
    for (const resolve of waiting) resolve()
  }

  /** Stops the timer. */
  close(): void {
    this.#cancelTimer?.()
    this.#timerAtMs = Number.POSITIVE_INFINITY
  }

  #setTimer(atMs: number): void {
    this.#cancelTimer?.()
    this.#timerAtMs = atMs
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs()) + RESOLUTION_MS
    this.#cancelTimer = this.#clock.setTimer(delayMs, () => this.#sweep())
  }

  #sweep(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    const nowMs = this.#clock.monotonicMs()
    let earliestMs = Number.POSITIVE_INFINITY
    for (const call of this.all()) {
      if (call.index >= 0 && call.dueMs <= nowMs) this.#due(call, nowMs)
      if (call.index >= 0 && call.dueMs < earliestMs) earliestMs = call.dueMs
    }
    if (earliestMs < this.#timerAtMs) this.#setTimer(earliestMs)
  }
}
