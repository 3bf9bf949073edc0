/**
 * Anti-entropy of a node: it compares every partition with every other replica, all the time, at
 * once with a peer that returns, and whenever somebody asks; and answers theirs. So replicas hold
 * the same in the end, whatever was lost on the way.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { ClosedError, KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { BackgroundBudget } from './background-budget.ts'
import { Leftovers } from './leftovers.ts'
import type { LivenessView } from './liveness.ts'
import { PartitionSalvage } from './partition-salvage.ts'
import { PartitionTrees } from './partition-trees.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { PurgeRounds } from './purge-rounds.ts'
import { PurgeSweep } from './purge-sweep.ts'
import { RepairExchange } from './repair-exchange.ts'
import { type DirtyMarks, RepairPair, type RoundProgress } from './repair-pair.ts'
import { serveRepair } from './repair-server.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import { WorkPlaces } from './work-places.ts'

/** Bytes that repair may send and receive in a second. */
const BYTES_PER_SECOND = 16 * 1024 * 1024
/** Peers that are compared with at once. */
const PAIRS_AT_ONCE = 2
/** How often the members of the ring are looked at. */
const MEMBERS_MS = 1000

export interface AntiEntropyOptions {
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly marks: PurgeMarks
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly dirty: DirtyMarks
  /** True when this node may owe anybody something from before the time. */
  readonly owesBefore: (timeMs: number) => Promise<boolean>
  /** How long deletions are kept at least. @defaultValue PURGE_GRACE_MS */
  readonly purgeGraceMs?: number
}

/** A full round with all peers that somebody asked for. */
export interface RepairRun {
  /** Resolves to the peers with which it failed, and why. */
  readonly done: Promise<readonly { readonly peer: NodeId; readonly reason: string }[]>
  progress(): readonly RoundProgress[]
}

