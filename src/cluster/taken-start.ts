/**
 * Waits for most members to take this start of the node: a member that knows a later one refuses
 * its links (peer-boots.ts), so who has linked knows of none.
 *
 *   waiting --most are linked--> taken, for good
 *
 * Invariant: a start counts as taken only by members of which, with this node, there are more than
 * half of all; so of two starts that were taken some member has met both.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import type { Peers } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** A start waits no longer. Then it serves, for it may be alone, and is taken later. */
export const TAKEN_WAIT_MS = 2000
/** And so long for the other members, once most have taken it. */
const REST_WAIT_MS = 200

export interface TakenStartOptions {
  readonly peers: Peers
  /** All members, this node among them. */
  readonly members: () => readonly NodeId[]
  readonly clock: Clock
  /** Called once, when it is taken. */
  readonly onTaken: () => void
}

export class TakenStart {
  readonly #options: TakenStartOptions
  readonly #unlisten: () => void
  #isTaken = false
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
          cancel = clock.setTimer(REST_WAIT_MS, resolve)
        }
      }
      cancel = clock.setTimer(TAKEN_WAIT_MS, resolve)
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

  close(): void {
    this.#unlisten()
  }

  #others(): NodeId[] {
    const { members, peers } = this.#options
    return members().filter(node => node !== peers.self)
  }

  #linkedCount(): number {
    return this.#others().filter(node => this.#options.peers.isLinked(node)).length
  }

  #look(): void {
    if (!this.#isTaken && 2 * (this.#linkedCount() + 1) > this.#others().length + 1) {
      this.#isTaken = true
      this.#options.onTaken()
    }
    this.#looked()
  }
}
