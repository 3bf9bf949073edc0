/**
 * Who is told of what happens on the links of a node. A listener that is added or taken away while
 * others are told is told from the next time on.
 */
import type { NodeId } from './ring-member.ts'

export type LinkListener = (peer: NodeId, isLinked: boolean) => void

/** Called when a node is seen to go by a later ring than this one. */
export type EpochListener = (peer: NodeId, epoch: number) => void

export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<(...args: Args) => void>()

  /** Returns how to stop. */
  add(listener: (...args: Args) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(...args: Args): void {
    for (const listener of [...this.#listeners]) listener(...args)
  }
}

export class PeerListeners {
  readonly link = new Listeners<Parameters<LinkListener>>()
  /** A member has begun to answer, or is silent. */
  readonly answering = new Listeners<[peer: NodeId]>()
  readonly epoch = new Listeners<Parameters<EpochListener>>()
  /** A member says that this node has left for good. */
  readonly removal = new Listeners<[why: string]>()
}