export class AntiEntropy {
  readonly trees: PartitionTrees
  readonly exchange: RepairExchange
  readonly purge: PurgeRounds
  readonly salvage: PartitionSalvage
  readonly #sweep: PurgeSweep
  readonly #leftovers: Leftovers
  readonly #options: AntiEntropyOptions
  readonly #places = new WorkPlaces(PAIRS_AT_ONCE)
  readonly #pairs = new Map<NodeId, RepairPair>()
  readonly #stop: (() => void)[] = []
  /** The partitions of each peer, of the ring `#sharedTable`. */
  #shared = new Map<NodeId, readonly number[]>()
  #sharedTable: RingTable | undefined
  #cancelLook: CancelTimer = () => undefined
  #isClosed = false

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: AntiEntropyOptions) {
    const { store, marks, clock, peers } = options
    this.#options = options
    this.trees = new PartitionTrees(store, partition => marks.markMs(partition))
    const budget = new BackgroundBudget(clock, BYTES_PER_SECOND)
    this.salvage = new PartitionSalvage({
      ...options,
      trees: this.trees,
      isReachable: node => this.#isReachable(node),
      onSalvaged: () => {
        for (const pair of this.#pairs.values()) pair.returned()
      },
    })
    const { salvage, trees } = this
    this.exchange = new RepairExchange({ ...options, trees, salvage, budget })
    serveRepair({ ...options, trees, salvage })
    this.#sweep = new PurgeSweep({ ...options, budget })
    const isReachable = (node: NodeId) => this.#isReachable(node)
    this.#leftovers = new Leftovers({ ...options, budget, isReachable })
    this.purge = new PurgeRounds({
      ...options,
      trees: this.trees,
      exchange: this.exchange,
      isReachable: node => this.#isReachable(node),
      ...(options.purgeGraceMs === undefined ? {} : { graceMs: options.purgeGraceMs }),
    })
    const back = (peer: NodeId, isBack: boolean): void => {
      if (isBack) this.#pairs.get(peer)?.returned()
    }
    this.#stop.push(peers.onLink(back))
    this.#stop.push(
      options.liveness.onLiveness((peer, liveness) => {
        back(peer, liveness === 'up')
      }),
    )
  }

  /** Begins to compare and to purge; the links may be started or not. */
  start(): void {
    this.#sweep.start()
    this.#leftovers.start()
    this.purge.start()
    this.#look()
  }

  #look(): void {
    if (this.#isClosed) return
    this.#followRing()
    const { clock } = this.#options
    this.#cancelLook = clock.setTimer(MEMBERS_MS, () => this.#look(), { background: true })
  }

  #isReachable(node: NodeId): boolean {
    const { peers, liveness } = this.#options
    return peers.isLinked(node) && liveness.liveness(node) !== 'down'
  }

  close(): void {
    this.#isClosed = true
    this.#cancelLook()
    this.#sweep.close()
    this.#leftovers.close()
    this.salvage.close()
    this.purge.close()
    for (const stop of this.#stop) stop()
    for (const pair of this.#pairs.values()) pair.close(new ClosedError('the node is closing'))
    this.#pairs.clear()
  }

  /** The pair with a peer, once it is a member. */
  pair(peer: NodeId): RepairPair | undefined {
    return this.#pairs.get(peer)
  }

  /** Partitions that the peer owns as well. */
  sharedWith(peer: NodeId): readonly number[] {
    const { sets } = this.#options
    const { table } = sets.current
    if (table !== this.#sharedTable) this.#shared = new Map()
    this.#sharedTable = table
    const known = this.#shared.get(peer)
    if (known !== undefined) return known
    const all = Array.from({ length: table.ring.partitionCount }, (_, partition) => partition)
    const shared = all.filter(
      partition => table.isOwner(partition, sets.self) && table.isOwner(partition, peer),
    )
    this.#shared.set(peer, shared)
    return shared
  }

  /** Compares everything with every peer, now. */
  repairNow(): RepairRun {
    this.#followRing()
    const rounds = [...this.#pairs].map(([peer, pair]) => new DemandedRound(peer, pair))
    return {
      done: Promise.all(rounds.map(({ failures }) => failures)).then(all => all.flat()),
      progress: () => rounds.map(round => round.progress()),
    }
  }

  /** What `kvcli stats` shows; ages in milliseconds. */
  get stats(): Readonly<Record<string, unknown>> {
    const nowMs = this.#options.clock.monotonicMs()
    const peers: Record<string, unknown> = {}
    for (const [peer, { roundMs, oldestMs }] of this.#pairs) {
      const lastRoundAgoMs = roundMs === undefined ? undefined : Math.round(nowMs - roundMs)
      peers[peer] = { lastRoundAgoMs, oldestUnrepairedMs: Math.round(nowMs - oldestMs) }
    }
    const { built, entriesRead, damaged } = this.trees
    const { marks } = this.#options
    const { advanced, obstacle } = this.purge
    const { refused, behindCount: behind } = marks
    const purge = { purged: this.#sweep.purged, advanced, obstacle, refused, behind }
    const { runs, lostBlocks } = this.salvage
    const damage = { partitions: marks.damaged.count, runs, lostBlocks }
    const trees = { built, entriesRead, damaged }
    const leftovers = this.#leftovers.dropped
    return { ...this.exchange.figures, leftovers, trees, damage, purge, peers }
  }

  #followRing(): void {
    const { sets } = this.#options
    const members = new Set(sets.current.table.ring.members.map(({ nodeId }) => nodeId))
    members.delete(sets.self)
    for (const [peer, pair] of this.#pairs) {
      if (members.has(peer)) continue
      pair.close(new ClosedError(`${peer} is no member any more`))
      this.#pairs.delete(peer)
    }
    for (const peer of members) if (!this.#pairs.has(peer)) this.#pairs.set(peer, this.#open(peer))
  }

  #open(peer: NodeId): RepairPair {
    const { sets, dirty, marks } = this.#options
    return new RepairPair({
      ...this.#options,
      // What this node lacks itself is as urgent as what it owes.
      dirty: {
        partitionsOf: node => [...dirty.partitionsOf(node), ...marks.damaged.waitingFor(node)],
        beginCompare: node => dirty.beginCompare(node),
        clear: (node, partition) => dirty.clear(node, partition),
      },
      peer,
      self: sets.self,
      exchange: this.exchange,
      places: this.#places,
      shared: () => this.sharedWith(peer),
      isReachable: () => this.#isReachable(peer),
    })
  }
}

/** A full round with one peer that somebody waits for. Its progress never goes back. */
class DemandedRound {
  /** Resolves to why it failed, or to nothing. */
  readonly failures: Promise<readonly { readonly peer: NodeId; readonly reason: string }[]>
  readonly #peer: NodeId
  readonly #pair: RepairPair
  #isOver = false
  #compared = 0

  constructor(peer: NodeId, pair: RepairPair) {
    this.#peer = peer
    this.#pair = pair
    this.failures = this.#run()
  }

  /** All of it once it is over, also when it failed. */
  progress(): RoundProgress {
    const { compared, total } = this.#pair.progress
    // A peer that returns meanwhile makes the round begin anew.
    this.#compared = Math.max(this.#compared, compared)
    return { peer: this.#peer, compared: this.#isOver ? total : this.#compared, total }
  }

  async #run(): Promise<readonly { readonly peer: NodeId; readonly reason: string }[]> {
    try {
      await this.#pair.demand()
      return []
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return [{ peer: this.#peer, reason: error.message }]
    } finally {
      this.#isOver = true
    }
  }
}
