/**
 * A node as a member, put together: who is up, which ring is the latest, and what is read, written
 * and repaired across replicas (cluster-node.ts).
 *
 *   open --> peers can be answered --links are open, enter--> a member, at work --close-->
 */
import type { Db } from '../engine/index.ts'
import type { Logger } from '../logger.ts'
import type { LoadPoint } from '../net/index.ts'
import type { BelievedClock } from './believed-clock.ts'
import type { WatchedVersions } from './clock-watch.ts'
import { ClusterNode } from './cluster-node.ts'
import type { CurrentRing, MemberPlace } from './current-ring.ts'
import { AppState, type AppStateKey, WRITE_REFUSALS } from './member-profile.ts'
import type { NodeLinks } from './node-links.ts'
import { NodeMembership } from './node-membership.ts'
import type { NodeEnvironment } from './options.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { RingTable } from './ring-table.ts'
import { RingUptake } from './ring-uptake.ts'

export interface NodeClusterParts {
  /** The engine below the store. */
  readonly db: Db
  readonly store: PartitionedStore
  /** By which the node versions writes, and the versions themselves. */
  readonly wallClock: BelievedClock
  readonly versions: WatchedVersions
  /** The machine's clock needs nobody to agree with it. */
  readonly isClockKnown: boolean
  readonly ring: CurrentRing
  readonly links: NodeLinks
  readonly environment: NodeEnvironment
  readonly logger: Logger
  /** The directory, for messages. */
  readonly path: string
  /** Where clients reach this node; empty while it does not know. */
  readonly clientAddress: () => string
  /** What clients have done in the last second, where that is counted. */
  readonly load: () => LoadPoint | undefined
  /** Peer addresses that the operator gave. */
  readonly seeds: readonly string[]
  /** What it is as a member, should it join. */
  readonly place: MemberPlace
}

export class NodeCluster {
  readonly membership: NodeMembership
  readonly work: ClusterNode
  readonly #uptake: RingUptake

  private constructor(
    { ring, logger, environment }: NodeClusterParts,
    membership: NodeMembership,
    work: ClusterNode,
  ) {
    this.membership = membership
    this.work = work
    const changeRing = (table: RingTable): Promise<void> => work.changeRing(table)
    this.#uptake = new RingUptake({ ring, clock: environment.clock, logger, changeRing })
  }

  /** Reads what an earlier process owed its peers; nothing may have been written yet. */
  static async open(parts: NodeClusterParts): Promise<NodeCluster> {
    const { db, store, ring, links, environment, logger, path, clientAddress, seeds, place } = parts
    const { wallClock, versions, isClockKnown, load } = parts
    const { clock, random, seams } = environment
    const { peers, generation } = links
    const shared = { clock, random, logger, path }
    let work: ClusterNode | undefined
    const membership = await NodeMembership.open({
      ...shared,
      links: peers,
      ringPeers: seams?.ringPeers?.(peers) ?? peers,
      generation,
      store: db,
      ring,
      addresses: () => ({ clientAddress: clientAddress(), peerAddress: links.address }),
      seeds,
      place,
      inForce: async () => (await work?.writes.replication.inForce()) ?? ring.ring.epoch,
      prepared: () => store.prepared(),
      hasForgotten: () =>
        !links.hasVote || (links.isReadmitted && (work === undefined || work.isLacking)),
      states: () => statesOf(work, load(), db, links.lifeGeneration),
    })
    work = await ClusterNode.open({
      ...shared,
      peers: seams?.peers?.(peers) ?? peers,
      liveness: membership.liveness,
      store,
      ...{ wallClock, versions, isClockKnown },
      log: seams?.log?.(db) ?? db,
      ring: () => ring.table,
      onNewerEpoch: (peer, epoch) => membership.heard(peer, epoch),
      abort: () => membership.abort(),
      mayVote: () => links.hasVote,
      hintBytesMax: seams?.hintBytesMax,
    })
    return new NodeCluster(parts, membership, work)
  }

  /** Resolves once the node is a member and at work. Requires that the links are open. */
  async enter(signal: AbortSignal): Promise<void> {
    await this.membership.enter(signal)
    this.work.start()
  }

  /** The addresses of this node are known now, or others. */
  moved(): void {
    this.membership.moved()
  }

  /** What the node says of all this in its statistics. */
  figures(): Readonly<Record<string, unknown>> {
    return { members: this.membership.figures(), cluster: this.work.stats }
  }

  /** What is owed stays in log and hints. */
  async close(): Promise<void> {
    this.#uptake.stop()
    this.membership.stop()
    await this.work.close()
  }
}

/** What other members are told of the work of this one. */
function* statesOf(
  work: ClusterNode | undefined,
  load: LoadPoint | undefined,
  db: Db,
  lifeGeneration: number,
): Iterable<readonly [AppStateKey, number]> {
  yield [AppState.lifeGeneration, lifeGeneration]
  if (work === undefined) return
  yield [AppState.unreplicatedBytes, work.writes.figures().unreplicatedBytes]
  yield [AppState.clockOffMs, Math.round(Math.abs(work.clockOffMs))]
  if (load !== undefined) {
    yield [AppState.readsPerSecond, load.reads]
    yield [AppState.writesPerSecond, load.writes]
    yield [AppState.p99Us, Math.round(1000 * Math.max(load.readP99Ms ?? 0, load.writeP99Ms ?? 0))]
  }
  const { writesRefusedFor } = db
  const why = writesRefusedFor ?? (work.isClockUnconfirmed ? 'clock' : undefined)
  yield [AppState.writesRefused, why === undefined ? 0 : WRITE_REFUSALS[why]]
}
