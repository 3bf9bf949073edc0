/**
 * The front doors of a node, or of a proxy: the binary protocol, and where they are wanted those of
 * Redis and of HTTP clients. All call the same handler, which lets each user do what it may, share
 * limits and group commits, and know nothing of what stands behind.
 */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import {
  type Acceptor,
  Audit,
  type CloseOptions,
  checkListen,
  doorMetrics,
  type EventLog,
  GuardedHandler,
  HttpServer,
  type ListenAddress,
  type ListenOptions,
  type LoadMeter,
  type LoadPoint,
  loadMeterOf,
  type MetricFamily,
  PLAIN_ANSWERS,
  type RequestHandler,
  RespDoor,
  Server,
  type ServerStatsSnapshot,
  type SlowOperations,
  sharedMetrics,
  tlsAcceptor,
} from '../net/index.ts'
import type { Random } from '../random.ts'
import type { NodeOptions } from './options.ts'

/** What an operator says of the doors. */
export type FrontDoorOptions = Pick<
  NodeOptions,
  | 'host'
  | 'port'
  | 'resp'
  | 'http'
  | 'limits'
  | 'version'
  | 'credentials'
  | 'users'
  | 'allowInsecureRemote'
  | 'tls'
>

export interface FrontDoorParts {
  readonly handler: RequestHandler
  readonly acceptor: Acceptor
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly nodeId: string
  readonly clusterId: string
  readonly events: EventLog
  /** The time that versions are held against. */
  readonly timeMs: () => number
}

export class FrontDoors {
  readonly server: Server
  readonly #resp: Server | undefined
  readonly #http: HttpServer | undefined
  readonly #options: FrontDoorOptions
  readonly #load: LoadMeter

  constructor(options: FrontDoorOptions, parts: FrontDoorParts) {
    const { limits = {}, version: serverVersion = '', credentials = {}, users } = options
    const { allowInsecureRemote = false, tls } = options
    const audit = new Audit(parts.logger, parts.clock)
    // The doors have no other: whatever they do for a client is asked for there.
    const handler = new GuardedHandler(parts.handler, audit)
    const isEncrypted = tls !== undefined
    const access = { credentials, users, audit, allowInsecureRemote, isEncrypted }
    const acceptorOf = (door: string, plainAnswer: Uint8Array): Acceptor => {
      if (tls === undefined) return parts.acceptor
      return tlsAcceptor(tls, {
        ended: (remoteAddress, end) => audit.handshakeEnded({ door, remoteAddress }, end),
        plainAnswer,
      })
    }
    const common = { ...parts, handler, limits, serverVersion, ...access }
    this.#options = options
    this.server = new Server({ ...common, acceptor: acceptorOf('binary', PLAIN_ANSWERS.binary) })
    const further = { ...common, sharesWith: this.server }
    if (options.resp !== undefined) {
      const protocol = new RespDoor(parts.random, parts.clock.monotonicMs())
      this.#resp = new Server({
        ...further,
        protocol,
        acceptor: acceptorOf('redis', PLAIN_ANSWERS.redis),
      })
    }
    this.#load = loadMeterOf(parts.clock, () => this.#doors())
    if (options.http !== undefined) {
      const load = this.#load
      const metrics = () => this.#metrics()
      this.#http = new HttpServer({ ...further, tls, metrics, load, doors: () => this.#doors() })
    }
  }

  get respAddress(): ListenAddress | undefined {
    return this.#resp?.address
  }

  get httpAddress(): ListenAddress | undefined {
    return this.#http?.address
  }

  /** What clients have done in the last second; undefined before one is over. */
  get lastSecond(): LoadPoint | undefined {
    return this.#load.last
  }

  /** What took long, at whichever door. */
  get slow(): SlowOperations {
    return this.server.shared.slow
  }

  /** Resolves with the address of the binary protocol once all doors accept connections. */
  async listen(): Promise<ListenAddress> {
    const { resp, http } = this.#options
    if (resp !== undefined) await this.#resp?.listen(resp)
    if (http !== undefined) await this.#http?.listen(http)
    this.#load.start()
    return await this.server.listen(listenOptions(this.#options))
  }

  stats(): Readonly<Record<string, ServerStatsSnapshot>> {
    const stats: Record<string, ServerStatsSnapshot> = { net: this.server.stats() }
    if (this.#resp !== undefined) stats['resp'] = this.#resp.stats()
    if (this.#http !== undefined) stats['http'] = this.#http.stats()
    return stats
  }

  #doors(): (readonly [string, Server | HttpServer])[] {
    const doors: (readonly [string, Server | HttpServer])[] = [['binary', this.server]]
    if (this.#resp !== undefined) doors.push(['resp', this.#resp])
    if (this.#http !== undefined) doors.push(['http', this.#http])
    return doors
  }

  #metrics(): readonly MetricFamily[] {
    const ofDoors = this.#doors().flatMap(([name, door]) => doorMetrics(name, door))
    return [...ofDoors, ...sharedMetrics(this.server)]
  }

  /** Lets clients finish. Idempotent. */
  async close(options?: CloseOptions): Promise<void> {
    const doors = [this.server, this.#resp, this.#http]
    await Promise.all(doors.map(door => door?.close(options)))
    this.#load.stop()
  }
}

/** Rejects with what keeps the doors from being opened, before anything else is done. */
export async function checkDoors(options: FrontDoorOptions, acceptor: Acceptor): Promise<void> {
  const { allowInsecureRemote = false, credentials, users, tls, resp, http } = options
  const asksForPassword = credentials?.password !== undefined || users !== undefined
  const policy = { allowInsecureRemote, asksForPassword, isEncrypted: tls !== undefined }
  for (const door of [listenOptions(options), resp, http]) {
    if (door !== undefined) await checkListen(door, policy, acceptor)
  }
}

export function listenOptions({ host, port }: FrontDoorOptions): ListenOptions {
  return { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) }
}
