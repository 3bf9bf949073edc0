/**
 * Gets rid of blocks on this node's disk that cannot be read, so that the partitions they belong to
 * can be compared again, and what was lost comes back from the others.
 *
 *   found --all other owners there--> recorded as damaged --> blocks left out by a compaction
 *         --> compared with every other owner (repair-exchange.ts) --> whole
 *
 * Invariants:
 *  1. One is under way at a time, and nothing is compared meanwhile.
 *  2. Which partitions lose something is recorded before it is lost (damaged-partitions.ts).
 *  3. Records of the node itself are never given up: then the damage stays, and somebody is told.
 *  4. A partition is recorded as damaged, too, before a form takes the place of one that cannot be
 *     read: that may be older, and nothing would show it any more.
 */
import { compareBytes } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import {
  afterPartition,
  beforePartition,
  enginePartition,
  NodeKey,
  nodeKey,
  RECORD_PREFIX,
} from './partition.ts'
import type { PartitionTrees } from './partition-trees.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { purgeGroupKeys } from './purge-record.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import type { StoreLoss } from './store.ts'
import { otherOwners } from './write-acks.ts'

/** After one that failed. */
const RETRY_MS = 600_000

export interface PartitionSalvageOptions {
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly marks: PurgeMarks
  readonly trees: PartitionTrees
  readonly clock: Clock
  readonly logger: Logger
  readonly isReachable: (node: NodeId) => boolean
  /** What was lost is to be fetched. */
  readonly onSalvaged: () => void
}

export class PartitionSalvage {
  /** How often blocks were left out, and how many. */
  runs = 0
  lostBlocks = 0
  readonly #options: PartitionSalvageOptions
  #running: Promise<void> | undefined
  #nextMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(options: PartitionSalvageOptions) {
    this.#options = options
    const { unreadable } = options.store
    unreadable.beforeHiding(engineKey => this.#beforeHiding(enginePartition(engineKey)))
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** The partition cannot be read for damage. Does something about it unless others are away. */
  found(partition: number): void {
    const { sets, clock, isReachable } = this.#options
    if (this.#isClosed || this.isRunning || clock.monotonicMs() < this.#nextMs) return
    const others = otherOwners(sets.current.table, partition, sets.self)
    if (others.length === 0 || !others.every(isReachable)) return
    this.#running = this.#run(partition).finally(() => {
      this.#running = undefined
      if (!this.#isClosed) this.#options.onSalvaged()
    })
  }

  close(): void {
    this.#isClosed = true
  }

  /** A key cannot be read, and what comes in its place may be older than what was there. */
  async #beforeHiding(partition: number): Promise<void> {
    const { sets, marks } = this.#options
    const { table } = sets.current
    const isOwn = table.isOwner(partition, sets.self)
    if (!isOwn || otherOwners(table, partition, sets.self).length === 0) return
    await marks.damaged.addHidden(partition)
  }

  /** Never rejects for what the disk does. */
  async #run(partition: number): Promise<void> {
    const { store, marks, trees, clock, logger } = this.#options
    logger.error('a partition cannot be read: what is damaged is dropped, and fetched', {
      partition,
    })
    try {
      const lt = afterPartition(partition)
      await store.store.compact({
        gte: beforePartition(partition),
        ...(lt === undefined ? {} : { lt }),
        onLost: lost => this.#giveUp(lost),
      })
      this.runs++
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#nextMs = clock.monotonicMs() + RETRY_MS
      const what = 'what is damaged stays: stop the node and see kvcli debug verify, then repair'
      if (!this.#isClosed) logger.error(what, { partition, error })
    }
    marks.damaged.renew()
    trees.forget()
  }

  async #giveUp(lost: readonly StoreLoss[]): Promise<void> {
    const { store, sets, marks, trees, logger } = this.#options
    const partitions = new Set<number>()
    for (const range of lost) {
      await this.#checkRecords(range)
      const last = Math.min(store.partitioner.count - 1, partitionAt(range.largestKey))
      for (let at = partitionAt(range.smallestKey); at <= last; at++) {
        if (sets.current.table.isOwner(at, sets.self)) partitions.add(at)
      }
    }
    await marks.damaged.add(partitions)
    trees.forget()
    this.lostBlocks += lost.length
    logger.error('entries are lost here', { blocks: lost.length, partitions: partitions.size })
  }

  /** Rejects when records of the node may be among what is lost. */
  async #checkRecords({ smallestKey, largestKey }: StoreLoss): Promise<void> {
    const { store } = this.#options
    const groups = purgeGroupKeys(store.partitioner.count)
    for (const key of [...Object.values(NodeKey).map(nodeKey), ...groups]) {
      const isInside = compareBytes(smallestKey, key) <= 0 && compareBytes(key, largestKey) <= 0
      // What can be read, or is known to be absent, does not stand in the damaged block.
      if (isInside) await store.store.read(key)
    }
    if (partitionAt(largestKey) < RECORD_PREFIX) return
    throw new UnavailableError('hints for other nodes are among what cannot be read')
  }
}

/** Of an engine key, or of what separates two. */
function partitionAt(key: Uint8Array): number {
  return (key[0] ?? 0) * 256 + (key[1] ?? 0)
}
