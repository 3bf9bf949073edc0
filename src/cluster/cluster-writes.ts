/**
 * The write side of a node in a cluster, put together: what it owes others, what others send it,
 * what clients ask of it.
 */
import { ProtocolError } from '../errors.ts'
import { CONSISTENCIES, DURABILITIES } from '../key-value-store.ts'
import { WRITER_SIZE } from '../write-version.ts'
import { OwnerTimes } from './owner-times.ts'
import { type PeerContext, PeerMessage } from './peers.ts'
import { ReplicaApply, type ReplicaApplyStats, type ReplicaFence } from './replica-apply.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import { decodeForward } from './replica-message.ts'
import { Replication, type ReplicationFigures, type ReplicationOptions } from './replication.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { StoreWrite } from './store-operation.ts'
import { type CoordinatedTerms, WriteCoordinator } from './write-coordinator.ts'
import { WriteForwarding } from './write-forwarding.ts'

const NOTHING = new Uint8Array(0)

export interface ClusterWritesOptions extends ReplicationOptions {
  /** Knows which replicas answer soonest. */
  readonly choice: ReplicaChoice
  /** Of what peers sent, what may be applied (PurgeMarks.fence). Absent: all. */
  readonly fence?: ReplicaFence
  /** Whether this node's clock may order writes (ClockWatch.ready). Absent: it may. */
  readonly clockReady?: () => Promise<void> | undefined
}

export interface ClusterWritesFigures extends ReplicationFigures {
  readonly applied: ReplicaApplyStats
  /** Operations that were passed on to their owners. */
  readonly forwarded: number
}

export class ClusterWrites {
  readonly replication: Replication
  readonly #coordinator: WriteCoordinator
  readonly #forwarding: WriteForwarding
  readonly #apply: ReplicaApply

  private constructor(options: ClusterWritesOptions, replication: Replication) {
    const { self, store, clock, choice, peers, random, onNewerEpoch, fence, clockReady } = options
    const table = () => replication.table
    this.replication = replication
    const ownerTimes = new OwnerTimes(() => random.bytes(WRITER_SIZE))
    this.#forwarding = new WriteForwarding({ store, choice, clock, table, ownerTimes })
    this.#coordinator = new WriteCoordinator({
      ...{ store, replication, clock, forwarding: this.#forwarding, clockReady },
    })
    this.#apply = new ReplicaApply({ self, store, clock, table, onNewerEpoch, fence })
    peers.handle(PeerMessage.replicate, (body, context) => this.#apply.replicate(body, context))
    peers.handle(PeerMessage.hints, (body, context) => this.#apply.hints(body, context))
    peers.handle(PeerMessage.forwardWrite, (body, context) => this.#forwarded(body, context))
  }

  /**
   * Before the links are started and before anything is written: reads what an earlier process
   * owed. Rejects as the store does.
   */
  static async open(options: ClusterWritesOptions): Promise<ClusterWrites> {
    return new ClusterWrites(options, await Replication.open(options))
  }

  /** A write of a client; see WriteCoordinator. */
  batch(operations: readonly StoreWrite[], terms: CoordinatedTerms): Promise<void> {
    return this.#coordinator.batch(operations, terms)
  }

  figures(): ClusterWritesFigures {
    return {
      ...this.replication.figures(),
      applied: this.#apply.stats,
      forwarded: this.#forwarding.forwardedCount,
    }
  }

  /** Goes by this ring from now on; resolves once it does. */
  changeRing(table: RingTable): Promise<void> {
    return this.replication.changeRing(table)
  }

  /** Partitions of which the peer may lack anything. */
  dirtyPartitions(peer: NodeId): number[] {
    return this.replication.dirtyPartitions(peer)
  }

  /** Sends nothing more, after a moment for what is under way. What is owed stays on disk. */
  close(): Promise<void> {
    return this.replication.close()
  }

  /** A write that a node passed on, which owns none of it. It goes no further. */
  async #forwarded(body: Uint8Array, { deadlineMs }: PeerContext): Promise<Uint8Array> {
    const { entries, consistencyCode, durabilityCode } = decodeForward(body)
    const consistency = CONSISTENCIES[consistencyCode - 1]
    const durability = DURABILITIES[durabilityCode - 1]
    if (consistency === undefined || (durability === undefined && durabilityCode !== 0)) {
      throw new ProtocolError(
        `a peer passed on a write of consistency ${consistencyCode}, durability ${durabilityCode}`,
      )
    }
    const terms = { consistency, durability, version: undefined, deadlineMs }
    if (entries.length > 0) await this.#coordinator.entries(entries, terms)
    return NOTHING
  }
}
