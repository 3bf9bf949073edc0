/**
 * What lies on a node in partitions that it does not own (any more): a write or a comparison that
 * was under way when the ring changed, or all of a partition that moved. Nobody reads it, and by
 * the time the node owns the partition again it may be older than what the others have forgotten.
 *
 * It is given to every owner, which keeps it or what it has that is later, and then deleted here.
 * So what this node alone had is not lost, whatever it still owes of it; and an owner that has
 * purged a deletion refuses what is older (PurgeMarks.fence), and does not bring it back.
 *
 * Looked at after a start, after a change of the ring, and when something was written there since.
 *
 * Invariant: what is deleted is exactly what all owners of a stable ring have answered for.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { delay } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { BackgroundBudget } from './background-budget.ts'
import { KeyBounds } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { copyEntry } from './purge-sweep.ts'
import {
  decodeAnswer,
  encodeEntries,
  MESSAGE_ENTRIES_MAX,
  MESSAGE_SIZE_TARGET,
  ReplicaStatus,
} from './replica-message.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import { PartitionReader } from './scan.ts'
import { TimeSlice } from './time-slice.ts'
import { otherOwners } from './write-acks.ts'

/** How often it is seen whether anything was written. */
const LOOK_MS = 5000
const REQUEST_MS = 30_000
const EVERYTHING = new KeyBounds({})

export interface LeftoversOptions {
  readonly peers: Peers
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly budget: BackgroundBudget
  readonly clock: Clock
  readonly logger: Logger
  readonly isReachable: (node: NodeId) => boolean
}

export class Leftovers {
  readonly #options: LeftoversOptions
  /** By partition, how much was written to it when nothing was left there. */
  #clean = new Map<number, number>()
  /** The ring of which that holds. */
  #table: RingTable | undefined
  /** Those that this node does not own, by that ring. */
  #foreign: readonly number[] = []
  #cancel: CancelTimer = () => undefined
  #isClosed = false
  /** Entries that the owners have, and this node no longer. */
  dropped = 0

  constructor(options: LeftoversOptions) {
    this.#options = options
  }

  start(): void {
    const { clock } = this.#options
    this.#cancel = clock.setTimer(LOOK_MS, () => void this.#look(), { background: true })
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { logger } = this.#options
    try {
      await this.#sweep()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('what lies in partitions of others stays for now', { error })
    }
    if (!this.#isClosed) this.start()
  }

  async #sweep(): Promise<void> {
    const { store, sets, budget } = this.#options
    const { table } = sets.current
    if (table.ring.phase !== 'stable') return
    this.#follow(table)
    for (const partition of this.#foreign) {
      const count = store.writeCounts.of(partition)
      if (this.#clean.get(partition) === count) continue
      if (!this.#canAskOwners(table, partition)) continue
      await budget.yieldToForeground()
      const isCleared = await this.#clear(table, partition)
      if (this.#isClosed || sets.current.table !== table) return
      if (isCleared) this.#clean.set(partition, count)
    }
  }

  #follow(table: RingTable): void {
    if (table === this.#table) return
    const { self } = this.#options.sets
    const all = Array.from({ length: table.ring.partitionCount }, (_, partition) => partition)
    this.#table = table
    this.#clean = new Map()
    this.#foreign = all.filter(partition => !table.isOwner(partition, self))
  }

  #canAskOwners(table: RingTable, partition: number): boolean {
    const { sets, isReachable } = this.#options
    const owners = otherOwners(table, partition, sets.self)
    return owners.length > 0 && owners.every(isReachable)
  }

  /**
   * True once all that was there was given to every owner. Rejects when one cannot be asked; what
   * was dropped until then is dropped.
   */
  async #clear(table: RingTable, partition: number): Promise<boolean> {
    const { store, sets } = this.#options
    const snapshot = store.store.snapshot()
    try {
      const slice = new TimeSlice(store.turns, this)
      await slice.begin()
      const source = { store: store.store, snapshot, bounds: EVERYTHING, reverse: false }
      let found: StoredEntry[] = []
      let bytes = 0
      const reader = new PartitionReader(source, partition, partition, slice, entry => {
        const copy = copyEntry(entry)
        found.push(copy)
        bytes += copy.engineKey.length + copy.stored.length
        return bytes < MESSAGE_SIZE_TARGET && found.length < MESSAGE_ENTRIES_MAX ? 'next' : 'stop'
      })
      let isCleared = true
      while (!reader.done && !this.#isClosed && sets.current.table === table) {
        await reader.run(() => undefined)
        if (found.length > 0 && !(await this.#hand(table, partition, found))) isCleared = false
        found = []
        bytes = 0
      }
      return isCleared
    } finally {
      snapshot.release()
    }
  }

  /** True once every owner has answered for all of them; some may have been written since. */
  async #hand(table: RingTable, partition: number, entries: StoredEntry[]): Promise<boolean> {
    const { store, sets, budget } = this.#options
    for (const owner of otherOwners(table, partition, sets.self)) {
      if (!(await this.#give(owner, table.ring.epoch, entries))) return false
    }
    // Owners of a later ring have it from these; but by then it may be this node's again.
    if (sets.current.table !== table) return false
    this.dropped += await store.drop(entries)
    await budget.yieldToForeground()
    return true
  }

  /** True once it has all of them, or later ones. */
  async #give(owner: NodeId, epoch: number, entries: readonly StoredEntry[]): Promise<boolean> {
    const { peers, clock, budget } = this.#options
    const body = encodeEntries({ epoch, entries })
    const answer = decodeAnswer(
      await peers.request(owner, 'bulk', PeerMessage.hints, body, REQUEST_MS),
    )
    await budget.spend(body.length)
    if (answer.pauseMs > 0) await delay(clock, answer.pauseMs, { background: true })
    return answer.status === ReplicaStatus.applied && answer.refused.length === 0
  }
}
