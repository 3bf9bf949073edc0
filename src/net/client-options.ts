/** What a client may be told, and what it does when it is not. */
import { checkArray, checkConsistency, checkMembers, checkObject, describe } from '../arguments.ts'
import { type Clock, systemClock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { type Random, secureBytes, systemRandom } from '../random.ts'
import { WRITER_SIZE } from '../write-version.ts'
import { toDurability } from './arguments.ts'
import type { ConnectionEvent } from './connection-pool.ts'
import { type NodeAddress, parseConnectionUrl } from './connection-url.ts'
import { type Connector, tcpConnector } from './connector.ts'
import { encodeCredentials } from './credentials.ts'
import { CLIENT_NAME_SIZE_MAX, DEFAULT_PORT } from './limits.ts'
import type { Backoff } from './retry.ts'
import type { DecodeRoutes } from './routes.ts'
import { SessionVersions } from './session-versions.ts'
import { type ClientTls, tlsConnector } from './tls/index.ts'
import { WriteClock } from './write-clock.ts'

const MIB = 1024 * 1024

export interface ClientOptions {
  /** `kv://user:password@host:port,host:port?timeoutMs=1000`. Instead of `nodes`. */
  readonly url?: string
  /** Servers of one cluster. Instead of `url`. */
  readonly nodes?: readonly { readonly host: string; readonly port?: number }[]
  /** Milliseconds that a call may take, all its attempts together. @defaultValue 5,000 */
  readonly timeoutMs?: number
  /**
   * Milliseconds after which a call that has no answer is sent to another server, when there is
   * one; a long request has more. @defaultValue 1,000
   */
  readonly attemptTimeoutMs?: number
  /** Milliseconds for one attempt to connect, HELLO included. @defaultValue 3,000 */
  readonly connectTimeoutMs?: number
  /** Who this is, for a server that asks for a password. @defaultValue 'default' */
  readonly user?: string
  /** Travels as it is: without a tunnel, only over networks that are trusted. @defaultValue none */
  readonly password?: string
  /**
   * Speaks TLS, as with kvs:// in the url; as an object with what the servers' certificates are
   * held against, and the client's own. @defaultValue false
   */
  readonly tls?: boolean | ClientTls
  /** Shown in the server's log. @defaultValue 'duramen-js' */
  readonly clientName?: string
  /** For calls that name none. @defaultValue the server's own setting, 'one' */
  readonly consistency?: Consistency
  /** For writes that name none. @defaultValue the server's own setting, 'sync' unless changed */
  readonly durability?: Durability
  /**
   * Unanswered calls of one connection; more wait in the queue. The server's own limit counts when
   * it is lower. @defaultValue 2,048
   */
  readonly inFlightMax?: number
  /** Calls that wait for a connection; more fail at once. @defaultValue 100,000 */
  readonly queueCountMax?: number
  /** Bytes of those calls; more fail at once. @defaultValue 64 MiB */
  readonly queueBytesMax?: number
  /** A connection that is silent for so long is asked for a sign of life. @defaultValue 5,000 */
  readonly pingIntervalMs?: number
  /** The first pause before connecting again; it doubles from there. @defaultValue 25 */
  readonly reconnectDelayMinMs?: number
  /** The longest pause before connecting again. @defaultValue 2,000 */
  readonly reconnectDelayMaxMs?: number
  /**
   * `connect` resolves at once, and connects in the background; calls wait for it as long as they
   * may. Without it `connect` rejects when no server answers. @defaultValue false
   */
  readonly lazy?: boolean
  /**
   * Who gives a write its version. `'client'`: this client does, by a clock that follows the
   * server's; every retry repeats the version, so a write whose answer was lost is sent again like
   * a read. `'server'`: the server does, and a write that may have been sent is never repeated.
   *
   * @defaultValue 'client'
   */
  readonly versions?: 'client' | 'server'
  /** Makes the versions itself, 16 bytes each; for those who pass on writes of others. */
  readonly writeVersion?: () => Uint8Array
  /**
   * `get`, `has` and `getMany` of this client show what it has written itself, or something later,
   * whichever replica answers: where one is not that far, more are asked. Holds for the 10,000 keys
   * written last. Needs versions from the client. @defaultValue false
   */
  readonly session?: boolean
  /**
   * Reads the ring that the servers tell, so that each call goes to a replica of its key; `open`
   * and `connect` of the package bring the cluster's. @defaultValue none, any server is asked
   */
  readonly decodeRoutes?: DecodeRoutes
  /** Told when a connection is made or lost. Must not throw. */
  readonly onConnection?: (event: ConnectionEvent) => void
  /** @defaultValue silent */
  readonly logger?: Logger
  readonly clock?: Clock
  readonly random?: Random
  /** How servers are reached. @defaultValue TCP */
  readonly connector?: Connector
}

export interface ResolvedClientOptions {
  readonly nodes: readonly NodeAddress[]
  readonly timeoutMs: number
  readonly attemptTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly clientName: string
  /** What HELLO carries. */
  readonly credentials: Uint8Array
  readonly consistency: Consistency | undefined
  readonly durability: Durability | undefined
  readonly inFlightMax: number
  readonly queueCountMax: number
  readonly queueBytesMax: number
  readonly pingIntervalMs: number
  readonly reconnectBackoff: Backoff
  readonly lazy: boolean
  readonly versions: 'client' | 'server'
  readonly writeVersion: (() => Uint8Array) | undefined
  readonly writeClock: WriteClock
  readonly session: SessionVersions | undefined
  readonly decodeRoutes: DecodeRoutes | undefined
  readonly onConnection: ((event: ConnectionEvent) => void) | undefined
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  readonly connector: Connector
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ClientOptions>([
  ...(['url', 'nodes', 'timeoutMs', 'attemptTimeoutMs', 'connectTimeoutMs', 'user'] as const),
  ...(['password', 'clientName', 'consistency', 'durability', 'inFlightMax'] as const),
  ...(['queueCountMax', 'queueBytesMax', 'pingIntervalMs', 'reconnectDelayMinMs'] as const),
  ...(['reconnectDelayMaxMs', 'lazy', 'versions', 'writeVersion', 'decodeRoutes'] as const),
  ...(['session', 'tls'] as const),
  ...(['onConnection', 'logger', 'clock', 'random', 'connector'] as const),
])

/** Fills in defaults, checks and freezes. Explicit options win over those of the URL. */
export function resolveClientOptions(given: ClientOptions): ResolvedClientOptions {
  checkMembers(given, 'the options', OPTION_NAMES)
  const fromUrl = given.url === undefined ? undefined : parseConnectionUrl(given.url)
  if (fromUrl !== undefined && given.nodes !== undefined) {
    throw new InvalidArgumentError('give the client a url or nodes, not both')
  }
  const options: ClientOptions = { ...fromUrl?.options, ...withoutUndefined(given) }
  const nodes = fromUrl?.nodes ?? checkArray(given.nodes ?? [], 'nodes').map(resolveNode)
  if (nodes.length === 0) throw new InvalidArgumentError('the client needs a url or nodes')
  const clientName = options.clientName ?? 'duramen-js'
  if (typeof clientName !== 'string') {
    throw new InvalidArgumentError(`clientName must be a string, got ${describe(clientName)}`)
  }
  if (Buffer.byteLength(clientName) > CLIENT_NAME_SIZE_MAX) {
    throw new InvalidArgumentError(`clientName has at most ${CLIENT_NAME_SIZE_MAX} bytes`)
  }
  const { versions = 'client' } = options
  if (versions !== 'client' && versions !== 'server') {
    throw new InvalidArgumentError(
      `versions must be 'client' or 'server', got ${describe(versions)}`,
    )
  }
  if (options.session === true && versions === 'server') {
    throw new InvalidArgumentError("a session needs versions: 'client'")
  }
  const clock = options.clock ?? systemClock()
  const random = options.random ?? systemRandom()
  // Two clients of one writer id would overwrite each other: no seed of 48 bits for that.
  const newWriter = () => options.random?.bytes(WRITER_SIZE) ?? secureBytes(WRITER_SIZE)
  const delayMinMs = positive('reconnectDelayMinMs', options.reconnectDelayMinMs, 25)
  const delayMaxMs = positive('reconnectDelayMaxMs', options.reconnectDelayMaxMs, 2000)
  return Object.freeze({
    nodes,
    timeoutMs: positive('timeoutMs', options.timeoutMs, 5000),
    attemptTimeoutMs: positive('attemptTimeoutMs', options.attemptTimeoutMs, 1000),
    connectTimeoutMs: positive('connectTimeoutMs', options.connectTimeoutMs, 3000),
    clientName,
    credentials: encodeCredentials(options),
    consistency: checkConsistency(options.consistency),
    durability: toDurability(options.durability),
    inFlightMax: positive('inFlightMax', options.inFlightMax, 2048),
    queueCountMax: positive('queueCountMax', options.queueCountMax, 100_000),
    queueBytesMax: positive('queueBytesMax', options.queueBytesMax, 64 * MIB),
    pingIntervalMs: positive('pingIntervalMs', options.pingIntervalMs, 5000),
    reconnectBackoff: { delayMinMs, delayMaxMs: Math.max(delayMinMs, delayMaxMs) },
    lazy: options.lazy ?? false,
    versions,
    writeVersion: options.writeVersion,
    writeClock: new WriteClock(clock, newWriter),
    session: options.session === true ? new SessionVersions() : undefined,
    decodeRoutes: options.decodeRoutes,
    onConnection: options.onConnection,
    logger: options.logger ?? silentLogger,
    clock,
    random,
    connector: options.connector ?? connectorOf(fromUrl?.options.tls === true, options.tls),
  })
}

/** kvs:// is not undone by an option. */
function connectorOf(isSecureUrl: boolean, tls: ClientOptions['tls']): Connector {
  if (typeof tls === 'object') {
    checkMembers(tls, 'tls', TLS_NAMES)
    return tlsConnector(() => tls)
  }
  return isSecureUrl || tls === true ? tlsConnector(() => ({})) : tcpConnector()
}

const TLS_NAMES: ReadonlySet<string> = new Set<keyof ClientTls>([
  ...(['ca', 'cert', 'key', 'serverName'] as const),
])

function resolveNode(node: { readonly host: string; readonly port?: number }): NodeAddress {
  const { host, port = DEFAULT_PORT } = checkObject(node, 'a node')
  if (
    typeof host !== 'string' ||
    host === '' ||
    !Number.isInteger(port) ||
    port < 1 ||
    port > 65_535
  ) {
    const given = `host ${describe(host)} and port ${describe(port)}`
    throw new InvalidArgumentError(`a server has a host and a port from 1 to 65535, got ${given}`)
  }
  return { host, port }
}

/** The longest time that timers understand. */
const NUMBER_MAX = 2 ** 31 - 1

function positive(name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback
  if (Number.isSafeInteger(value) && value >= 1 && value <= NUMBER_MAX) return value
  throw new InvalidArgumentError(
    `${name} must be an integer from 1 to ${NUMBER_MAX}, got ${describe(value)}`,
  )
}

function withoutUndefined(options: ClientOptions): ClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
