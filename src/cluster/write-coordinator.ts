/**
 * Writes of clients, on a node that may or may not own what is written.
 *
 * What it owns it writes itself, all partitions in one batch of the engine, while the other owners
 * are being sent it; `one` is acknowledged after the own fsync, `quorum` and `all` when so many
 * slots have it. The rest goes to an owner of each partition, one hop (write-forwarding.ts): such a
 * batch is atomic for each partition, and for all that one node is sent.
 *
 * Three outcomes, never two: it resolves, and is so durable; it is rejected, and nothing was
 * written anywhere (KV_UNAVAILABLE before anything was sent, when too few replicas can be there);
 * or it is unknown, and may surface later, as replication goes on. See `outcome` of the errors.
 *
 * At `one` a node acknowledges what it alone has, but never more of it than a second or 8 MiB for
 * each peer that is there: above that a write waits for one more replica. Where the queues of all
 * peers that are there are full, every write waits for room, and beyond a limit a peer that does
 * not keep up gets hints, whatever the write asked for. Peers that are not there do not count: then
 * hints stand for them, and how much is unreplicated has no limit but the disk.
 */
import { copyBytes } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import {
  InvalidArgumentError,
  OverloadedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from '../errors.ts'
import type { Consistency } from '../key-value-store.ts'
import { REPLICATED_VALUE_SIZE_MAX } from './link-rate.ts'
import { enginePartition, engineUserKey } from './partition.ts'
import {
  LARGE_COUNT,
  type PartitionedStore,
  type StoredEntry,
  type WriteTerms,
} from './partitioned-store.ts'
import { ReplicatedWrite } from './replicated-write.ts'
import type { Replication } from './replication.ts'
import type { StoreWrite } from './store-operation.ts'
import { TimeSlice } from './time-slice.ts'
import { type Slot, type SlotDemand, WriteAcks } from './write-acks.ts'
import type { WriteForwarding } from './write-forwarding.ts'
import { settleParts, unknownOutcome } from './write-outcome.ts'

/** How long a write waits for room in the queues of peers before it is refused. */
const ROOM_WAIT_MS = 1000
const ROOM_RETRY_MS = 100

export interface CoordinatedTerms extends WriteTerms {
  readonly consistency: Consistency
  /** Monotonic milliseconds after which nobody waits. */
  readonly deadlineMs: number
}

export interface WriteCoordinatorOptions {
  readonly store: PartitionedStore
  readonly replication: Replication
  readonly forwarding: WriteForwarding
  readonly clock: Clock
  /** Whether this node's clock may order writes (ClockWatch.ready). Absent: it may. */
  readonly clockReady?: (() => Promise<void> | undefined) | undefined
}

/** Writes the node's own part, and tells `write` of it. */
type WriteOwn = (write: ReplicatedWrite) => Promise<void>

export class WriteCoordinator {
  readonly #options: WriteCoordinatorOptions

  constructor(options: WriteCoordinatorOptions) {
    this.#options = options
  }

  /**
   * All or none of each partition, under one version. Borrows the bytes of up to LARGE_COUNT
   * operations until it returns, of more until it has resolved. Rejects with a KvError; see above.
   */
  batch(operations: readonly StoreWrite[], asked: CoordinatedTerms): Promise<void> {
    const { store, replication } = this.#options
    const terms = fsyncedTerms(asked)
    if (!replication.hasPeers || operations.length === 0) return store.batch(operations, terms)
    const deciding = this.#options.clockReady?.()
    if (deciding === undefined) return this.#batchNow(operations, terms)
    const kept = operations.length > LARGE_COUNT ? operations : operations.map(copyOperation)
    return this.#clockDecided(deciding, terms).then(() => this.#batchNow(kept, terms))
  }

  /** Resolves once this node's clock may order the write; rejects when it must not, or too late. */
  async #clockDecided(
    deciding: Promise<void> | undefined,
    { deadlineMs }: CoordinatedTerms,
  ): Promise<void> {
    const { clock, clockReady } = this.#options
    for (let wait = deciding; wait !== undefined; wait = clockReady?.()) {
      await within(clock, wait, Math.max(0, deadlineMs - clock.monotonicMs()))
      if (clock.monotonicMs() < deadlineMs) continue
      throw new UnavailableError(
        'nobody could confirm the clock of this node in time, so it has not taken the write: ' +
          'try again, or write to another node',
      )
    }
  }

  #batchNow(operations: readonly StoreWrite[], terms: CoordinatedTerms): Promise<void> {
    if (operations.length > LARGE_COUNT) return this.#batchLarge(operations, terms)
    const partitions = operations.map(operation => this.#partitionOf(operation))
    const own = this.#ownAmong(partitions)
    if (!this.#isFull(own)) {
      return this.#batch(operations, partitions, own, terms)
    }
    return this.#batchWithRoom(operations.map(copyOperation), partitions, terms)
  }

  /** Looks and writes in one step, so that not everybody who waits goes on at once. */
  async #batchWithRoom(
    operations: readonly StoreWrite[],
    partitions: readonly number[],
    terms: CoordinatedTerms,
  ): Promise<void> {
    const room = this.#roomWithin(terms.deadlineMs)
    let own = this.#ownAmong(partitions)
    while (this.#isFull(own)) {
      await room()
      own = this.#ownAmong(partitions)
    }
    await this.#batch(operations, partitions, own, terms)
  }

  async #batchLarge(operations: readonly StoreWrite[], terms: CoordinatedTerms): Promise<void> {
    const { store } = this.#options
    const slice = new TimeSlice(store.turns, terms.client ?? {})
    const partitions: number[] = []
    for (const operation of operations) {
      if (partitions.length % LARGE_COUNT === LARGE_COUNT - 1 && slice.isOver) await slice.pause()
      partitions.push(this.#partitionOf(operation))
    }
    return this.#batchWithRoom(operations, partitions, terms)
  }

  #batch(
    operations: readonly StoreWrite[],
    partitions: readonly number[],
    own: ReadonlySet<number>,
    terms: CoordinatedTerms,
  ): Promise<void> {
    const { store } = this.#options
    const isOwn = partitions.every(partition => own.has(partition))
    if (!isOwn) return this.#writeParts(operations, partitions, own, terms)
    return this.#writeOwn(own, terms, write => store.batch(operations, terms, write))
  }

  /** Writes what another node passed on. Rejects, and writes nothing, what is not this node's. */
  async entries(entries: readonly StoredEntry[], asked: CoordinatedTerms): Promise<void> {
    const { store, replication, clockReady } = this.#options
    const terms = fsyncedTerms(asked)
    await this.#clockDecided(clockReady?.(), terms)
    for (const { engineKey } of entries) {
      const partition = enginePartition(engineKey)
      if (store.partitioner.partitionOf(engineUserKey(engineKey)) !== partition) {
        throw new ProtocolError('a key came as one of another partition than it belongs to')
      }
      if (replication.table.isOwner(partition, replication.self)) continue
      throw new UnavailableError(
        `this node does not own partition ${partition}: send it where the ring says`,
      )
    }
    store.witness(entries)
    const own = new Set(entries.map(({ engineKey }) => enginePartition(engineKey)))
    const room = this.#roomWithin(terms.deadlineMs)
    while (this.#isFull(own)) await room()
    const { durability } = terms
    await this.#writeOwn(own, terms, write => store.applyStored(entries, durability, write))
  }

  #partitionOf(operation: StoreWrite): number {
    if (operation.type === 'put') checkReplicable(operation.value)
    return this.#options.store.partitioner.partitionOf(operation.key)
  }

  #ownAmong(partitions: readonly number[]): Set<number> {
    const { table, self } = this.#options.replication
    return new Set(partitions.filter(partition => table.isOwner(partition, self)))
  }

  /** Some is ours, or none: under one version, which every node is told, and should take. */
  async #writeParts(
    operations: readonly StoreWrite[],
    partitions: readonly number[],
    own: ReadonlySet<number>,
    asked: CoordinatedTerms,
  ): Promise<void> {
    const { store, forwarding } = this.#options
    const { consistency, deadlineMs, durability, client = {}, onVersion } = asked
    const version = store.versionOf(asked)
    onVersion?.(version)
    const mayVersionAnew = asked.version === undefined
    const terms = {
      consistency,
      deadlineMs,
      durability,
      client,
      version,
      mayVersionAnew,
      onVersion,
    }
    const passed = operations.filter((_, index) => !own.has(partitions[index]!))
    const parts = [forwarding.batch(passed, terms)]
    const ours = operations.filter((_, index) => own.has(partitions[index]!))
    if (ours.length > 0) {
      parts.push(this.#writeOwn(own, terms, write => store.batch(ours, terms, write)))
    }
    await settleParts(parts)
    await store.covered()
  }

  /** Requires that the node owns these partitions. */
  async #writeOwn(
    partitions: ReadonlySet<number>,
    terms: CoordinatedTerms,
    writeOwn: WriteOwn,
  ): Promise<void> {
    const { replication, clock } = this.#options
    const { consistency } = terms
    const demands =
      consistency === 'one'
        ? this.#unreplicated(partitions)
        : this.#demands(partitions, consistency)
    const acks = demands.length === 0 ? undefined : new WriteAcks(demands)
    const nowMs = clock.monotonicMs()
    const write = new ReplicatedWrite(replication, { acks, isPatient: acks !== undefined, nowMs })
    try {
      await writeOwn(write)
    } catch (error) {
      write.failed()
      throw write.wasSent ? unknownOutcome(error) : error
    }
    const owing = write.oweLost()
    if (owing !== undefined) await owing.catch(failAsUnknown)
    const written = write.written()
    if (acks === undefined) return
    await written
    acks.complete(replication.self)
    await this.#waitForAcks(acks, terms)
  }

  /** Throws UnavailableError, before anything is written, when too few slots can be there. */
  #demands(partitions: ReadonlySet<number>, consistency: Consistency): SlotDemand[] {
    const { replication } = this.#options
    const { slotCount, quorum } = replication.table
    const needed = consistency === 'all' ? slotCount : quorum
    const demands = new Map<string, SlotDemand>()
    for (const partition of partitions) {
      const slots = replication.slotsOf(partition)
      const away = replication.ownersOf(partition).filter(peer => !peer.isSendable)
      const isAlive = (slot: Slot) => !away.some(({ nodeId }) => slot.includes(nodeId))
      const alive = slots.filter(isAlive).length
      if (alive < needed) {
        throw new UnavailableError(
          `consistency ${consistency} takes ${needed} replicas of partition ${partition}, and ` +
            `${alive} of its ${slotCount} can be reached; nothing was written: try again, or ask ` +
            'for less',
        )
      }
      // Partitions with the same slots are one demand.
      const name = partitions.size === 1 ? '' : slots.map(slot => slot.join('+')).join()
      if (!demands.has(name)) demands.set(name, { slots, needed })
    }
    return [...demands.values()]
  }

  /** Where a peer that is there lacks too much, one more replica must have the write. */
  #unreplicated(partitions: ReadonlySet<number>): SlotDemand[] {
    const demands: SlotDemand[] = []
    for (const partition of partitions) {
      const there = this.#options.replication.ownersOf(partition).filter(peer => peer.isSendable)
      if (!there.some(peer => peer.isBehind)) continue
      const slots = there.map(({ nodeId }) => [nodeId])
      demands.push({ slots, needed: 1, isLenient: true })
    }
    return demands
  }

  /** Whether all peers that are there for one of the partitions have full queues. */
  #isFull(partitions: ReadonlySet<number>): boolean {
    const { replication } = this.#options
    for (const partition of partitions) {
      const there = replication.ownersOf(partition).filter(peer => peer.isSendable)
      if (there.length > 0 && there.every(peer => peer.isFull)) return true
    }
    return false
  }

  /** Resolves whenever there may be room again; rejects when that has taken too long in all. */
  #roomWithin(deadlineMs: number): () => Promise<void> {
    const { replication, clock } = this.#options
    const untilMs = Math.min(deadlineMs, clock.monotonicMs() + ROOM_WAIT_MS)
    return async () => {
      const restMs = untilMs - clock.monotonicMs()
      if (restMs > 0) await within(clock, replication.progress(), restMs)
      if (untilMs > clock.monotonicMs()) return
      throw new OverloadedError(
        'the other replicas do not keep up with the writes of this node: try again later',
        ROOM_RETRY_MS,
      )
    }
  }

  async #waitForAcks(acks: WriteAcks, { consistency, deadlineMs }: CoordinatedTerms) {
    const { clock } = this.#options
    const restMs = Math.max(0, deadlineMs - clock.monotonicMs())
    const verdict = await within(clock, acks.verdict, restMs)
    if (verdict === 'reached') return
    const what = `${acks.ackedCount} replicas have the write, which is too few for ${consistency}`
    if (verdict === undefined) {
      throw new TimeoutError(`${what}, and the time is over; it may surface: read to find out`)
    }
    throw new UnavailableError(`${what}, as others broke off; it may surface: read to find out`, {
      outcome: 'unknown',
    })
  }
}

