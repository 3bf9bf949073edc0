/**
 * Versions by the times of other nodes, for writes that this node has versioned itself and passes
 * on. Its clock may be ahead of an owner's by more than a version may be (500 ms), and still be
 * right as far as most members can tell (a second, clock-watch.ts): then each owner refuses what
 * any of them would take from a client. So the write is versioned once more, by the time of the
 * owner that refused it, as the SDK does with the versions of clients.
 *
 * Invariants:
 *  1. No version comes twice, nor is one of another clock: each owner's times have a writer of
 *     their own.
 *  2. Of one owner's times each version is greater than those before it.
 */
import { encodeVersion, VERSION_COUNTER_MAX } from '../write-version.ts'
import type { NodeId } from './ring-member.ts'

interface OwnerTime {
  readonly writer: Uint8Array
  timeMs: number
  counter: number
}

export class OwnerTimes {
  readonly #newWriter: () => Uint8Array
  readonly #times = new Map<NodeId, OwnerTime>()

  /** `newWriter` makes eight bytes that no other writer uses. */
  constructor(newWriter: () => Uint8Array) {
    this.#newWriter = newWriter
  }

  /** A version behind all that the owner had seen when it said this time, in ms since the epoch. */
  next(owner: NodeId, reachedMs: number): Uint8Array {
    const last = this.#times.get(owner) ?? { writer: this.#newWriter(), timeMs: 0, counter: 0 }
    this.#times.set(owner, last)
    if (reachedMs >= last.timeMs || last.counter === VERSION_COUNTER_MAX) {
      last.timeMs = Math.max(last.timeMs, reachedMs) + 1
      last.counter = 0
    } else {
      last.counter++
    }
    return encodeVersion(last.timeMs, last.counter, last.writer)
  }
}
