/**
 * A node, put together: engine, identity, clock, partitioned store, links to other nodes, request
 * handler, server. The only place where all of them meet.
 *
 *   startNode --> serving --close--> draining (clients finish) --> links and engine closed
 *                    +--fenced by a later process of the same node--> the same at once
 *
 * The order of starting: what is stored; the links, made but not open; whoever handles messages of
 * other nodes; the links, open, and this start taken by most members; the server. And the reverse
 * of it in the end. A member that cannot write its records, as on a full disk, does not start.
 */
import { systemClock } from '../clock.ts'
import { type Db, type DbOptions, open, openInEnvironment } from '../engine/index.ts'
import { InvalidArgumentError, IoError, type KvError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import {
  type CloseOptions,
  checkListen,
  DEFAULT_PORT,
  DEFAULT_SERVER_LIMITS,
  EventLog,
  eventLogger,
  type ListenAddress,
  tcpAcceptor,
  tcpConnector,
} from '../net/index.ts'
import { secureBytes, systemRandom } from '../random.ts'
import { ChangeWatches } from './change-watches.ts'
import { CurrentRing, type MemberPlace, type RingShape } from './current-ring.ts'
import { tellEngineEvents } from './engine-events.ts'
import { checkDoors, FrontDoors, listenOptions } from './front-doors.ts'
import type { HybridLogicalClock } from './hybrid-logical-clock.ts'
import { expectedAddress, reachableAddress } from './node-address.ts'
import { adoptIfNew, checkMayJoin, type FoundCluster, findIfMissing } from './node-adoption.ts'
import { watchNodeCertificate } from './node-certificate.ts'
import { NodeCluster, type NodeClusterParts } from './node-cluster.ts'
import { NodeHandler, type NodeStats } from './node-handler.ts'
import { type NodeIdentity, openIdentity } from './node-identity.ts'
import {
  checkClusterOptions,
  checkStandsAlone,
  NodeLinks,
  peerEnvironment,
  peerListenOptions,
  peerPolicy,
} from './node-links.ts'
import type { NodeEnvironment, NodeOptions } from './options.ts'
import { checkPartitionCount, Partitioner } from './partition.ts'
import { PartitionedStore } from './partitioned-store.ts'
import type { Ring } from './ring.ts'
import { type NodeId, nodeIdOf } from './ring-member.ts'
import { RunningAbout } from './running-about.ts'
import { startClock } from './start-clock.ts'

/** A node that serves. */
export interface Node {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  /** The ring of the current epoch. */
  readonly ring: Ring
  /** Where Redis clients reach it; undefined when they do not. */
  readonly respAddress: ListenAddress | undefined
  /** The same of HTTP clients. */
  readonly httpAddress: ListenAddress | undefined
  /** Where other nodes reach it; undefined when it stands alone, empty when it does not know. */
  readonly peerAddress: string | undefined
  /** Resolves, if ever, when the node has stopped by itself, to what made it stop. */
  readonly stopped: Promise<KvError>
  /** What `kvcli stats` shows, of node, engine and net. */
  stats(): NodeStats
  /**
   * Lets clients finish, then closes the data. Rejects when the engine could not be closed cleanly;
   * what was acknowledged is safe all the same. Idempotent.
   */
  close(options?: CloseOptions): Promise<void>
}

/**
 * Resolves once the node accepts connections. When it rejects, no process and no lock is left
 * behind, and no new directory for what can be known before: a wrong option, a port in use, an
 * empty directory without orders, a cluster to join that refuses it.
 */
export async function startNode(
  options: NodeOptions,
  environment: Partial<NodeEnvironment> = {},
): Promise<Node> {
  const resolved: NodeEnvironment = {
    ...environment,
    clock: environment.clock ?? systemClock(),
    random: environment.random ?? systemRandom(),
    entropy: environment.entropy ?? secureBytes,
    connector: environment.connector ?? tcpConnector(),
    acceptor: environment.acceptor ?? tcpAcceptor(),
  }
  await checkOptions(options, resolved)
  const events = new EventLog(resolved.clock)
  const logger = eventLogger(options.logger ?? silentLogger, events)
  const watched = { ...options, logger }
  const found = await findIfMissing(watched, peerEnvironment(resolved, watched))
  logger.info('opening the data', { directory: options.directory })
  const db = await openEngine(watched, resolved)
  tellEngineEvents(db, events)
  try {
    return await serve(db, watched, resolved, events, found)
  } catch (error) {
    const { writesRefusedFor } = db
    await db.close()
    const isFull = error instanceof IoError && writesRefusedFor === 'space'
    if (!isFull || options.cluster === undefined) throw error
    throw new IoError(
      `${options.directory}: its disk is full, and a member of a cluster does not start on a ` +
        'full disk: before it serves it records that it was started, and what it owes to others. ' +
        `Make room, and start it again: ${error.message}`,
      { cause: error },
    )
  }
}

/** Rejects with what can be known before anything is made. */
async function checkOptions(options: NodeOptions, { acceptor }: NodeEnvironment): Promise<void> {
  const { partitionCount, cluster } = options
  if (partitionCount !== undefined) checkPartitionCount(partitionCount)
  await checkDoors(options, acceptor)
  if (cluster === undefined) return
  checkClusterOptions(cluster)
  if (options.tls !== undefined && options.tls.identity.files.ca === undefined) {
    throw new InvalidArgumentError(
      'nodes of a cluster know each other by certificates of one authority: give its own (kvd: ' +
        '--tls-ca)',
    )
  }
  await checkListen(peerListenOptions(cluster), peerPolicy(options), acceptor)
}

function openEngine(options: NodeOptions, environment: NodeEnvironment): Promise<Db> {
  const { directory } = options
  const { clock, random, fileSystem, executor, hasher, tuning } = environment
  if (fileSystem === undefined || executor === undefined) {
    return open(directory, engineOptions(options))
  }
  const hashing = hasher === undefined ? {} : { hasher }
  const world = { clock, random, fileSystem, executor, ...hashing }
  return openInEnvironment(directory, { ...engineOptions(options), ...tuning }, world)
}

async function serve(
  db: Db,
  options: NodeOptions,
  environment: NodeEnvironment,
  events: EventLog,
  found: FoundCluster | undefined,
): Promise<Node> {
  const { clock, random, acceptor } = environment
  const { directory: path, logger = silentLogger } = options
  const startedMs = clock.monotonicMs()
  const fence = new Fence(logger, options.cluster?.signal)
  const expected = expectedAddress({
    host: '127.0.0.1',
    port: DEFAULT_PORT,
    ...listenOptions(options),
  })
  const { identity, ring, nodeId } = await openIdentityAndRing(db, options, environment, {
    expected,
    signal: fence.signal,
    found,
  })
  const { wallClock, versions, isNear } = await startClock(db, path, ring, environment, logger)
  const store = new PartitionedStore({
    store: environment.seams?.store?.(db) ?? db,
    partitioner: new Partitioner(identity.partitionCount),
    versions,
    clock: wallClock,
    path,
    isReplicated: () => ring.ring.members.length > 1,
  })
  let bound: ListenAddress | undefined
  const links = await openLinks({ db, ring, nodeId, options, environment, fence })
  const cluster = await openCluster(links, {
    ...{ db, store, ring, environment, logger, path, wallClock, versions },
    isClockKnown: isNear || options.cluster?.trustClock === true,
    seeds: options.cluster?.join ?? [],
    clientAddress: () => (bound === undefined ? expected : reachableAddress(bound)),
    place: memberPlace(options),
    load: () => doors.lastSecond,
  })
  const uptimeMs = () => clock.monotonicMs() - startedMs
  const stats = (): NodeStats => ({
    node: {
      id: nodeId,
      cluster: Buffer.from(identity.clusterId).toString('hex'),
      partitions: identity.partitionCount,
      ring: ring.figures(),
      uptimeMs: Math.round(uptimeMs()),
      orderedScans: handler.orderedScans,
      writes: store.stats,
    },
    ...(links === undefined ? {} : { links: links.peers.figures() }),
    ...(cluster === undefined ? {} : cluster.figures()),
    engine: db.stats(),
    load: doors.lastSecond ?? null,
  })
  const { partitionCount } = identity
  const changes = new ChangeWatches({ db, clock, random, partitionCount })
  const known = { changes, db, ring, nodeId, links, cluster, stats, uptimeMs }
  const about = new RunningAbout({ ...known, slow: () => doors.slow })
  const handler = new NodeHandler(store, stats, () => ring.bytes, cluster?.work, nodeId, about)
  const doors = new FrontDoors(options, {
    ...{ handler, acceptor, clock, random, logger, events },
    ...{ nodeId, clusterId: ring.ring.clusterId },
    timeMs: () => versions.timeMs,
  })
  ring.onChange(() => doors.server.pushRing(ring.bytes))
  const stopWatching = watchNodeCertificate(options, clock, logger)
  try {
    await enter(links, cluster, fence.signal)
    const address = await doors.listen()
    bound = address
    const work = { ring, doors, links, cluster, versions, changes, db, stats, stopWatching }
    const node = new RunningNode({ address, identity, ...work })
    fence.guard(node)
    await ring.moveTo(reachableAddress(address), links?.address ?? '')
    cluster?.moved()
    return node
  } catch (error) {
    stopWatching()
    await doors.close({ graceMs: 0 })
    await changes.close()
    await cluster?.close()
    await links?.close()
    throw error
  }
}

/** Resolves once the node is a member, and may let clients in. */
async function enter(
  links: NodeLinks | undefined,
  cluster: NodeCluster | undefined,
  signal: AbortSignal,
): Promise<void> {
  await links?.start()
  await cluster?.enter(signal)
  await links?.settle(signal)
}

interface Opened {
  readonly identity: NodeIdentity
  readonly ring: CurrentRing
  readonly nodeId: NodeId
}

interface OpeningParts {
  /** Where clients are expected to reach it. */
  readonly expected: string
  readonly signal: AbortSignal
  readonly found: FoundCluster | undefined
}

/**
 * Who the node is and which ring it goes by. Both are made when the directory is empty, and that is
 * what was ordered.
 */
async function openIdentityAndRing(
  db: Db,
  options: NodeOptions,
  environment: NodeEnvironment,
  { expected, signal, found }: OpeningParts,
): Promise<Opened> {
  const { clock, entropy } = environment
  const { directory: path, partitionCount, logger = silentLogger } = options
  await adoptIfNew(db, options, peerEnvironment(environment, options), signal, found)
  const wallMs = () => clock.wallMs()
  const identity = await openIdentity(db, { path, partitionCount, wallMs, entropy })
  const place = memberPlace(options)
  const ring = await CurrentRing.open(db, path, identity, expected, ringShape(options), place)
  const nodeId = nodeIdOf(identity.nodeId)
  if (options.cluster === undefined) {
    checkStandsAlone(ring.ring, nodeId, path)
    db.openingHold?.release()
  }
  checkMayJoin(ring.ring, nodeId, options, logger)
  return { identity, ring, nodeId }
}

/** What the operator says of the cluster's shape. */
function ringShape({ replicationFactor, virtualNodes }: NodeOptions): RingShape {
  return {
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...(virtualNodes === undefined ? {} : { virtualNodes }),
  }
}

/** What the operator says of the node's place in it. */
function memberPlace({ cluster }: NodeOptions): MemberPlace {
  const { rack, weight } = cluster ?? {}
  return {
    ...(rack === undefined ? {} : { rack }),
    ...(weight === undefined ? {} : { weight }),
  }
}

interface LinksParts {
  readonly db: Db
  readonly ring: CurrentRing
  readonly nodeId: NodeId
  readonly options: NodeOptions
  readonly environment: NodeEnvironment
  readonly fence: Fence
}

/** Undefined for a node that stands alone. */
async function openLinks(parts: LinksParts): Promise<NodeLinks | undefined> {
  const { db, ring, nodeId, options, environment, fence } = parts
  const { cluster, directory: path, logger = silentLogger } = options
  if (cluster === undefined) return undefined
  return NodeLinks.open({
    store: db,
    path,
    self: nodeId,
    ring,
    options: cluster,
    policy: peerPolicy(options),
    frameSizeMax: options.limits?.frameSizeMax ?? DEFAULT_SERVER_LIMITS.frameSizeMax,
    environment: peerEnvironment(environment, options),
    logger,
    fenced: error => fence.trip(error),
  })
}

/** Undefined for a node that stands alone. */
async function openCluster(
  links: NodeLinks | undefined,
  parts: Omit<NodeClusterParts, 'links'>,
): Promise<NodeCluster | undefined> {
  return links === undefined ? undefined : NodeCluster.open({ ...parts, links })
}

function engineOptions(options: NodeOptions): DbOptions {
  const { durability, syncIntervalMs, memoryBudget, compactionThreads, logger } = options
  const { compression, coldDirectory } = options
  return {
    warmTables: true,
    // What is owed to other nodes is read from it after a restart.
    holdWalFrom: 'oldest',
    ...(durability === undefined ? {} : { durability }),
    ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
    ...(compactionThreads === undefined ? {} : { compactionThreads }),
    ...(compression === undefined ? {} : { compression }),
    ...(coldDirectory === undefined ? {} : { coldDirectory }),
    ...(logger === undefined ? {} : { logger }),
  }
}

interface NodeParts {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  readonly ring: CurrentRing
  readonly doors: FrontDoors
  readonly links: NodeLinks | undefined
  readonly cluster: NodeCluster | undefined
  readonly versions: HybridLogicalClock
  readonly db: Db
  readonly stats: () => NodeStats
  /** Ends the watch over the certificate. */
  readonly changes: ChangeWatches
  readonly stopWatching: () => void
}

class RunningNode implements Node {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  readonly #parts: NodeParts
  readonly stopped: Promise<KvError>
  #resolveStopped: (error: KvError) => void = () => undefined
  #closing: Promise<void> | undefined

  constructor(parts: NodeParts) {
    this.address = parts.address
    this.identity = parts.identity
    this.#parts = parts
    this.stopped = new Promise(resolve => {
      this.#resolveStopped = resolve
    })
  }

  get respAddress(): ListenAddress | undefined {
    return this.#parts.doors.respAddress
  }

  get httpAddress(): ListenAddress | undefined {
    return this.#parts.doors.httpAddress
  }

  get peerAddress(): string | undefined {
    return this.#parts.links?.address
  }

  get ring(): Ring {
    return this.#parts.ring.ring
  }

  stats(): NodeStats {
    return { ...this.#parts.stats(), ...this.#parts.doors.stats() }
  }

  close(options?: CloseOptions): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  /** Stops at once because of an error, and tells who waits for `stopped`. */
  async stopFor(error: KvError, logger: Logger): Promise<void> {
    try {
      await this.close({ graceMs: 0 })
    } catch (failure) {
      logger.error('the data could not be closed cleanly; the next start recovers it', {
        error: failure,
      })
    }
    this.#resolveStopped(error)
  }

  async #close(options: CloseOptions | undefined): Promise<void> {
    const { doors, links, cluster, versions, changes, db, stopWatching } = this.#parts
    stopWatching()
    await doors.close(options)
    await changes.close()
    await cluster?.close()
    await links?.close()
    try {
      await versions.close()
    } finally {
      await db.close()
    }
  }
}

/** Stops the node when it is told that it must, also when that is before it serves. */
class Fence {
  /** Ends what a start waits for. */
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #logger: Logger
  #node: RunningNode | undefined
  #error: KvError | undefined

  constructor(logger: Logger, signal: AbortSignal | undefined) {
    this.#logger = logger
    const own = this.#controller.signal
    this.signal = signal === undefined ? own : AbortSignal.any([own, signal])
  }

  trip(error: KvError): void {
    this.#error ??= error
    this.#controller.abort(error)
    void this.#node?.stopFor(this.#error, this.#logger)
  }

  /** Throws what it was tripped with already. */
  guard(node: RunningNode): void {
    this.#node = node
    if (this.#error !== undefined) throw this.#error
  }
}
