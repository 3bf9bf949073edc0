/**
 * Nodes of one cluster in one process with real engines on simulated disks, for tests of writes:
 * fake links, one clock that the test moves, power losses and restarts. Nothing repairs: what
 * replicas have in the end, writes and hints brought them.
 */
import { attempt } from '../../src/attempt.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { readClockMark, writeClockMark } from '../../src/cluster/clock-mark.ts'
import { ClusterWrites } from '../../src/cluster/cluster-writes.ts'
import { HybridLogicalClock } from '../../src/cluster/hybrid-logical-clock.ts'
import { Partitioner } from '../../src/cluster/partition.ts'
import { PartitionedStore } from '../../src/cluster/partitioned-store.ts'
import { ReplicaChoice } from '../../src/cluster/replica-choice.ts'
import type { Ring } from '../../src/cluster/ring.ts'
import { type NodeId, nodeIdBytes } from '../../src/cluster/ring-member.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import type { StoreWrite } from '../../src/cluster/store-operation.ts'
import type { Db, DbOptions, DbTuning } from '../../src/engine/index.ts'
import type { Consistency } from '../../src/key-value-store.ts'
import { silentLogger } from '../../src/logger.ts'
import type { Random } from '../../src/random.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import { FakeNetwork, type FakePeers } from './fake-peers.ts'
import { type CrashOptions, MemoryFileSystem } from './memory-file-system.ts'
import { ringOf } from './random-ring.ts'
import { SimClock } from './sim-clock.ts'
import { forgetful, takeEveryEpoch, type WritePlant, withoutHints } from './write-plants.ts'

export interface WriteMember {
  readonly id: NodeId
  disk: MemoryFileSystem
  /** Undefined while it is down. */
  running: RunningMember | undefined
}

export interface RunningMember {
  readonly db: Db
  readonly store: PartitionedStore
  readonly peers: FakePeers
  readonly writes: ClusterWrites
}

export interface WriteClusterOptions {
  readonly random: Random
  readonly nodes: number
  readonly partitionCount?: number
  readonly replicationFactor?: number
  readonly hintBytesMax?: number
  readonly engine?: DbOptions & DbTuning
  readonly plant?: WritePlant
  /** One way, at most. @defaultValue 2 */
  readonly latencyMaxMs?: number
  /** Of each link; see FakeNetworkOptions. */
  readonly bytesPerSecond?: number
}

export class WriteCluster {
  readonly clock = new SimClock()
  readonly network: FakeNetwork
  readonly members: WriteMember[] = []
  readonly random: Random
  readonly #options: WriteClusterOptions
  readonly newerEpochs: number[] = []
  /** Throws when the clock of a member is off; resolves when it may not be any more. */
  /** How far the clock is ahead by which a member makes versions, and judges those of others. */
  clockAheadMs: (member: WriteMember) => number = () => 0
  clockReady: (member: WriteMember) => Promise<void> | undefined = () => undefined
  table: RingTable

