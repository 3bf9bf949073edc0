/**
 * A proxy, put together: the front doors of a node with no data behind them, but the nodes of a
 * cluster. It keeps nothing, so any number of them stand side by side.
 *
 *   startProxy --a node tells its ring--> serving --close--> leaving (readyz says no, serves on)
 *     --drainDelayMs--> draining (clients finish) --> closed
 *
 * The doors open once the cluster is known: a client that is let in earlier could only wait, and
 * would not learn which cluster this is.
 */
import { type Clock, delay, systemClock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import {
  type Acceptor,
  type ClientTls,
  type CloseOptions,
  type Connector,
  type Credentials,
  EventLog,
  eventLogger,
  type ListenAddress,
  type NodeAddress,
  ProxyHandler,
  ProxyLanes,
  type RingOwnership,
  tcpAcceptor,
} from '../net/index.ts'
import { type Random, systemRandom } from '../random.ts'
import { adminNeeds } from './admin-commands.ts'
import { decodeRoutes, withoutClientAddresses } from './client-routes.ts'
import { checkDoors, type FrontDoorOptions, FrontDoors } from './front-doors.ts'
import { decodeRingMessage } from './ring-format.ts'
import { ringOwnership } from './ring-ownership.ts'
import { RingTable } from './ring-table.ts'

/** How long the first node may take to answer. */
const CONTACT_MS_DEFAULT = 30_000
const DRAIN_DELAY_MS_DEFAULT = 0
/** For messages about a ring that was read before. */
const FROM_NODE = 'a node'

export interface ProxyOptions extends FrontDoorOptions {
  /** Nodes of one cluster, where clients reach them; the others are found through these. */
  readonly nodes: readonly NodeAddress[]
  /** As whom the nodes let this proxy in. @defaultValue they ask for no password */
  readonly nodeCredentials?: Credentials
  /** Speaks TLS with the nodes; what their certificates are held against. @defaultValue false */
  readonly nodeTls?: boolean | ClientTls
  /**
   * Milliseconds for the first node to answer; then the start fails. @defaultValue 30,000
   */
  readonly contactMs?: number
  /**
   * Milliseconds from when `/readyz` says no to when connections are closed, for balancers in front
   * to see it. @defaultValue 0
   */
  readonly drainDelayMs?: number
  /** @defaultValue silent */
  readonly logger?: Logger
}

/** What a proxy takes from the machine. */
export interface ProxyEnvironment {
  readonly clock: Clock
  readonly random: Random
  readonly acceptor: Acceptor
  /** How nodes are reached. @defaultValue TCP, or TLS where that is asked for */
  readonly connector?: Connector
}

/** A proxy that serves. */
export interface RunningProxy {
  readonly address: ListenAddress
  /** Where Redis clients reach it; undefined when they do not. */
  readonly respAddress: ListenAddress | undefined
  /** The same of HTTP clients. */
  readonly httpAddress: ListenAddress | undefined
  /** The cluster that it stands in front of. */
  readonly clusterId: string
  /** What it does, of nodes and doors. JSON-serialisable. */
  stats(): Readonly<Record<string, unknown>>
  /** Lets clients finish. Idempotent. */
  close(options?: CloseOptions): Promise<void>
}

/**
 * Resolves once the proxy accepts connections. Rejects when no node answers in time, when all of
 * them refuse it or belong to different clusters, and when it cannot listen; then nothing is left
 * behind.
 */
export async function startProxy(
  options: ProxyOptions,
  environment: Partial<ProxyEnvironment> = {},
): Promise<RunningProxy> {
  if (options.nodes.length === 0) {
    throw new InvalidArgumentError('a proxy needs the address of a node at least')
  }
  const clock = environment.clock ?? systemClock()
  const random = environment.random ?? systemRandom()
  const acceptor = environment.acceptor ?? tcpAcceptor()
  await checkDoors(options, acceptor)
  const events = new EventLog(clock)
  const logger = eventLogger(options.logger ?? silentLogger, events)
  let doors: FrontDoors | undefined
  const told = new ToldRing(ring => doors?.server.pushRing(ring))
  const lanes = openLanes(options, environment, { clock, logger, told })
  try {
    const clusterId = await lanes.open(options.contactMs ?? CONTACT_MS_DEFAULT)
    const handler = new ProxyHandler({
      lanes,
      clock,
      ring: () => told.bytes,
      ownership: () => told.ownership(lanes.ring),
      adminNeeds,
    })
    doors = new FrontDoors(options, {
      ...{ handler, acceptor, clock, random, logger, events, clusterId },
      nodeId: Buffer.from(random.bytes(16)).toString('hex'),
      timeMs: () => lanes.timeMs,
    })
    const address = await doors.listen()
    const { drainDelayMs = DRAIN_DELAY_MS_DEFAULT } = options
    return new Running({ address, clusterId, doors, handler, lanes, clock, drainDelayMs })
  } catch (error) {
    await doors?.close({ graceMs: 0 })
    await lanes.close()
    throw error
  }
}

interface LanesParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly told: ToldRing
}

