/** Nodes that watch each other over simulated links: what a test of membership sets up. */

import type { Liveness } from '../../src/cluster/liveness.ts'
import { Membership } from '../../src/cluster/membership.ts'
import type { Addresses } from '../../src/cluster/profile-book.ts'
import { createRing, type Ring } from '../../src/cluster/ring.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { ringOf } from './random-ring.ts'
import { SimClock } from './sim-clock.ts'
import { SimPeerNetwork, type SimPeers } from './sim-peers.ts'

export interface SimMember {
  readonly peers: SimPeers
  readonly membership: Membership
  /** What it thought of whom, when. */
  readonly changes: { readonly atMs: number; readonly node: NodeId; readonly now: Liveness }[]
  readonly epochsHeard: { readonly from: NodeId; readonly epoch: number }[]
}

/** A stable ring of so many members; what they own does not matter. */
export function plainRing(random: Random, members: number): Ring {
  const ring = ringOf(random, {
    partitionCount: 1,
    replicationFactor: 3,
    virtualNodes: 1,
    members: Array.from({ length: members }, () => ({})),
  })
  const reachable = ring.members.map(member => ({ ...member, peerAddress: 'old:1' }))
  return createRing({ ...ring, members: reachable })
}

export class SimMembers {
  readonly clock = new SimClock()
  readonly random: Random
  readonly network: SimPeerNetwork
  readonly ids: readonly NodeId[]
  readonly members = new Map<NodeId, SimMember>()
  readonly generations = new Map<NodeId, number>()
  ring: Ring

  constructor(seed: number, count: number, lossRate = 0) {
    this.random = seededRandom(seed)
    this.network = new SimPeerNetwork({ clock: this.clock, random: this.random, lossRate })
    this.ring = plainRing(this.random, count)
    this.ids = this.ring.members.map(({ nodeId }) => nodeId)
  }

  startAll(): void {
    for (const id of this.ids) this.start(id)
  }

  start(id: NodeId, options: { generation?: number; addresses?: () => Addresses } = {}): SimMember {
    const generation = options.generation ?? (this.generations.get(id) ?? 0) + 1
    this.generations.set(id, generation)
    this.members.get(id)?.membership.stop()
    const peers = this.network.start(id)
    const changes: SimMember['changes'] = []
    const epochsHeard: SimMember['epochsHeard'] = []
    const membership = new Membership({
      peers,
      clock: peers.clock,
      random: this.random,
      logger: silentLogger,
      generation,
      addresses:
        options.addresses ?? (() => ({ clientAddress: '', peerAddress: `h${generation}:1` })),
      ring: () => this.ring,
      onLaterEpoch: (from, epoch) => epochsHeard.push({ from, epoch }),
    })
    membership.onLiveness((node, now) => {
      changes.push({ atMs: this.clock.monotonicMs(), node, now })
    })
    const member = { peers, membership, changes, epochsHeard }
    this.members.set(id, member)
    membership.start()
    return member
  }

  crash(id: NodeId): void {
    this.network.crash(id)
    this.members.get(id)?.membership.stop()
    this.members.delete(id)
  }

  view(of: NodeId, by: NodeId): Liveness {
    return this.members.get(by)!.membership.liveness(of)
  }

  /** Cuts a node from all others, both ways. */
  isolate(id: NodeId): void {
    for (const other of this.ids) {
      this.network.cut(id, other)
      this.network.cut(other, id)
    }
  }

  /** True when everybody who runs thinks `liveness` of the node. */
  agreed(node: NodeId, liveness: Liveness): boolean {
    const others = [...this.members].filter(([id]) => id !== node)
    return others.every(([, { membership }]) => membership.liveness(node) === liveness)
  }

  get allUp(): boolean {
    return [...this.members.keys()].every(id => this.agreed(id, 'up'))
  }

  /** Lets time pass until that is so; the milliseconds it took, or throws after `maxMs`. */
  async until(holds: () => boolean, maxMs: number): Promise<number> {
    const startMs = this.clock.monotonicMs()
    while (!holds()) {
      const passedMs = this.clock.monotonicMs() - startMs
      if (passedMs >= maxMs) throw new Error(`not so after ${passedMs} ms:\n${this.describe()}`)
      await this.clock.advanceAsync(50)
    }
    return this.clock.monotonicMs() - startMs
  }

  describe(): string {
    const lines = [...this.members].map(([id, { membership }]) => {
      const views = membership.members().map(view => `${view.nodeId.slice(0, 4)} ${view.liveness}`)
      return `${id.slice(0, 4)} (health ${membership.healthScore}): ${views.join(', ')}`
    })
    return lines.join('\n')
  }
}
