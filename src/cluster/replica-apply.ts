/**
 * The receiving side of replication: takes stored forms from other replicas, keeps the later one of
 * each key, and answers once they are fsynced.
 *
 * Every message carries the epoch of its sender's ring. One that goes by an older ring than ours is
 * told so and changes nothing: by then the partition may be somebody else's. Of a newer one we take
 * what our own ring, too, says is ours; else we answer that we are behind, and it comes again.
 *
 * Hints come when nobody waits for them, from several peers at once after an absence. A bucket that
 * all of them share says how long each has to wait before its next message: the receiver's credits.
 * A message costs more when it took long, for then clients wait for the same disk and processor.
 */
import { DecodeError } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { ProtocolError } from '../errors.ts'
import { enginePartition, engineUserKey, type Partitioner } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import type { PeerContext } from './peers.ts'
import {
  decodeEntries,
  encodeAnswer,
  type ReplicaAnswer,
  ReplicaStatus,
} from './replica-message.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { MaybePromise } from './store.ts'

/** What all peers together may send of hints in a second while this node takes them quickly. */
const HINT_BYTES_PER_SECOND = 16 * 1024 * 1024
const HINT_ENTRIES_PER_SECOND = 20_000
/** Of its time a node gives one part in so many to hints; */
const HINT_TIME_PART = 2
/** However slow it is, no less than one in so many of the above: who is behind must catch up. */
const HINT_SLOWDOWN_MAX = 4
/** A burst that nobody has to wait for. */
const HINT_BURST_MS = 100

/** Of what a peer sent, what may be applied: what was purged must not come back. */
export type ReplicaFence = (entries: readonly StoredEntry[]) => MaybePromise<readonly StoredEntry[]>

export interface ReplicaApplyOptions {
  readonly self: NodeId
  readonly store: PartitionedStore
  /** The ring that this node goes by now. */
  readonly table: () => RingTable
  readonly clock: Clock
  /** A peer goes by a newer ring than this node. */
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
  /** Absent: all may. */
  readonly fence?: ReplicaFence | undefined
}

export interface ReplicaApplyStats {
  /** Entries that peers sent and that are stored, or lost against what is. */
  readonly applied: number
  /** Of those, entries that came late, as hints. */
  readonly hinted: number
  /** Messages from senders with an older ring. */
  readonly stale: number
  /** Entries of partitions that belong to others. */
  readonly refused: number
}

export class ReplicaApply {
  readonly #options: ReplicaApplyOptions
  /** When the bucket of hints is full again. */
  #fullAtMs = Number.NEGATIVE_INFINITY
  #applied = 0
  #hinted = 0
  #stale = 0
  #refused = 0

  constructor(options: ReplicaApplyOptions) {
    this.#options = options
  }

  get stats(): ReplicaApplyStats {
    return {
      applied: this.#applied,
      hinted: this.#hinted,
      stale: this.#stale,
      refused: this.#refused,
    }
  }

  /** Answers `replicate`. Without entries: once all that came before is fsynced. */
  async replicate(body: Uint8Array, context: PeerContext): Promise<Uint8Array> {
    return encodeAnswer(await this.#apply(body, context.from))
  }

  /** Answers `hints`. */
  async hints(body: Uint8Array, context: PeerContext): Promise<Uint8Array> {
    const { clock } = this.#options
    const before = this.#applied
    const beganMs = clock.monotonicMs()
    const answer = await this.#apply(body, context.from)
    const count = this.#applied - before
    this.#hinted += count
    const tookMs = clock.monotonicMs() - beganMs
    return encodeAnswer({ ...answer, pauseMs: this.#charge(body.length, count, tookMs) })
  }

  async #apply(body: Uint8Array, from: NodeId): Promise<ReplicaAnswer> {
    const { epoch, entries } = decodeEntries(body)
    const { store, onNewerEpoch, fence } = this.#options
    const table = this.#options.table()
    const own = table.ring.epoch
    if (epoch < own) {
      this.#stale++
      return answerOf(ReplicaStatus.staleEpoch, own)
    }
    if (epoch > own) onNewerEpoch(from, epoch)
    const refused = this.#refusedOf(table, entries)
    if (epoch > own && refused.length > 0) return answerOf(ReplicaStatus.behind, own)
    this.#refused += refused.length
    const isRefused = new Set(refused)
    const owned = refused.length === 0 ? entries : entries.filter((_, at) => !isRefused.has(at))
    try {
      const fenced = fence === undefined ? owned : fence(owned)
      const kept = fenced instanceof Promise ? await fenced : fenced
      if (kept.length === 0) await store.barrier('sync')
      else await store.applyStored(kept, 'sync')
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      throw new ProtocolError(`a peer sent what is no stored form: ${error.message}`, {
        cause: error,
      })
    }
    this.#applied += owned.length
    return { ...answerOf(ReplicaStatus.applied, own), refused }
  }

  #refusedOf(table: RingTable, entries: readonly StoredEntry[]): number[] {
    const { self, store } = this.#options
    const refused: number[] = []
    for (const [index, { engineKey }] of entries.entries()) {
      checkPartition(store.partitioner, engineKey)
      if (!table.isOwner(enginePartition(engineKey), self)) refused.push(index)
    }
    return refused
  }

  /** Takes a message from the bucket; how long it is empty then. */
  #charge(bytes: number, entries: number, tookMs: number): number {
    const nowMs = this.#options.clock.monotonicMs()
    const byBytes = (bytes / HINT_BYTES_PER_SECOND) * 1000
    const byEntries = (entries / HINT_ENTRIES_PER_SECOND) * 1000
    const leastMs = Math.max(byBytes, byEntries)
    const byTime = Math.min(tookMs * HINT_TIME_PART, leastMs * HINT_SLOWDOWN_MAX)
    const costMs = Math.max(leastMs, byTime)
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + costMs
    return Math.max(0, this.#fullAtMs - HINT_BURST_MS - nowMs)
  }
}

function answerOf(status: ReplicaStatus, epoch: number): ReplicaAnswer {
  return { status, epoch, pauseMs: 0, refused: [] }
}

/** A key under a partition that is not its own would be found by nobody. */
function checkPartition(partitioner: Partitioner, engineKey: Uint8Array): void {
  const expected = partitioner.partitionOf(engineUserKey(engineKey))
  const actual = enginePartition(engineKey)
  if (actual === expected) return
  throw new ProtocolError(
    `a peer sent a key of partition ${expected} as one of partition ${actual}: ` +
      'its cluster has other partitions',
  )
}
