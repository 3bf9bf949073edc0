/** Nodes that agree on rings over simulated links, on engines that keep what was fsynced. */
import assert from 'node:assert/strict'
import { CurrentRing } from '../../src/cluster/current-ring.ts'
import { EpochAcceptor } from '../../src/cluster/epoch-acceptor.ts'
import { EpochAgreement } from '../../src/cluster/epoch-agreement.ts'
import { JoinLeader } from '../../src/cluster/join-leader.ts'
import { joinCluster } from '../../src/cluster/joiner.ts'
import type { NodeIdentity } from '../../src/cluster/node-identity.ts'
import { NodeKey, nodeKey } from '../../src/cluster/partition.ts'
import type { Ring } from '../../src/cluster/ring.ts'
import { RingFollower } from '../../src/cluster/ring-follower.ts'
import { encodeRing } from '../../src/cluster/ring-format.ts'
import { type NewMember, type NodeId, nodeIdBytes } from '../../src/cluster/ring-member.ts'
import { UnavailableError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FakeEngine } from './fake-engine.ts'
import { SimClock } from './sim-clock.ts'
import { plainRing } from './sim-members.ts'
import { SimPeerNetwork, type SimPeers } from './sim-peers.ts'

export interface SimRingNode {
  readonly engine: FakeEngine
  readonly peers: SimPeers
  readonly ring: CurrentRing
  readonly acceptor: EpochAcceptor
  readonly follower: RingFollower
  readonly agreement: EpochAgreement
}

export class SimRings {
  readonly clock = new SimClock()
  readonly random: Random
  readonly network: SimPeerNetwork
  first: Ring
  readonly nodes = new Map<NodeId, SimRingNode>()
  /** Whose disks are old copies that were taken back, and not yet compared. */
  readonly forgetful = new Set<NodeId>()
  /** Nodes that hold data of users. */
  readonly filled = new Set<NodeId>()
  /** Who is at which address; where a node wants to join, itself unless a test says otherwise. */
  readonly at = new Map<string, NodeId | undefined>()
  /** What every node ever went by, by epoch. */
  readonly history = new Map<number, Uint8Array>()

  constructor(seed: number, count: number, lossRate = 0) {
    this.random = seededRandom(seed)
    this.network = new SimPeerNetwork({
      clock: this.clock,
      random: this.random,
      lossRate,
      delayMaxMs: 20,
    })
    this.first = plainRing(this.random, count)
  }

  get ids(): NodeId[] {
    return this.first.members.map(({ nodeId }) => nodeId)
  }

  async startAll(): Promise<void> {
    for (const id of this.ids) await this.start(id, this.first)
    await this.clock.advanceAsync(50)
  }

  /** With the ring, or with what an earlier life left. */
  async start(id: NodeId, from: Ring | FakeEngine): Promise<SimRingNode> {
    const engine = from instanceof FakeEngine ? from : await this.#engineWith(from)
    const { partitionCount, clusterId } = this.first
    const identity: NodeIdentity = {
      nodeId: nodeIdBytes(id),
      clusterId: nodeIdBytes(clusterId),
      partitionCount,
      createdMs: 0,
    }
    const ring = await CurrentRing.open(engine, '/data', identity, '')
    const acceptor = await EpochAcceptor.open(engine, '/data', ring, () => this.forgetful.has(id))
    const peers = this.network.start(id)
    const logger = silentLogger
    const follower = new RingFollower({
      ...{ peers, ring, logger },
      inForce: async () => ring.ring.epoch,
    })
    const { clock, random } = { clock: peers.clock, random: this.random }
    const agreement = new EpochAgreement({ peers, clock, random, logger, ring, acceptor, follower })
    const isEmpty = async (): Promise<boolean> => !this.filled.has(id)
    const meet = async (address: string): Promise<NodeId> => this.#meet(address)
    new JoinLeader({ peers, clock, logger, ring, agreement, follower, isEmpty, meet })
    this.#record(ring)
    ring.onChange(() => this.#record(ring))
    const node = { engine, peers, ring, acceptor, follower, agreement }
    this.nodes.set(id, node)
    return node
  }

  #meet(address: string): NodeId {
    const found = this.at.get(address)
    if (found !== undefined) return found
    throw new UnavailableError(`nobody is at ${address}`)
  }

  async #engineWith(ring: Ring): Promise<FakeEngine> {
    const engine = new FakeEngine({ wallMs: () => this.clock.wallMs() })
    const value = encodeRing(ring)
    await engine.write([{ type: 'put', key: nodeKey(NodeKey.ring), value, expiryMs: 0 }])
    return engine
  }

  /** Never two rings of one epoch. */
  #record({ ring, bytes }: CurrentRing): void {
    const known = this.history.get(ring.epoch)
    if (known === undefined) this.history.set(ring.epoch, bytes)
    else assert.deepEqual(bytes, known, `two rings of epoch ${ring.epoch}`)
  }

  /** Has a node that runs ask to be taken in. */
  join(member: NewMember, signal?: AbortSignal): Promise<void> {
    if (!this.at.has(member.peerAddress)) this.at.set(member.peerAddress, member.nodeId)
    const { peers, ring, follower } = this.nodes.get(member.nodeId)!
    const { clock, random } = { clock: peers.clock, random: this.random }
    const logger = silentLogger
    const options = { peers, clock, random, logger, ring, follower, signal }
    return joinCluster({ ...options, member: () => member })
  }

  /** Ends a node; gives what it leaves on its disk. */
  crash(id: NodeId): FakeEngine {
    const { engine, follower } = this.nodes.get(id)!
    this.network.crash(id)
    follower.stop()
    this.nodes.delete(id)
    return engine.crashed()
  }

  /** What a timer or a gossip would do: everybody hears of the epoch of a random other. */
  gossip(): void {
    const all = [...this.nodes]
    for (const [, node] of all) {
      const [from, { ring }] = all[this.random.below(all.length)]!
      node.follower.heard(from, ring.ring.epoch)
    }
  }
}
