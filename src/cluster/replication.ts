/**
 * Sees to it that every write of this node reaches the other owners of its partition: sends it at
 * once to those that are there, keeps the duty in the log until they have it, and makes hints for
 * the others. What a client waits for of it is counted elsewhere (write-coordinator.ts).
 *
 *   write -> its batch: duties (log data) for peers that can be sent to, hints for the others
 *         -> queues of the peers -> acknowledged: the log may go
 *                                -> down, slow, or too late: hints -> replayed on return
 *
 * Invariants:
 *  1. From the moment of its submission on, until the peer has acknowledged it, a write is owed by
 *     the log from the hold on, or by a durable hint, or by a durable mark.
 *  2. Hints make no write fail, and count for no consistency.
 *  3. A ring of one member costs nothing here: it has no peers, no duties, no hints, no timer.
 */
import { type CancelTimer, type Clock, delay, yieldToEventLoop } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { DutyLedger, type DutyLog, type LogHold } from './duty-ledger.ts'
import { type LoggedBatches, recoverDuties } from './duty-recovery.ts'
import { ENTRIES_PER_TURN, HintMaker, OwedKeys } from './hint-maker.ts'
import { HintReplay, type HintReplayStats } from './hint-replay.ts'
import { HintStore } from './hint-store.ts'
import type { LivenessView } from './liveness.ts'
import { enginePartition, PARTITION_COUNT_WITH_PEERS_MAX } from './partition.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerNumbers } from './peer-numbers.ts'
import type { Peers } from './peers.ts'
import { ReplicaPeer } from './replica-peer.ts'
import type { OwedEntry, OwedRuns } from './replica-queue.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import { storedTimeMs } from './versioned-value.ts'
import { isThere, otherOwners, type Slot, slotsOf } from './write-acks.ts'

/** How often ages are looked at, and the hold is moved, while something is owed. */
const SWEEP_MS = 250
/** Sweeps between two records of where the hold is. */
const SWEEPS_PER_RECORD = 4
/** Sweeps between two counts of hints that seem too many. */
const SWEEPS_PER_COUNT = 120
/** How long a node that ends waits for peers to take what they are owed. */
const DRAIN_MS = 1000
const DRAIN_STEP_MS = 10

/** The log of the engine; its Db satisfies it. */
export interface ReplicationLog extends DutyLog, LoggedBatches {
  readonly openingHold: LogHold | undefined
}

export interface ReplicationOptions {
  readonly self: NodeId
  readonly log: ReplicationLog
  readonly store: PartitionedStore
  readonly table: RingTable
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The directory, for messages. */
  readonly path: string
  /** A peer goes by a newer ring than this node. */
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
  /** Bytes of hints for one peer. @defaultValue HINT_BYTES_MAX */
  readonly hintBytesMax?: number | undefined
}

/** What a node says of a peer's writes in its statistics. */
export interface ReplicaFigures {
  readonly isSendable: boolean
  /** Acknowledged here, and not yet by the peer. */
  readonly pendingBytes: number
  readonly pendingAgeMs: number
  readonly acked: number
  /** Hints, and their bytes; a key that was hinted several times may count as often. */
  readonly hintCount: number
  readonly hintBytes: number
  /** True when both are what is there. */
  readonly isHintCountExact: boolean
  /** Partitions that only a comparison can heal. */
  readonly dirtyPartitions: number
}

export interface ReplicationFigures {
  /** What no peer may have: lost if this node never returns. */
  readonly unreplicatedBytes: number
  readonly unreplicatedAgeMs: number
  readonly hints: HintReplayStats
  readonly peers: Readonly<Record<NodeId, ReplicaFigures>>
}

export class Replication {
  readonly self: NodeId
  readonly hints: HintStore
  readonly ledger: DutyLedger
  readonly #options: ReplicationOptions
  readonly #numbers: PeerNumbers
  readonly #replay: HintReplay
  readonly #maker: HintMaker
  #table: RingTable
  /** The other members, but those that are gone for good. */
  #replicas = new Map<NodeId, ReplicaPeer>()
  /** By partition; emptied when the ring changes. */
  #owners: (readonly ReplicaPeer[] | undefined)[] = []
  #slots: (readonly Slot[] | undefined)[] = []
  #changing: Promise<void> = Promise.resolve()
  #cancelSweep: CancelTimer | undefined
  #sweeps = 0
  #isStopped = false
  #progressWaiters: (() => void)[] = []
  readonly #unlisten: (() => void)[] = []

