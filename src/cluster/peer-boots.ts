/**
 * Which life of each node is the right one, and who may not come back: what stands between a copied
 * data directory and two nodes that both believe to be the same.
 *
 * Invariant: of two lives of a node every node that meets both keeps the same one, the later
 * (compareBoots), and tells the other to stop.
 */

import type { Objection } from './peer-handshake.ts'
import { type Boot, compareBoots, type Hello, PeerRefusal } from './peer-hello.ts'
import type { NodeId } from './ring-member.ts'

/** Nodes of which the life is remembered, besides the members. */
const STRANGERS_MAX = 1024

export interface PeerBootsOwner {
  /** A later life of the node was met: links of the earlier one are to be closed. */
  reborn(node: NodeId, boot: Boot): void
  /** There is a later life of this very node. */
  superseded(boot: Boot): void
}

export class PeerBoots {
  readonly #self: NodeId
  readonly #own: Boot
  readonly #owner: PeerBootsOwner
  readonly #known = new Map<NodeId, Boot>()
  #members: ReadonlySet<NodeId> = new Set()
  #removed: ReadonlySet<NodeId> = new Set()

  constructor(self: NodeId, own: Boot, owner: PeerBootsOwner) {
    this.#self = self
    this.#own = own
    this.#owner = owner
  }

  setMembers(members: ReadonlySet<NodeId>, removed: ReadonlySet<NodeId>): void {
    this.#members = members
    this.#removed = removed
  }

  get(node: NodeId): Boot | undefined {
    return this.#known.get(node)
  }

  /** What speaks against a node that knows the secret. */
  judge({ nodeId, boot }: Hello): Objection | undefined {
    if (nodeId === this.#self) return this.#judgeSelf(boot)
    if (this.#removed.has(nodeId)) {
      const message =
        `node ${nodeId} was removed from the cluster for good: start it on an empty directory, ` +
        'as a new node'
      return { code: PeerRefusal.removed, message }
    }
    const known = this.#known.get(nodeId)
    const order = known === undefined ? 1 : compareBoots(boot, known)
    if (order < 0) return supersededBy(nodeId, boot, known!)
    if (order > 0) this.#remember(nodeId, boot)
    return undefined
  }

  #judgeSelf(boot: Boot): Objection | undefined {
    const order = compareBoots(boot, this.#own)
    if (order < 0) return supersededBy(this.#self, boot, this.#own)
    if (order > 0) this.#owner.superseded(boot)
    const message = `node ${this.#self} itself is at this address`
    return { code: PeerRefusal.otherNode, message }
  }

  #remember(nodeId: NodeId, boot: Boot): void {
    const isReborn = this.#known.delete(nodeId)
    this.#known.set(nodeId, boot)
    if (this.#known.size > STRANGERS_MAX + this.#members.size) this.#forgetStranger()
    if (isReborn) this.#owner.reborn(nodeId, boot)
  }

  #forgetStranger(): void {
    for (const nodeId of this.#known.keys()) {
      if (this.#members.has(nodeId)) continue
      this.#known.delete(nodeId)
      return
    }
  }
}

/** What is wrong with two lives of a node. Of two with the same count the one met first goes on. */
export function describeRival(nodeId: NodeId, boot: Boot, rival: Boot): string {
  return rival.generation === boot.generation
    ? `node ${nodeId} runs elsewhere, as start ${boot.generation}, too`
    : `node ${nodeId} was started again later (start ${rival.generation}, this is start ` +
        `${boot.generation})`
}

function supersededBy(nodeId: NodeId, boot: Boot, later: Boot): Objection {
  const message =
    `${describeRival(nodeId, boot, later)}: two processes must not be the same node; stop this ` +
    'one. If its directory is a copy or was restored from one, it must become a new node on an ' +
    'empty directory'
  return { code: PeerRefusal.superseded, message }
}
