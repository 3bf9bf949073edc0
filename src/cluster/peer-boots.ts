/**
 * Which life of each node is the right one, and who may not come back: what stands between a copied
 * data directory and two nodes that both believe to be the same.
 *
 * Invariants:
 *  1. Of two lives of a node every node that meets both keeps the later one (compareBoots), and
 *     tells the other to stop. Of copies that are started as the same start it keeps the one that
 *     it met first; whoever is refused by any member stops.
 *  2. What a member says that it has met counts as met here, but for two copies of one start.
 *  3. What is known of a member is handed over to be kept before a link to that life of it is open,
 *     so whatever this node writes durably from then on is durable after it.
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
  /** Of members, to be kept for the next start; `node` is the one that is new among them. */
  remember(boots: ReadonlyMap<NodeId, Boot>, node: NodeId): void
}

export class PeerBoots {
  readonly #self: NodeId
  #own: Boot
  readonly #owner: PeerBootsOwner
  readonly #known: Map<NodeId, Boot>
  #members: ReadonlySet<NodeId> = new Set()
  #removed: ReadonlySet<NodeId> = new Set()

  /** `known`: what was remembered before this start. */
  constructor(
    self: NodeId,
    own: Boot,
    known: ReadonlyMap<NodeId, Boot> | undefined,
    owner: PeerBootsOwner,
  ) {
    this.#self = self
    this.#own = own
    this.#known = new Map(known)
    this.#owner = owner
  }

  setMembers(members: ReadonlySet<NodeId>, removed: ReadonlySet<NodeId>): void {
    this.#members = members
    this.#removed = removed
  }

  get(node: NodeId): Boot | undefined {
    return this.#known.get(node)
  }

  /** This node's own life; `isTaken` once `taken` was called. */
  get own(): Boot {
    return this.#own
  }

  /** Most members have taken this life, and that is durable. */
  taken(): void {
    this.#own = { ...this.#own, isTaken: true }
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
    const order = known === undefined ? 'later' : compareBoots(boot, known)
    if (order === 'earlier' || order === 'copy') return supersededBy(nodeId, boot, known!)
    if (order === 'later') this.#remember(nodeId, boot)
    return undefined
  }

  /** The lives of members that are known here, this node's own among them. */
  get all(): ReadonlyMap<NodeId, Boot> {
    return new Map([...this.#ofMembers(), [this.#self, this.#own]])
  }

  /** A member has met these. */
  learn(boots: ReadonlyMap<NodeId, Boot>): void {
    for (const [nodeId, boot] of boots) {
      if (nodeId === this.#self) {
        if (compareBoots(boot, this.#own) === 'later') this.#owner.superseded(boot)
        continue
      }
      if (!this.#members.has(nodeId)) continue
      const known = this.#known.get(nodeId)
      const order = known === undefined ? 'later' : compareBoots(boot, known)
      const isNews = boot.isTaken === true && known?.isTaken !== true
      if (order === 'later' || (order === 'same' && isNews)) this.#remember(nodeId, boot)
    }
  }

  /** Of two copies that are the same start the other members know which one they met first. */
  #judgeSelf(boot: Boot): Objection | undefined {
    const order = compareBoots(boot, this.#own)
    if (order === 'earlier') return supersededBy(this.#self, boot, this.#own)
    if (order === 'later') this.#owner.superseded(boot)
    const message = `node ${this.#self} itself is at this address`
    return { code: PeerRefusal.otherNode, message }
  }

  #remember(nodeId: NodeId, boot: Boot): void {
    const before = this.#known.get(nodeId)
    this.#known.delete(nodeId)
    this.#known.set(nodeId, boot)
    if (this.#known.size > STRANGERS_MAX + this.#members.size) this.#forgetStranger()
    if (this.#members.has(nodeId)) {
      this.#owner.remember(new Map(this.#ofMembers()), nodeId)
    }
    if (before !== undefined && before.nonce !== boot.nonce) this.#owner.reborn(nodeId, boot)
  }

  #ofMembers(): [NodeId, Boot][] {
    return [...this.#known].filter(([known]) => this.#members.has(known))
  }

  #forgetStranger(): void {
    for (const nodeId of this.#known.keys()) {
      if (this.#members.has(nodeId)) continue
      this.#known.delete(nodeId)
      return
    }
  }
}

/** What is wrong with two lives of a node. */
export function describeRival(nodeId: NodeId, boot: Boot, rival: Boot): string {
  const { generation } = boot
  return rival.generation === generation
    ? `node ${nodeId} runs, or ran, from another directory as the same start (${generation})`
    : `node ${nodeId} was started again later (start ${rival.generation}, this is start ` +
        `${generation})`
}

function supersededBy(nodeId: NodeId, boot: Boot, later: Boot): Objection {
  return { code: PeerRefusal.superseded, message: describeRival(nodeId, boot, later) }
}