  private constructor(
    options: ReplicationOptions,
    parts: { hints: HintStore; numbers: PeerNumbers; ledger: DutyLedger },
  ) {
    const { peers, liveness } = options
    this.self = options.self
    this.#options = options
    this.#table = options.table
    this.hints = parts.hints
    this.ledger = parts.ledger
    this.#numbers = parts.numbers
    const { self, store, clock, random, logger, onNewerEpoch } = options
    this.#replay = new HintReplay({
      ...{ self, hints: this.hints, numbers: this.#numbers, store, peers, clock, random, logger },
      table: () => this.#table,
      isSendable: peer => this.#replicas.get(peer)?.isSendable === true,
      onNewerEpoch,
    })
    this.#maker = new HintMaker({
      ...{ hints: this.hints, numbers: this.#numbers, ledger: this.ledger, clock, logger },
      onHints: number => this.#replay.start(number),
    })
    this.#unlisten.push(
      peers.onLink((peer, isLinked) => this.#replicas.get(peer)?.linked(isLinked)),
      peers.onAnswering(peer => this.#replicas.get(peer)?.look()),
      liveness.onLiveness(peer => this.#replicas.get(peer)?.look()),
    )
  }

  /**
   * Reads what an earlier process owed and makes it hints. Requires that nothing is written yet.
   * Rejects with InvalidArgumentError when the node has too many partitions for a ring with peers.
   */
  static async open(options: ReplicationOptions): Promise<Replication> {
    const { log, table, self, path, logger, hintBytesMax } = options
    const { store } = options.store
    checkPartitions(table)
    const numbers = await PeerNumbers.open(store, path)
    await numbers.assign(othersOf(table, self))
    const bytesMax = hintBytesMax === undefined ? {} : { bytesMax: hintBytesMax }
    const { turns } = options.store
    const hints = await HintStore.open({ store, turns, ...bytesMax })
    const recovery = { self, log, store, hints, numbers, table, logger, path }
    // Without numbers nothing was ever owed to anybody.
    const sequence = numbers.count === 0 ? log.sequence + 1 : await recoverDuties(recovery)
    log.openingHold?.release()
    const ledger = new DutyLedger(log, store, sequence)
    const replication = new Replication(options, { hints, numbers, ledger })
    replication.#adopt(table)
    for (let number = 0; number < numbers.count; number++) replication.#replay.start(number)
    void replication.#maker.recount(() => true)
    return replication
  }

  get table(): RingTable {
    return this.#table
  }

  /** True when there is somebody to replicate to. */
  get hasPeers(): boolean {
    return this.#replicas.size > 0
  }

  figures(): ReplicationFigures {
    const { hints } = this
    const peers: Record<NodeId, ReplicaFigures> = {}
    let unreplicatedBytes = 0
    let unreplicatedAgeMs = 0
    for (const [nodeId, peer] of this.#replicas) {
      const { isSendable, pendingBytes, ackedCount: acked, number } = peer
      const pendingAgeMs = Math.round(peer.pendingAgeMs)
      unreplicatedBytes = Math.max(unreplicatedBytes, pendingBytes)
      unreplicatedAgeMs = Math.max(unreplicatedAgeMs, pendingAgeMs)
      const owed = {
        hintCount: hints.countOf(number),
        hintBytes: hints.bytesOf(number),
        isHintCountExact: hints.isExact(number),
        dirtyPartitions: hints.dirtyPartitions(number).length,
      }
      peers[nodeId] = { isSendable, pendingBytes, pendingAgeMs, acked, ...owed }
    }
    return { unreplicatedBytes, unreplicatedAgeMs, hints: this.#replay.stats, peers }
  }

  /** Corrects the estimates of hints that there are. Never rejects. */
  recountHints(): Promise<void> {
    return this.#maker.recount(number => this.hints.countOf(number) > 0)
  }

  /** Partitions of which the peer may lack anything: only a comparison of all of it tells. */
  dirtyPartitions(peer: NodeId): number[] {
    const number = this.#numbers.numberOf(peer)
    return number === undefined ? [] : this.hints.dirtyPartitions(number)
  }

  /** True when a peer may be owed something from before the time: hints do not tell theirs. */
  async owesBefore(timeMs: number): Promise<boolean> {
    if (this.#maker.isMaking) return true
    for (const peer of this.#replicas.values()) {
      if (await anyBefore(peer.pending(), timeMs)) return true
      if (this.hints.dirtyPartitions(peer.number).length > 0) return true
      const { keys } = await this.hints.page(peer.number, undefined, 1)
      if (keys.length > 0) return true
    }
    // What left a queue meanwhile may be no hint yet.
    return this.#maker.isMaking
  }

  /** As dirtyPartitions, once what the marks stand for is visible: to be compared from then on. */
  async beginCompare(peer: NodeId): Promise<readonly number[]> {
    const number = this.#numbers.numberOf(peer)
    return number === undefined ? [] : await this.hints.beginCompare(number)
  }

  /** The peer was found to have all of the partition that this node had when that began. */
  async clearDirty(peer: NodeId, partition: number): Promise<void> {
    const number = this.#numbers.numberOf(peer)
    if (number !== undefined) await this.hints.unmark(number, partition)
  }

  /** Goes by this ring from now on: once new members can be owed something, when it resolves. */
  changeRing(table: RingTable): Promise<void> {
    const changed = this.#changing.then(async () => {
      checkPartitions(table)
      await this.#numbers.assign(othersOf(table, this.self))
      if (table.ring.epoch > this.#table.ring.epoch) this.#adopt(table)
    })
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  /** Resolves once no change of the ring is under way, to the epoch that writes go by. */
  async inForce(): Promise<number> {
    await this.#changing
    return this.#table.ring.epoch
  }

  /** The other owners of the partition that take writes. */
  ownersOf(partition: number): readonly ReplicaPeer[] {
    const known = this.#owners[partition]
    if (known !== undefined) return known
    const owners = otherOwners(this.#table, partition, this.self).flatMap(nodeId => {
      const peer = this.#replicas.get(nodeId)
      return peer === undefined ? [] : [peer]
    })
    this.#owners[partition] = owners
    return owners
  }

  /** The slots of the partition, by the ring of this moment. */
  slotsOf(partition: number): readonly Slot[] {
    this.#slots[partition] ??= slotsOf(this.#table, partition)
    return this.#slots[partition]
  }

  /** Resolves when something that is owed has been acknowledged, or given up. */
  progress(): Promise<void> {
    return new Promise(resolve => {
      this.#progressWaiters.push(resolve)
    })
  }

  /** The peer has hints although it can be sent to. */
  replay(peer: ReplicaPeer): void {
    this.#replay.start(peer.number)
  }

  /** Something was pushed to a queue: its age and the hold are looked at from now on. */
  watch(): void {
    if (this.#cancelSweep !== undefined || this.#isStopped) return
    const { clock } = this.#options
    this.#cancelSweep = clock.setTimer(SWEEP_MS, () => this.#sweep(), { background: true })
  }

  /** Makes hints of what the peer is owed, so that the log need not be kept for it. */
  giveUp(peer: ReplicaPeer, runs: OwedRuns): void {
    this.#progressed()
    this.#maker.make(runs, (entry, owed) => {
      entry.write.acks?.failed(peer.nodeId)
      if (mustBeHinted(entry)) owed.add(peer.number, entry.engineKey)
    })
  }

  /** Makes hints of these keys for all others that own them; resolves once they are durable. */
  async oweByHints(keys: readonly Uint8Array[]): Promise<void> {
    const owed = new OwedKeys()
    for (const key of keys) {
      for (const { number } of this.ownersOf(enginePartition(key))) owed.add(number, key)
    }
    for (const [number, keysOwed] of owed.byNumber) {
      await this.hints.add(number, keysOwed)
      this.#replay.start(number)
    }
  }

  /** Waits a little for peers to take what they are owed, and stops. The rest stays in the log. */
  async close(): Promise<void> {
    const { clock } = this.#options
    for (let waitedMs = 0; this.#isOwed && waitedMs < DRAIN_MS; waitedMs += DRAIN_STEP_MS) {
      await delay(clock, DRAIN_STEP_MS)
    }
    // Before the queues forget what they hold.
    this.#advance()
    this.stop()
    await this.#changing
    if (this.hasPeers) await this.#record('sync')
  }

  /** Sends nothing more, and calls nobody. */
  stop(): void {
    this.#isStopped = true
    this.#maker.stop()
    for (const stop of this.#unlisten) stop()
    this.#cancelSweep?.()
    this.#replay.stop()
    for (const peer of this.#replicas.values()) peer.stop()
  }

  #adopt(table: RingTable): void {
    const former = this.#table
    this.#table = table
    this.#owners = []
    this.#slots = []
    this.#oweNewOwners(former)
    const before = this.#replicas
    this.#replicas = new Map()
    for (const nodeId of othersOf(table, this.self)) {
      this.#replicas.set(nodeId, before.get(nodeId) ?? this.#newPeer(nodeId))
    }
    for (const [nodeId, peer] of before) {
      if (this.#replicas.has(nodeId)) continue
      peer.leave()
      this.#replay.start(peer.number)
    }
  }

  /** What was planned by the former ring, and has not arrived, is owed to new owners, too. */
  #oweNewOwners(former: RingTable): void {
    const runs = [...this.#replicas.values()].flatMap(peer => peer.pending())
    const newOwners = newOwnersBy(former, this.#table, this.self)
    // An entry is in the queue of each peer that it is owed to.
    const seen = new Set<Uint8Array>()
    this.#maker.make(runs, ({ engineKey, stored, isDuty }, owed) => {
      if (!isDuty) return
      const owners = newOwners(enginePartition(engineKey))
      if (owners.length === 0 || seen.has(stored)) return
      seen.add(stored)
      for (const owner of owners) owed.add(this.#numbers.numberOf(owner)!, engineKey)
    })
  }

  #newPeer(nodeId: NodeId): ReplicaPeer {
    const { peers, liveness, clock, logger, onNewerEpoch } = this.#options
    const number = this.#numbers.numberOf(nodeId)!
    return new ReplicaPeer({
      ...{ nodeId, number, peers, liveness, clock, onNewerEpoch },
      table: () => this.#table,
      onMoved: runs => this.#moved(nodeId, runs),
      onGivenUp: (peer, runs) => this.giveUp(peer, runs),
      onReturned: peer => this.#replay.start(peer.number),
      onProgress: () => this.#progressed(),
      onFailure: (peer, error) =>
        logger.warn('a replica cannot take writes; it gets hints until it can', { peer, error }),
    })
  }

  /** The ring has changed under these: hints for those who own them now. */
  #moved(peer: NodeId, runs: OwedRuns): void {
    this.#maker.make(runs, (entry, owed) => {
      entry.write.acks?.failed(peer)
      if (!mustBeHinted(entry)) return
      for (const { number } of this.ownersOf(enginePartition(entry.engineKey))) {
        owed.add(number, entry.engineKey)
      }
    })
  }

  #progressed(): void {
    const waiters = this.#progressWaiters
    if (waiters.length === 0) return
    this.#progressWaiters = []
    for (const wake of waiters) wake()
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const isUrgent = this.ledger.isBroken
    for (const peer of this.#replicas.values()) peer.sweep(isUrgent)
    this.#advance()
    const isOwed = this.#isOwed || this.ledger.hasReservations
    this.#sweeps++
    if (this.#sweeps % SWEEPS_PER_RECORD === 0 || !isOwed) void this.#record()
    if (this.#sweeps % SWEEPS_PER_COUNT === 0) void this.#maker.recount(n => this.hints.isFull(n))
    if (isOwed) this.watch()
  }

  get #isOwed(): boolean {
    return [...this.#replicas.values()].some(peer => peer.pendingBytes > 0)
  }

  #advance(): void {
    let oldest: number | undefined
    for (const { oldestFloor } of this.#replicas.values()) {
      if (oldestFloor !== undefined) oldest = Math.min(oldest ?? oldestFloor, oldestFloor)
    }
    this.ledger.advance(oldest)
  }

  /** Never rejects: an old record is as good, but that the log is kept longer. */
  async #record(durability: 'sync' | 'none' = 'none'): Promise<void> {
    try {
      await this.hints.confirmMarks()
      await this.ledger.record(durability)
    } catch (error) {
      const { logger } = this.#options
      logger.debug('where duties begin was not recorded', { error })
      this.watch()
    }
  }
}