function openLanes(
  { nodes, nodeCredentials = {}, nodeTls }: ProxyOptions,
  { connector }: Partial<ProxyEnvironment>,
  { clock, logger, told }: LanesParts,
): ProxyLanes {
  const { user, password } = nodeCredentials
  return new ProxyLanes({
    client: {
      nodes,
      logger,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
      ...(nodeTls === undefined ? {} : { tls: nodeTls }),
      ...(connector === undefined ? {} : { connector }),
    },
    clock,
    decodeRoutes,
    onRing: ring => told.take(ring),
  })
}

/** The ring as clients are told it, made anew from epoch to epoch. */
class ToldRing {
  bytes: Uint8Array | undefined
  readonly #push: (ring: Uint8Array) => void
  /** Of the last ring that somebody asked for. */
  #ownership: { readonly ring: Uint8Array; readonly of: RingOwnership } | undefined

  constructor(push: (ring: Uint8Array) => void) {
    this.#push = push
  }

  take(ring: Uint8Array): void {
    this.bytes = withoutClientAddresses(ring, FROM_NODE)
    this.#push(this.bytes)
  }

  ownership(ring: Uint8Array | undefined): RingOwnership | undefined {
    if (ring === undefined) return undefined
    if (this.#ownership?.ring !== ring) {
      const table = new RingTable(decodeRingMessage(ring, FROM_NODE))
      this.#ownership = { ring, of: ringOwnership(table) }
    }
    return this.#ownership.of
  }
}

interface RunningParts {
  readonly address: ListenAddress
  readonly clusterId: string
  readonly doors: FrontDoors
  readonly handler: ProxyHandler
  readonly lanes: ProxyLanes
  readonly clock: Clock
  readonly drainDelayMs: number
}

class Running implements RunningProxy {
  readonly address: ListenAddress
  readonly respAddress: ListenAddress | undefined
  readonly httpAddress: ListenAddress | undefined
  readonly clusterId: string
  readonly #parts: RunningParts
  #closing: Promise<void> | undefined

  constructor(parts: RunningParts) {
    this.address = parts.address
    this.respAddress = parts.doors.respAddress
    this.httpAddress = parts.doors.httpAddress
    this.clusterId = parts.clusterId
    this.#parts = parts
  }

  stats(): Readonly<Record<string, unknown>> {
    const { handler, doors } = this.#parts
    return { ...handler.stats(), ...doors.stats() }
  }

  close(options?: CloseOptions): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async #close(options: CloseOptions = {}): Promise<void> {
    const { handler, doors, lanes, clock, drainDelayMs } = this.#parts
    handler.leave()
    if (drainDelayMs > 0 && options.graceMs !== 0) await delay(clock, drainDelayMs)
    await doors.close(options)
    await lanes.close()
  }
}
