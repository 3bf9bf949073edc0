/**
 * A node as a member, put together: who is up, which ring is the latest, and what is read, written
 * and repaired across replicas (cluster-node.ts).
 *
 *   open --> peers can be answered --links are open, start--> at work --close-->
 */
import type { Logger } from '../logger.ts'
import { ClusterNode } from './cluster-node.ts'
import type { CurrentRing } from './current-ring.ts'
import { Membership } from './membership.ts'
import type { NodeLinks } from './node-links.ts'
import type { NodeEnvironment } from './options.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { ReplicationLog } from './replication.ts'
import { RingFollower } from './ring-follower.ts'
import type { NodeId } from './ring-member.ts'

export interface NodeClusterParts {
  readonly log: ReplicationLog
  readonly store: PartitionedStore
  readonly ring: CurrentRing
  readonly links: NodeLinks
  readonly environment: NodeEnvironment
  readonly logger: Logger
  /** The directory, for messages. */
  readonly path: string
  /** Where clients reach this node; empty while it does not know. */
  readonly clientAddress: () => string
}

export class NodeCluster {
  readonly membership: Membership
  readonly follower: RingFollower
  readonly work: ClusterNode
  readonly #stopFollowing: () => void

  private constructor(
    { ring, logger }: NodeClusterParts,
    { membership, follower, work }: Pick<NodeCluster, 'membership' | 'follower' | 'work'>,
  ) {
    this.membership = membership
    this.follower = follower
    this.work = work
    this.#stopFollowing = ring.onChange(() => {
      membership.ringChanged()
      work.changeRing(ring.table).catch(error => {
        logger.error('writes still go by the ring before the current one', { error })
      })
    })
  }

  /** Reads what an earlier process owed its peers; nothing may have been written yet. */
  static async open(parts: NodeClusterParts): Promise<NodeCluster> {
    const { log, store, ring, links, environment, logger, path, clientAddress } = parts
    const { clock, random } = environment
    const { peers, generation } = links
    const follower = new RingFollower({ peers, ring, logger })
    const newer = (peer: NodeId, epoch: number): void => follower.heard(peer, epoch)
    const shared = { peers, clock, random, logger }
    const membership = new Membership({
      ...shared,
      generation,
      addresses: () => ({ clientAddress: clientAddress(), peerAddress: links.address }),
      ring: () => ring.ring,
      onLaterEpoch: newer,
    })
    const work = await ClusterNode.open({
      ...shared,
      liveness: membership,
      store,
      log,
      ring: () => ring.table,
      path,
      onNewerEpoch: newer,
    })
    peers.onEpoch(newer)
    return new NodeCluster(parts, { membership, follower, work })
  }

  /** Begins to look after the others. Requires that the links are open. */
  start(): void {
    this.membership.start()
    this.work.start()
  }

  /** What is owed stays in log and hints. */
  async close(): Promise<void> {
    this.#stopFollowing()
    this.follower.stop()
    this.membership.stop()
    await this.work.close()
  }
}