function othersOf(table: RingTable, self: NodeId): NodeId[] {
  const others = table.ring.members.filter(member => member.nodeId !== self && isThere(member))
  return others.map(({ nodeId }) => nodeId)
}

/** Who owns a partition by the one ring, and did not by the other. */
function newOwnersBy(former: RingTable, table: RingTable, self: NodeId) {
  const known: (readonly NodeId[])[] = []
  return (partition: number): readonly NodeId[] => {
    known[partition] ??= newOwners(partition)
    return known[partition]
  }
  function newOwners(partition: number): NodeId[] {
    const before = otherOwners(former, partition, self)
    return otherOwners(table, partition, self).filter(owner => !before.includes(owner))
  }
}

/** Whether any of them has a version from before the time. */
async function anyBefore(runs: OwedRuns, timeMs: number): Promise<boolean> {
  let count = 0
  for (const run of runs) {
    for (const { stored } of run) {
      if (count++ % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await yieldToEventLoop()
      if (storedTimeMs(stored) < timeMs) return true
    }
  }
  return false
}

/** What is in the log alone, and must not be lost with it. */
function mustBeHinted({ isDuty, write }: OwedEntry): boolean {
  return isDuty && !write.isCancelled
}

function checkPartitions({ ring }: RingTable): void {
  if (ring.members.length === 1 || ring.partitionCount <= PARTITION_COUNT_WITH_PEERS_MAX) return
  throw new InvalidArgumentError(
    `a node with ${ring.partitionCount} partitions cannot have peers: ` +
      `export it into a cluster with at most ${PARTITION_COUNT_WITH_PEERS_MAX}`,
  )
}
