/**
 * How often the link to each peer broke: what a peer has open for this node, under a name that it
 * gave, may be gone when that has changed, and the name be given to something else.
 */
import type { Peers } from './peers.ts'
import type { NodeId } from './ring-member.ts'

export class LinkBreaks {
  readonly #counts = new Map<NodeId, number>()

  constructor(peers: Pick<Peers, 'onLink'>) {
    peers.onLink((peer, isLinked) => {
      if (!isLinked) this.#counts.set(peer, this.of(peer) + 1)
    })
  }

  of(peer: NodeId): number {
    return this.#counts.get(peer) ?? 0
  }
}
