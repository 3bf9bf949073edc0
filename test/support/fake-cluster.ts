/** Nodes of one cluster in one process: fake engines, fake links, one clock that the test moves. */

import { AntiEntropy } from '../../src/cluster/anti-entropy.ts'
import { ClusterScans } from '../../src/cluster/cluster-scans.ts'
import type { PartitionedStore } from '../../src/cluster/partitioned-store.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { PurgeMarks } from '../../src/cluster/purge-marks.ts'
import { ReadCoordinator } from '../../src/cluster/read-coordinator.ts'
import { ReplicaApply } from '../../src/cluster/replica-apply.ts'
import type { Ring } from '../../src/cluster/ring.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import type { Store } from '../../src/cluster/store.ts'
import { encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import { silentLogger } from '../../src/logger.ts'
import type { Random } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import type { FakeEngine } from './fake-engine.ts'
import { startFakeNode } from './fake-node.ts'
import { FakeNetwork, type FakePeers } from './fake-peers.ts'
import { ringOf } from './random-ring.ts'
import { SimClock } from './sim-clock.ts'

export interface FakeMember {
  readonly id: NodeId
  engine: FakeEngine
  store: PartitionedStore
  peers: FakePeers
  reads: ReadCoordinator
  scans: ClusterScans
  marks: PurgeMarks
  repair: AntiEntropy
  /** Dirty marks by peer; of the test, and so not lost in a crash. */
  readonly dirty: Map<NodeId, Set<number>>
}

export interface FakeClusterOptions {
  readonly random: Random
  readonly nodes: number
  readonly partitionCount?: number
  readonly replicationFactor?: number
  /** Anti-entropy runs by itself. Default false. */
  readonly repairs?: boolean
  /** Of each link, each way; absent: nothing takes long for its size. */
  readonly bytesPerSecond?: number
  /** Real engines, by the number of the node; crash() and restart() are not for those. */
  readonly openStore?: (number: number, clock: SimClock) => Promise<Store>
}

export class FakeCluster {
  readonly clock = new SimClock()
  readonly network: FakeNetwork
  readonly members: FakeMember[] = []
  readonly random: Random
  table: RingTable
  /** Members that owe somebody something old. */
  readonly debtors = new Set<NodeId>()
  /** Members that have just started, so that no quorum may rely on them. */
  readonly voteless = new Set<NodeId>()

  readonly repairs: boolean

  private constructor(ring: Ring, options: FakeClusterOptions) {
    const { random, repairs = false, bytesPerSecond } = options
    this.random = random
    this.repairs = repairs
    const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond }
    this.network = new FakeNetwork({ clock: this.clock, random, ...rate })
    this.table = new RingTable(ring)
  }

  static async start(options: FakeClusterOptions): Promise<FakeCluster> {
    const { random, nodes, partitionCount = 16, replicationFactor = 3 } = options
    const members = Array.from({ length: nodes }, () => ({}))
    const ring = ringOf(random, { partitionCount, replicationFactor, virtualNodes: 16, members })
    const cluster = new FakeCluster(ring, options)
    for (const [number, { nodeId }] of ring.members.entries()) {
      const realStore = await options.openStore?.(number, cluster.clock)
      cluster.members.push(await cluster.#startMember(nodeId, { realStore }))
    }
    cluster.network.announce()
    return cluster
  }

  /** Kills a node; what it had submitted and not made durable is lost. */
  crash(member: FakeMember): void {
    this.network.stop(member.id)
    member.repair.close()
    member.engine = member.engine.crashed()
  }

  async restart(member: FakeMember): Promise<void> {
    Object.assign(member, await this.#startMember(member.id, member))
    this.network.announce()
  }

  /** Those that own the key, up or not. */
  replicasOf(key: Uint8Array): FakeMember[] {
    const { partitioner } = this.members[0]!.store
    const partition = partitioner.partitionOf(key)
    return this.members.filter(({ id }) => this.table.isOwner(partition, id))
  }

  /** Moves time on in small steps, so that work of many turns takes no longer than it should. */
  async pass(byMs: number): Promise<void> {
    for (let leftMs = byMs; leftMs > 0; leftMs -= 5) await this.clock.advanceAsync(5)
  }

  /** Moves time on until the promise has settled. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const state = { isOver: false }
    const over = (): void => {
      state.isOver = true
    }
    promise.then(over, over)
    for (let step = 0; !state.isOver; step++) {
      if (step > SETTLE_MS_MAX) throw new Error('it never settles')
      await this.clock.advanceAsync(1, 1)
    }
    return promise
  }

  /** A stored form whose version is its number: a value that says so, or a tombstone. */
  form(number: number, isTombstone = false): Uint8Array {
    const version = encodeVersion(this.clock.wallMs() - 1_000_000 + number, 0, WRITER)
    if (isTombstone) return encodeTombstone(version)
    return encodeValue(version, new TextEncoder().encode(`${number}`), 0)
  }

  async #startMember(
    id: NodeId,
    earlier: Partial<Pick<FakeMember, 'engine' | 'dirty'>> & { realStore?: Store | undefined },
  ): Promise<FakeMember> {
    const { engine, realStore, dirty = new Map<NodeId, Set<number>>() } = earlier
    const { clock, random } = this
    const partitionCount = this.table.ring.partitionCount
    const node = await startFakeNode({
      clock,
      random,
      partitionCount,
      isReplicated: true,
      ...(engine === undefined ? {} : { engine }),
      ...(realStore === undefined ? {} : { realStore }),
    })
    const peers = this.network.join(id)
    const { store } = node
    const marks = await PurgeMarks.open(store, '/data', () => !this.voteless.has(id))
    const reads = new ReadCoordinator({
      peers,
      liveness: peers,
      store,
      ring: () => this.table,
      marks,
      clock,
    })
    const { sets, choice } = reads
    const scans = new ClusterScans({ store, peers, sets, choice, marks, clock })
    const apply = new ReplicaApply({
      ...{ self: id, store, clock, table: () => this.table },
      onNewerEpoch: () => undefined,
      fence: entries => marks.fence(entries),
    })
    peers.handle(PeerMessage.hints, (body, context) => apply.hints(body, context))
    const repair = new AntiEntropy({
      ...{ peers, liveness: peers, store, sets, marks, clock, random },
      logger: silentLogger,
      owesBefore: async () => {
        await Promise.resolve()
        return this.debtors.has(id)
      },
      dirty: {
        partitionsOf: peer => [...(dirty.get(peer) ?? [])],
        beginCompare: async peer => [...(dirty.get(peer) ?? [])],
        clear: async (peer, partition) => {
          await Promise.resolve()
          dirty.get(peer)?.delete(partition)
        },
      },
    })
    if (this.repairs) repair.start()
    return { id, engine: node.engine, store, peers, reads, scans, marks, repair, dirty }
  }
}

const WRITER = new Uint8Array(8).fill(7)
/** More than a page of a scan takes when two replicas, one after the other, say nothing. */
const SETTLE_MS_MAX = 30_000
