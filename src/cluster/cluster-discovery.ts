/**
 * How a node without a cluster finds the one that it is to join: it asks the addresses that it was
 * given until a member tells the ring, then becomes a node of that cluster, though no member yet.
 */
import { type Clock, delay } from '../clock.ts'
import { InvalidArgumentError, KvError, ProtocolError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { decodeCommit, encodeEpoch } from './epoch-format.ts'
import { checkHoldsNothing, encodeIdentity } from './node-identity.ts'
import { NodeKey, nodeKey, PARTITION_COUNT_WITH_PEERS_MAX } from './partition.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { Ring } from './ring.ts'
import { decodeRingMessage, encodeRing } from './ring-format.ts'
import { type NodeId, nodeIdBytes } from './ring-member.ts'
import type { Store } from './store.ts'

const FETCH_TIMEOUT_MS = 5000
/** Attempts, over a second or so, that may fail before it is told. */
const ATTEMPTS_QUIET = 3
const RETRY_MS = 250
const RETRY_MAX_MS = 5000

/** Links that can be made to an address. */
export interface Meeting extends Peers {
  meet(address: string): Promise<NodeId>
}

export interface DiscoveryOptions {
  readonly links: Meeting
  readonly seeds: readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** True for what asking again does not change: another secret, cluster or version, a removed id. */
export function isHopeless(error: KvError): boolean {
  return error.action === 'fix-request' || error.action === 'upgrade'
}

/**
 * Resolves to the ring of the cluster that one of the seeds belongs to. Rejects with what makes it
 * hopeless, with InvalidArgumentError when a seed is no node, or with the signal's reason; tries
 * for ever otherwise, and says so.
 */
export async function discoverRing(options: DiscoveryOptions): Promise<Ring> {
  const { seeds, clock, logger, signal } = options
  const said = new Map<string, string>()
  for (let attempt = 0; ; attempt++) {
    for (const seed of seeds) {
      signal.throwIfAborted()
      try {
        return await fetchRing(options, seed)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        if (isHopeless(error)) throw error
        // Nodes that are started together: the first may take a moment.
        if (attempt < ATTEMPTS_QUIET) {
          logger.debug('no cluster to join here yet', { seed, error })
          continue
        }
        if (error instanceof ProtocolError) throw noNode(seed, error)
        if (said.get(seed) === error.message) continue
        said.set(seed, error.message)
        logger.warn('no cluster to join here yet; this node goes on asking', { seed, error })
      }
    }
    await delay(clock, Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** attempt))
  }
}

/** Something listens there and speaks otherwise, again and again: no waiting makes a node of it. */
function noNode(seed: string, cause: ProtocolError): InvalidArgumentError {
  return new InvalidArgumentError(
    `what listens at ${seed} does not speak as nodes do among each other: join takes the port ` +
      'for nodes (--peer-port of a member, 7701 unless told), not that for clients',
    { cause },
  )
}

async function fetchRing({ links }: DiscoveryOptions, seed: string): Promise<Ring> {
  const peer = await links.meet(seed)
  const { ringFetch } = PeerMessage
  const answer = await links.request(peer, 'urgent', ringFetch, encodeEpoch(0), FETCH_TIMEOUT_MS)
  return decodeRingMessage(decodeCommit(answer, peer), peer)
}

export interface Adoption {
  /** The directory, for messages. */
  readonly path: string
  readonly nodeId: NodeId
  readonly ring: Ring
  /** What the operator asks for, if anything. */
  readonly partitionCount: number | undefined
  readonly createdMs: number
}

/** Makes an empty store that of a node of the ring's cluster. Resolves once that is fsynced. */
export async function adoptCluster(store: Store, adoption: Adoption): Promise<void> {
  const { path, nodeId, ring, partitionCount, createdMs } = adoption
  const { clusterId, partitionCount: actual } = ring
  if (partitionCount !== undefined && partitionCount !== actual) {
    throw new InvalidArgumentError(
      `the cluster has ${actual} partitions: join it without a partition count, or with ${actual}`,
    )
  }
  if (actual > PARTITION_COUNT_WITH_PEERS_MAX) {
    throw new InvalidArgumentError(
      `the cluster has ${actual} partitions, and more than one node takes at most ` +
        `${PARTITION_COUNT_WITH_PEERS_MAX}: make a new one with fewer`,
    )
  }
  await checkHoldsNothing(store, path)
  const identity = encodeIdentity({
    nodeId: nodeIdBytes(nodeId),
    clusterId: nodeIdBytes(clusterId),
    partitionCount: actual,
    createdMs: Math.floor(createdMs),
  })
  await store.write(
    [
      { type: 'put', key: nodeKey(NodeKey.identity), value: identity, expiryMs: 0 },
      { type: 'put', key: nodeKey(NodeKey.ring), value: encodeRing(ring), expiryMs: 0 },
    ],
    { durability: 'sync' },
  )
}
