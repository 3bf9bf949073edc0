/**
 * A node, put together: engine, identity, clock, partitioned store, request handler, server. The
 * only place where all of them meet.
 *
 *   startNode --> serving --close--> draining (clients finish) --> engine closed
 */
import { delay, systemClock } from '../clock.ts'
import { type Db, type DbOptions, open, openInEnvironment } from '../engine/index.ts'
import { type Logger, silentLogger } from '../logger.ts'
import {
  type CloseOptions,
  checkListen,
  DEFAULT_PORT,
  type ListenAddress,
  type ListenOptions,
  Server,
  tcpAcceptor,
  tcpConnector,
} from '../net/index.ts'
import { secureBytes, systemRandom } from '../random.ts'
import { readClockMark, writeClockMark } from './clock-mark.ts'
import { CurrentRing } from './current-ring.ts'
import { HybridLogicalClock, LEASE_MS, SKEW_AHEAD_MAX_MS } from './hybrid-logical-clock.ts'
import { NodeHandler, type NodeStats } from './node-handler.ts'
import { type NodeIdentity, openIdentity, writerOf } from './node-identity.ts'
import type { NodeEnvironment, NodeOptions } from './options.ts'
import { checkPartitionCount, Partitioner } from './partition.ts'
import { PartitionedStore } from './partitioned-store.ts'
import type { Ring } from './ring.ts'

/** A node that serves. */
export interface Node {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  /** The ring of the current epoch. */
  readonly ring: Ring
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
 * behind, and no new directory for what can be known before: a wrong option, a port in use.
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
  if (options.partitionCount !== undefined) checkPartitionCount(options.partitionCount)
  const policy = {
    allowInsecureRemote: options.allowInsecureRemote ?? false,
    asksForPassword: options.credentials?.password !== undefined,
  }
  await checkListen(listenOptions(options), policy, resolved.acceptor)
  const db = await openEngine(options, resolved)
  try {
    return await serve(db, options, resolved)
  } catch (error) {
    await db.close()
    throw error
  }
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

async function serve(db: Db, options: NodeOptions, environment: NodeEnvironment): Promise<Node> {
  const { clock, random, entropy, acceptor } = environment
  const { directory: path, logger = silentLogger } = options
  const startedMs = clock.monotonicMs()
  const { partitionCount } = options
  const wallMs = () => clock.wallMs()
  const identity = await openIdentity(db, { path, partitionCount, wallMs, entropy })
  const ring = await CurrentRing.open(db, path, identity, expectedAddress(options))
  const versions = await startClock(db, path, identity, environment, logger)
  const partitioner = new Partitioner(identity.partitionCount)
  const store = new PartitionedStore({
    store: db,
    partitioner,
    versions,
    clock,
    path,
    isReplicated: () => ring.ring.members.length > 1,
  })
  const nodeId = Buffer.from(identity.nodeId).toString('hex')
  const stats = (): NodeStats => ({
    node: {
      id: nodeId,
      cluster: Buffer.from(identity.clusterId).toString('hex'),
      partitions: identity.partitionCount,
      ring: ring.figures(),
      uptimeMs: Math.round(clock.monotonicMs() - startedMs),
      orderedScans: handler.orderedScans,
      writes: store.stats,
    },
    engine: db.stats(),
  })
  const handler = new NodeHandler(store, stats, () => ring.bytes)
  const server = new Server({
    handler,
    acceptor,
    clock,
    timeMs: () => versions.timeMs,
    random,
    logger,
    nodeId,
    limits: options.limits ?? {},
    serverVersion: options.version ?? '',
    allowInsecureRemote: options.allowInsecureRemote ?? false,
    credentials: options.credentials ?? {},
  })
  ring.onChange(() => server.pushRing(ring.bytes))
  const address = await server.listen(listenOptions(options))
  const node = new RunningNode({ address, identity, ring, server, versions, db, stats })
  try {
    await ring.moveTo(reachableAddress(address))
  } catch (error) {
    await server.close({ graceMs: 0 })
    throw error
  }
  return node
}

/** Where the node is going to listen, when that is known before it does; else empty. */
function expectedAddress({ host = '127.0.0.1', port = DEFAULT_PORT }: NodeOptions): string {
  return port === 0 || host === '' ? '' : reachableAddress({ host, port })
}

/** Where others reach what listens there; empty when that is every address of the machine. */
function reachableAddress({ host, port }: ListenAddress): string {
  if (host === '0.0.0.0' || host === '::') return ''
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function listenOptions({ host, port }: NodeOptions): ListenOptions {
  return { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) }
}

/** The clock goes on above the mark that the last process left. */
async function startClock(
  db: Db,
  path: string,
  identity: NodeIdentity,
  { clock }: NodeEnvironment,
  logger: Logger,
): Promise<HybridLogicalClock> {
  const markMs = await readClockMark(db, path)
  const aheadMs = markMs - clock.wallMs()
  if (aheadMs > LEASE_MS + SKEW_AHEAD_MAX_MS) {
    logger.warn('the clock of this machine was set back; versions go on above the old time', {
      aheadMs: Math.round(aheadMs),
    })
  } else if (aheadMs > 0) {
    // A restart right after a crash: better late than with versions from the clients' future.
    await delay(clock, aheadMs)
  }
  const persistMark = (next: number) => writeClockMark(db, next)
  return new HybridLogicalClock({ clock, writer: writerOf(identity), markMs, persistMark })
}

function engineOptions(options: NodeOptions): DbOptions {
  const { durability, syncIntervalMs, memoryBudget, compactionThreads, logger } = options
  const { compression } = options
  return {
    warmTables: true,
    ...(durability === undefined ? {} : { durability }),
    ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
    ...(compactionThreads === undefined ? {} : { compactionThreads }),
    ...(compression === undefined ? {} : { compression }),
    ...(logger === undefined ? {} : { logger }),
  }
}

interface NodeParts {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  readonly ring: CurrentRing
  readonly server: Server
  readonly versions: HybridLogicalClock
  readonly db: Db
  readonly stats: () => NodeStats
}

class RunningNode implements Node {
  readonly address: ListenAddress
  readonly identity: NodeIdentity
  readonly #parts: NodeParts
  #closing: Promise<void> | undefined

  constructor(parts: NodeParts) {
    this.address = parts.address
    this.identity = parts.identity
    this.#parts = parts
  }

  get ring(): Ring {
    return this.#parts.ring.ring
  }

  stats(): NodeStats {
    return { ...this.#parts.stats(), net: this.#parts.server.stats() }
  }

  close(options?: CloseOptions): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async #close(options: CloseOptions | undefined): Promise<void> {
    const { server, versions, db } = this.#parts
    await server.close(options)
    try {
      await versions.close()
    } finally {
      await db.close()
    }
  }
}