/**
 * A copy counts for quorum or all once it is fsynced, the own one as those of others: else a power
 * loss here would leave too few.
 */
function fsyncedTerms(terms: CoordinatedTerms): CoordinatedTerms {
  if (terms.consistency === 'one' || terms.durability === 'sync') return terms
  const { consistency, deadlineMs, version, onVersion, client } = terms
  return {
    consistency,
    deadlineMs,
    durability: 'sync',
    version,
    onVersion,
    ...(client === undefined ? {} : { client }),
    // As it is when it is asked for.
    get cancelled() {
      return terms.cancelled === true
    },
  }
}

/** What is written is there. */
function failAsUnknown(error: unknown): never {
  throw unknownOutcome(error)
}

/** Throws InvalidArgumentError for what does not fit a message to another replica. */
function checkReplicable({ length }: Uint8Array): void {
  if (length <= REPLICATED_VALUE_SIZE_MAX) return
  throw new InvalidArgumentError(
    `a value has at most ${REPLICATED_VALUE_SIZE_MAX} bytes in a cluster, got ${length}: divide it`,
  )
}

function copyOperation(operation: StoreWrite): StoreWrite {
  const key = copyBytes(operation.key)
  return operation.type === 'del'
    ? { type: 'del', key }
    : { ...operation, key, value: copyBytes(operation.value) }
}

/** What the promise resolves to, or undefined when that takes longer. */
async function within<T>(clock: Clock, promise: Promise<T>, timeoutMs: number) {
  if (timeoutMs === Number.POSITIVE_INFINITY) return await promise
  let cancel: () => void = () => undefined
  const late = new Promise<undefined>(resolve => {
    cancel = clock.setTimer(timeoutMs, () => resolve(undefined))
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    cancel()
  }
}
