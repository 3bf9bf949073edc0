/**
 * What a node with peers has beside its store, put together: reads, scans and writes across the
 * replicas, and anti-entropy. Needs links and an opinion of who is up; knows nothing of how they
 * come about.
 *
 *   open (answers peers from here on; before the links are started) --> start --> close
 */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { AntiEntropy } from './anti-entropy.ts'
import type { BelievedClock } from './believed-clock.ts'
import { ClockWatch, type WatchedVersions } from './clock-watch.ts'
import { ClusterScans } from './cluster-scans.ts'
import { ClusterWrites } from './cluster-writes.ts'
import { HintReports } from './hint-reports.ts'
import type { LivenessView } from './liveness.ts'
import type { ClusterParts } from './node-handler.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import type { Peers } from './peers.ts'
import { PurgeMarks } from './purge-marks.ts'
import { ReadCoordinator } from './read-coordinator.ts'
import { RepairRuns } from './repair-runs.ts'
import type { ReplicationLog } from './replication.ts'
import type { Ring } from './ring.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'

export interface ClusterNodeOptions {
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly store: PartitionedStore
  readonly log: ReplicationLog
  /** The ring that the node goes by now. */
  readonly ring: () => RingTable
  readonly clock: Clock
  /** By which the node versions writes, and the versions themselves. */
  readonly wallClock: BelievedClock
  readonly versions: WatchedVersions
  readonly random: Random
  readonly logger: Logger
  /** The directory, for messages. */
  readonly path: string
  /** A peer goes by a newer ring than this node. */
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
  /** Takes back the change of the ring that is under way. */
  readonly abort: () => Promise<Ring>
  /** True once quorums may rely on this node. @defaultValue always */
  readonly mayVote?: () => boolean
  /** Bytes of hints for one peer. @defaultValue HINT_BYTES_MAX */
  readonly hintBytesMax?: number | undefined
  /** The machine's clock needs nobody to agree with it; see ClockWatch. */
  readonly isClockKnown: boolean
}

interface ClusterNodeParts {
  readonly reads: ReadCoordinator
  readonly writes: ClusterWrites
  readonly marks: PurgeMarks
  readonly clocks: ClockWatch
}

export class ClusterNode implements ClusterParts {
  readonly reads: ReadCoordinator
  readonly scans: ClusterScans
  readonly writes: ClusterWrites
  readonly repair: AntiEntropy
  readonly admin: ClusterParts['admin']

  readonly #clocks: ClockWatch
  readonly #marks: PurgeMarks

  private constructor(options: ClusterNodeOptions, parts: ClusterNodeParts) {
    const { reads, writes, marks } = parts
    const { sets, choice } = reads
    this.#clocks = parts.clocks
    this.#marks = marks
    this.reads = reads
    this.scans = new ClusterScans({ ...options, sets, choice, marks })
    this.writes = writes
    this.repair = new AntiEntropy({
      ...options,
      // Nobody else looks at the marks that an only replica moves.
      clock: options.wallClock,
      ...{ sets, marks },
      owesBefore: timeMs => writes.replication.owesBefore(timeMs),
      dirty: {
        partitionsOf: peer => writes.dirtyPartitions(peer),
        beginCompare: peer => writes.replication.beginCompare(peer),
        clear: (peer, partition) => writes.replication.clearDirty(peer, partition),
      },
    })
    const { peers, liveness, clock, ring, abort } = options
    const members = () => membersOf(ring())
    const repairs = new RepairRuns({ peers, members, repair: this.repair })
    const { replication } = writes
    const lacking = () => marks.damaged.count
    const hints = new HintReports({ peers, liveness, clock, members, replication, lacking })
    this.admin = { peers, sets, repairs, hints, abort }
  }

  /** Rejects as the store does. */
  static async open(options: ClusterNodeOptions): Promise<ClusterNode> {
    const { peers, store, ring, path, mayVote } = options
    const marks = await PurgeMarks.open(store, path, mayVote)
    const { wallClock, versions, logger, isClockKnown: isKnown } = options
    const reads = new ReadCoordinator({ ...options, clock: wallClock, marks })
    const { choice } = reads
    const table = ring()
    const fence = (entries: readonly StoredEntry[]) => marks.fence(entries)
    const members = () => membersOf(ring())
    const clocks = new ClockWatch({ peers, members, clock: wallClock, versions, logger, isKnown })
    const clockReady = () => clocks.ready()
    const terms = { self: peers.self, table, choice, fence, clockReady }
    const writes = await ClusterWrites.open({ ...options, ...terms })
    return new ClusterNode(options, { reads, writes, marks, clocks })
  }

  /** Begins to compare with the peers. */
  start(): void {
    this.#clocks.start()
    this.repair.start()
  }

  /** Goes by this ring from now on; resolves once writes do. Reads follow `ring`. */
  changeRing(table: RingTable): Promise<void> {
    return this.writes.changeRing(table)
  }

  /** What `kvcli stats` shows of it. */
  get stats(): Readonly<Record<string, unknown>> {
    return {
      reads: { ...this.reads.figures },
      scans: this.scans.figures,
      writes: this.writes.figures(),
      repair: { ...this.repair.stats, run: this.admin.repairs.status },
      clock: { offMs: Math.round(this.clockOffMs) },
    }
  }

  /** True while this node lacks some of what it should have, and answers no quorum for that. */
  get isLacking(): boolean {
    return this.#marks.damaged.count > 0
  }

  /** How far this node's clock is from those of the others, in milliseconds. */
  get clockOffMs(): number {
    return this.#clocks.offMs
  }

  /** True while it takes no writes because no other member agrees with its clock yet. */
  get isClockUnconfirmed(): boolean {
    return this.#clocks.isUnconfirmed
  }

  /** What is owed stays in log and hints. */
  async close(): Promise<void> {
    this.#clocks.close()
    this.repair.close()
    await this.writes.close()
  }
}

function membersOf({ ring }: RingTable): NodeId[] {
  return ring.members.map(({ nodeId }) => nodeId)
}
