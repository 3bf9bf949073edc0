/**
 * What becomes of an empty directory: that of a node of a cluster which it is to join, or the
 * first of a new one. Only orders make it either: a node that has a secret and finds its directory
 * empty may be a member whose disk was lost or is not mounted, and as a cluster of its own it would
 * answer at a member's address that nothing exists, and take writes that the others never see.
 */
import { hasDatabase, nodeFileSystem } from '../engine/index.ts'
import { InvalidArgumentError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { adoptCluster, discoverRing } from './cluster-discovery.ts'
import { checkHoldsNothing } from './node-identity.ts'
import { NodeLinks } from './node-links.ts'
import type { ClusterOptions, NodeEnvironment, NodeOptions } from './options.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Ring } from './ring.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

/** The cluster that a node without one is to join, and who it will be there. */
export interface FoundCluster {
  readonly nodeId: NodeId
  readonly ring: Ring
}

/**
 * Before anything is made in a directory without a database: the cluster that the node is to join,
 * once somebody there says what that is; undefined for one that stands alone or begins a cluster.
 * So a start that is refused, or ends while it looks, leaves the directory as it was.
 */
export async function findIfMissing(
  options: NodeOptions,
  environment: NodeEnvironment,
): Promise<FoundCluster | undefined> {
  const { cluster, directory } = options
  if (cluster === undefined || cluster.init === true) return undefined
  if (hasDatabase(directory, environment.fileSystem ?? nodeFileSystem())) return undefined
  const signal = cluster.signal ?? new AbortController().signal
  return findCluster(options, cluster, environment, signal)
}

/**
 * Makes an empty directory that of a node of the cluster that it is told to join, once somebody
 * there says what that is. Does nothing for a directory that is a node's, and for one that stands
 * alone or begins a cluster; without orders it throws InvalidArgumentError.
 */
export async function adoptIfNew(
  store: Store,
  options: NodeOptions,
  environment: NodeEnvironment,
  signal: AbortSignal,
  found: FoundCluster | undefined,
): Promise<void> {
  const { cluster, directory: path, partitionCount, logger = silentLogger } = options
  if (cluster === undefined) return
  const { init = false } = cluster
  if ((await store.read(nodeKey(NodeKey.identity))) !== undefined) {
    if (init) logger.warn(INIT_IN_VAIN)
    return
  }
  await checkHoldsNothing(store, path)
  if (init) return
  const { nodeId, ring } = found ?? (await findCluster(options, cluster, environment, signal))
  const createdMs = environment.clock.wallMs()
  await adoptCluster(store, { path, nodeId, ring, partitionCount, createdMs })
}

async function findCluster(
  { directory, logger = silentLogger }: NodeOptions,
  cluster: ClusterOptions,
  environment: NodeEnvironment,
  signal: AbortSignal,
): Promise<FoundCluster> {
  const { join: seeds = [] } = cluster
  if (seeds.length === 0) throw noOrders(directory)
  const { clock, entropy } = environment
  const nodeId = nodeIdOf(entropy(NODE_ID_SIZE))
  logger.info('looking for the cluster to join', { seeds })
  const links = NodeLinks.wanderer(nodeId, cluster, environment, logger)
  try {
    return { nodeId, ring: await discoverRing({ links, seeds, clock, logger, signal }) }
  } finally {
    await links.close()
  }
}

const INIT_IN_VAIN =
  'this node has a cluster, so init does nothing: start it without, for with init it would begin ' +
  'a second cluster, should its directory ever be empty'

function noOrders(path: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `${path} is empty, and nothing says whether this node begins a new cluster (kvd serve ` +
      '--init) or joins one (--join, with the address for nodes of any member). If it was a ' +
      'member before, its data is missing: mount or restore it; an empty directory never takes ' +
      'its place',
  )
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
