/**
 * Waits for most members to take this start of the node: a member that knows a later one refuses
 * its links (peer-boots.ts), so who has linked knows of none.
 *
 *   waiting --most are linked--> taken, for good --the others had a moment to object--> has a vote
 *
 * Invariants:
 *  1. A start counts as taken only by members of which, with this node, there are more than half of
 *     all that decide on the ring: who is about to join is not waited for, for it may never come.
 *     That alone does not make some other member meet both of two starts that were taken: of three,
 *     each may have been taken by another one. So members tell each other which starts they have
 *     met (peer-boots.ts); what none of those knows that are up nobody can tell.
 *  2. No quorum of reads relies on this node before it has a vote.
 *  3. Time in which this process stood still is none in which others could object: of each such
 *     while, as when a machine is suspended, at most SLICE_MS count.
 */
import type { CancelTimer, Clock, TimerOptions } from '../clock.ts'
import type { Peers } from './peers.ts'
import { type NodeId, ownsBefore, type RingMember } from './ring-member.ts'

/** A start waits no longer. Then it serves, for it may be alone, and is taken later. */
export const TAKEN_WAIT_MS = 2000
/** And so long for the other members, once most have taken it. */
const REST_WAIT_MS = 200
const SLICE_MS = 100

export interface TakenStartOptions {
  readonly peers: Pick<Peers, 'self' | 'isLinked' | 'onLink'>
  /** All members, this node among them. When they change `ringChanged` is to be called. */
  readonly members: () => readonly Pick<RingMember, 'nodeId' | 'state'>[]
  readonly clock: Clock
  /** Called once, when it is taken. */
  readonly onTaken: () => void
}

export class TakenStart {
  readonly #options: TakenStartOptions
  readonly #unlisten: () => void
  #isTaken = false
  #hasVote = false
  #cancelVote: CancelTimer = () => undefined
  #looked: () => void = () => undefined

  constructor(options: TakenStartOptions) {
    this.#options = options
    this.#unlisten = options.peers.onLink(() => this.#look())
  }

  /**
   * Resolves once it is taken, and the others had a moment to object; after TAKEN_WAIT_MS in any
   * case. Rejects with the signal's reason, at once.
   */
  async wait(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    this.#look()
    let cancel: CancelTimer = () => undefined
    let stop: () => void = () => undefined
    await new Promise<void>(resolve => {
      let isResting = false
      this.#looked = () => {
        if (this.#linkedCount() === this.#others().length) resolve()
        else if (this.#isTaken && !isResting) {
          isResting = true
          cancel()
          cancel = setAwakeTimer(clock, REST_WAIT_MS, resolve)
        }
      }
      cancel = setAwakeTimer(clock, TAKEN_WAIT_MS, resolve)
      stop = () => resolve()
      signal.addEventListener('abort', stop)
      if (signal.aborted) resolve()
      else this.#looked()
    })
    cancel()
    signal.removeEventListener('abort', stop)
    this.#looked = () => undefined
    signal.throwIfAborted()
  }

  /** True once most have taken it, and all others are linked or had REST_WAIT_MS. For good. */
  get hasVote(): boolean {
    return this.#hasVote
  }

  /** Those that it waited for may be members no more. */
  ringChanged(): void {
    this.#look()
  }

  close(): void {
    this.#cancelVote()
    this.#unlisten()
  }

  #others(): NodeId[] {
    const { members, peers } = this.#options
    const deciding = members().filter(ownsBefore)
    return deciding.map(({ nodeId }) => nodeId).filter(node => node !== peers.self)
  }

  #linkedCount(): number {
    return this.#others().filter(node => this.#options.peers.isLinked(node)).length
  }

  #look(): void {
    const linked = this.#linkedCount()
    const others = this.#others().length
    if (!this.#isTaken && 2 * (linked + 1) > others + 1) {
      this.#isTaken = true
      this.#options.onTaken()
      const vote = (): void => {
        this.#hasVote = true
      }
      const { clock } = this.#options
      this.#cancelVote = setAwakeTimer(clock, REST_WAIT_MS, vote, { background: true })
    }
    if (this.#isTaken && linked === others) this.#hasVote = true
    this.#looked()
  }
}

/** Clock.setTimer in slices: after a while in which nothing ran the rest is still waited for. */
function setAwakeTimer(
  clock: Clock,
  delayMs: number,
  callback: () => void,
  options?: TimerOptions,
): CancelTimer {
  const sliceMs = Math.min(delayMs, SLICE_MS)
  let cancel = clock.setTimer(sliceMs, next, options)
  function next(): void {
    if (delayMs > sliceMs) cancel = setAwakeTimer(clock, delayMs - sliceMs, callback, options)
    else callback()
  }
  return () => cancel()
}