  private constructor(options: WriteClusterOptions, ring: Ring) {
    this.random = options.random
    this.#options = options
    const { random, latencyMaxMs = 2, bytesPerSecond } = options
    const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond }
    this.network = new FakeNetwork({ clock: this.clock, random, latencyMaxMs, ...rate })
    this.table = new RingTable(ring)
  }

  static async start(options: WriteClusterOptions): Promise<WriteCluster> {
    const { random, nodes, partitionCount = 16, replicationFactor = 3 } = options
    const members = Array.from({ length: nodes }, () => ({}))
    const ring = ringOf(random, { partitionCount, replicationFactor, virtualNodes: 16, members })
    const cluster = new WriteCluster(options, ring)
    for (const { nodeId: id } of ring.members) {
      const member = { id, disk: new MemoryFileSystem(), running: undefined }
      cluster.members.push(member)
      await cluster.start(member)
    }
    return cluster
  }

  /** Starts a node on what its disk has. */
  async start(member: WriteMember): Promise<void> {
    const { clock, random } = this
    const options = { holdWalFrom: 'oldest', ...this.#options.engine } as const
    const db = await openEngine(member.disk, { clock, options })
    const versions = new HybridLogicalClock({
      clock: {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs() + this.clockAheadMs(member),
        setTimer: (...timer) => clock.setTimer(...timer),
      },
      newWriter: () => nodeIdBytes(member.id).subarray(0, 8),
      marks: await readClockMark(db, '/db'),
      persistMarks: marks => writeClockMark(db, marks),
    })
    const partitioner = new Partitioner(this.table.ring.partitionCount)
    const isReplicated = () => true
    const { hintBytesMax, plant } = this.#options
    const store = new PartitionedStore({
      ...{ store: plant === 'hintNotDurable' ? withoutHints(db) : db, partitioner, versions },
      ...{ clock, path: '/db', isReplicated },
    })
    const peers = this.network.join(member.id)
    const epoch = () => member.running?.writes.replication.table.ring.epoch ?? 0
    if (plant === 'staleEpoch') takeEveryEpoch(peers, epoch)
    const log = plant === 'dutyForgotten' ? forgetful(db) : db
    const liveness = peers
    const opening = ClusterWrites.open({
      ...{ self: member.id, log, store, table: this.table, peers, liveness, clock },
      random,
      clockReady: () => this.clockReady(member),
      logger: silentLogger,
      path: '/db',
      choice: new ReplicaChoice({ peers, liveness, monotonicMs: () => clock.monotonicMs() }),
      onNewerEpoch: (_peer, epoch) => void this.newerEpochs.push(epoch),
      ...(hintBytesMax === undefined ? {} : { hintBytesMax }),
    })
    const writes = await drive(clock, opening)
    member.running = { db, store, peers, writes }
    this.network.announce()
  }

  /** Power loss: the disk keeps what was synced, and of the rest what chance keeps. */
  async crash(member: WriteMember, options: CrashOptions = { keep: 'random' }): Promise<void> {
    const { running, disk } = member
    if (running === undefined) return
    member.disk = disk.crashClone(this.random, options)
    await this.#end(member, running)
  }

  /** kill -9: what was written to files is there. */
  async kill(member: WriteMember): Promise<void> {
    const { running, disk } = member
    if (running === undefined) return
    member.disk = disk.processCrashClone(this.random)
    await this.#end(member, running)
  }

  async #end(member: WriteMember, { writes, db }: RunningMember): Promise<void> {
    member.running = undefined
    this.network.stop(member.id)
    writes.replication.stop()
    await drive(
      this.clock,
      db.close().catch(() => undefined),
    )
  }

  async stop(member: WriteMember): Promise<void> {
    const { running } = member
    if (running === undefined) return
    member.running = undefined
    this.network.stop(member.id)
    await drive(this.clock, running.writes.close())
    await drive(this.clock, running.db.close())
  }

  async stopAll(): Promise<void> {
    for (const member of this.members) await this.stop(member)
  }

  write(
    member: WriteMember,
    operations: readonly StoreWrite[],
    consistency: Consistency = 'one',
    version?: Uint8Array,
    onVersion?: (version: Uint8Array) => void,
  ): Promise<void> {
    const deadlineMs = this.clock.monotonicMs() + 3000
    const terms = { consistency, deadlineMs, durability: undefined, version, onVersion }
    const { writes } = member.running!
    return Promise.resolve(attempt(() => writes.batch(operations, terms)))
  }

  owners(key: Uint8Array): WriteMember[] {
    const partition = new Partitioner(this.table.ring.partitionCount).partitionOf(key)
    return this.members.filter(({ id }) => this.table.isOwner(partition, id))
  }

  /** What a replica has under the key, in hex; undefined when nothing. */
  async formAt(member: WriteMember, key: Uint8Array): Promise<string | undefined> {
    const { store } = member.running!
    const stored = await store.readStored(store.partitioner.engineKey(key))
    return stored && Buffer.from(stored).toString('hex')
  }

  /** This ring, at the nodes that are up and among these. */
  async changeRing(ring: Ring, members: readonly WriteMember[] = this.members): Promise<void> {
    this.table = new RingTable(ring)
    for (const { running } of members) {
      if (running !== undefined) await drive(this.clock, running.writes.changeRing(this.table))
    }
  }

  /** Moves time on until the promise has settled. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const state = { isOver: false }
    const over = (): void => {
      state.isOver = true
    }
    promise.then(over, over)
    for (let step = 0; !state.isOver; step++) {
      if (step > 20_000) throw new Error('it never settles')
      await this.clock.advanceAsync(1, 1)
    }
    return promise
  }

  async pass(ms: number, stepMs = 25): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) await this.clock.advanceAsync(stepMs, 2)
    await yieldToEventLoop()
  }
}
