/** How a node that is to join a cluster comes to be one of it, before it is a member. */
import { InvalidArgumentError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { adoptCluster, discoverRing } from './cluster-discovery.ts'
import { checkHoldsNothing } from './node-identity.ts'
import { NodeLinks } from './node-links.ts'
import type { NodeEnvironment, NodeOptions } from './options.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Ring } from './ring.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

/**
 * Makes an empty directory that of a node of the cluster that it is told to join, once somebody
 * there says what that is. Does nothing for a directory that is a node's, or without such orders.
 */
export async function adoptIfNew(
  store: Store,
  options: NodeOptions,
  environment: NodeEnvironment,
  signal: AbortSignal,
): Promise<void> {
  const { cluster, directory: path, partitionCount, logger = silentLogger } = options
  const { join: seeds = [] } = cluster ?? {}
  if (cluster === undefined || seeds.length === 0) return
  if ((await store.read(nodeKey(NodeKey.identity))) !== undefined) return
  await checkHoldsNothing(store, path)
  const { clock, entropy } = environment
  const nodeId = nodeIdOf(entropy(NODE_ID_SIZE))
  logger.info('looking for the cluster to join', { seeds })
  const links = NodeLinks.wanderer(nodeId, cluster, environment, logger)
  let ring: Ring
  try {
    ring = await discoverRing({ links, seeds, clock, logger, signal })
  } finally {
    await links.close()
  }
  await adoptCluster(store, { path, nodeId, ring, partitionCount, createdMs: clock.wallMs() })
}

/** Throws for a node that is told to join, and is a cluster of its own that nobody ever joined. */
export function checkMayJoin(ring: Ring, self: NodeId, options: NodeOptions, logger: Logger): void {
  const { cluster, directory: path } = options
  const isAlone = ring.members.length === 1 && ring.members[0]!.nodeId === self
  if ((cluster?.join ?? []).length === 0 || !isAlone) return
  if (ring.removedIds.length > 0) {
    logger.warn('this node is the last of its cluster: there is nobody to join', {})
    return
  }
  throw new InvalidArgumentError(
    `${path} belongs to a cluster of its own (${ring.clusterId}), and clusters are never merged: ` +
      'to join another one, start with an empty directory',
  )
}
