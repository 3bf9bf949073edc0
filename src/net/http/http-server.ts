/**
 * The server of the HTTP door: listens, hands each request to its route, watches over time limits,
 * counts, and drains.
 *
 *   new --listen--> listening --close--> draining (each answer says so) --all gone--> closed
 *
 * node:http parses and keeps the order of replies; what a client may hold of the node is shared
 * with the other doors (admission.ts).
 */
import { createServer, type Server as NodeServer, type ServerOptions } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { CancelTimer } from '../../clock.ts'
import { ClosedError, InvalidArgumentError } from '../../errors.ts'
import { Doorkeeper } from '../doorkeeper.ts'
import { EventLog } from '../event-log.ts'
import type { LatencyHistogram } from '../latency-histogram.ts'
import { resolveServerLimits, type ServerLimits } from '../limits.ts'
import { bind, closeListener } from '../listener.ts'
import { type DoorLoad, type LoadMeter, loadMeterOf, loadOf } from '../load-meter.ts'
import type { MetricFamily } from '../metrics.ts'
import { relievePressure } from '../pressure.ts'
import {
  CLOSE_GRACE_DEFAULT_MS,
  type CloseOptions,
  type ListenAddress,
  type ListenOptions,
  requireSafe,
  resolveListenOptions,
} from '../server-options.ts'
import type { ServerStatsSnapshot } from '../server-stats.ts'
import {
  explainServerError,
  followIdentity,
  listenerOptions,
  type ServerTls,
  TlsHandshakes,
  verifiedAs,
} from '../tls/index.ts'
import { DashboardFiles } from './dashboard-files.ts'
import { DirectLane } from './direct-lane.ts'
import { HttpConnection, type HttpSocket } from './http-connection.ts'
import { HttpDispatch } from './http-dispatch.ts'
import type { HttpDoorContext, HttpServerOptions, NamedDoor } from './http-server-options.ts'
import { HTTP_KINDS, HTTP_OPERATIONS, type HttpOperation, HttpStats } from './http-stats.ts'
import { replyToClientError, replyTooSlow, replyToPlainRequest } from './malformed-request.ts'
import { ProcessMetrics } from './process-metrics.ts'
import { responseMetrics } from './response-metrics.ts'
import { StatsBoard } from './stats-board.ts'

/** Of the request line and all header fields together. More: 431. */
export const HEADER_SIZE_MAX = 64 * 1024
/** Time limits are looked at so often; they are therefore this much late at most. */
const SWEEP_INTERVAL_MS = 250
const DRAIN_SWEEP_INTERVAL_MS = 25
/** Refusals in the log between two sweeps; a flood of strangers must not flood the log. */
const NOTICES_MAX = 10
/** To who speaks HTTP where this speaks HTTPS. */
const PLAIN_ANSWER = replyToPlainRequest()
/** node:http looks for requests that are too slow so often. */
const SLOW_CHECK_MS = 1000

export class HttpServer {
  readonly #options: HttpServerOptions
  readonly #context: HttpDoorContext
  readonly #dispatch: HttpDispatch
  readonly #connections = new Map<HttpSocket, HttpConnection>()
  readonly #server: NodeServer
  readonly #process = new ProcessMetrics()
  readonly #load: LoadMeter
  readonly #handshakes = new TlsHandshakes()
  #lane: DirectLane | undefined
  #address: ListenAddress | undefined
  #cancelSweep: CancelTimer | undefined
  #closing: Promise<void> | undefined
  #allGone: (() => void) | undefined
  #notices = 0

  constructor(options: HttpServerOptions) {
    this.#options = options
    const limits = resolveServerLimits(options.limits)
    const { admission, turns, slow } = options.sharesWith.shared
    const doors = options.doors ?? ((): readonly NamedDoor[] => [['http', this]])
    this.#load = options.load ?? loadMeterOf(options.clock, doors)
    const events = options.events ?? new EventLog(options.clock)
    const { handler, clock, serverVersion = '' } = options
    this.#context = {
      handler: options.handler,
      clock: options.clock,
      logger: options.logger,
      limits,
      admission,
      turns,
      slow,
      doorkeeper: new Doorkeeper(options.credentials ?? {}, options.users, options.audit),
      identity: {
        nodeId: options.nodeId,
        serverName: 'duramen',
        serverVersion: options.serverVersion ?? '',
        clusterId: options.clusterId ?? '',
      },
      stats: new HttpStats(),
      waiting: new Set(),
      events,
      dashboard: new DashboardFiles(),
      board: new StatsBoard({ handler, clock, serverVersion, doors, events, load: this.#load }),
      isDraining: false,
      notice: (client, code, why) => this.#notice(client, code, why),
      metrics: () => this.#metrics(),
    }
    this.#dispatch = new HttpDispatch(this.#context)
    this.#server = this.#createServer()
  }

  #createServer(): NodeServer {
    const { limits } = this.#context
    const { tls } = this.#options
    const options = {
      headersTimeout: headersTimeoutMs(limits),
      requestTimeout: limits.frameTimeoutMs,
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: SLOW_CHECK_MS,
      maxHeaderSize: HEADER_SIZE_MAX,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: limits.keepAliveMs,
      // Whoever has none is told so, in JSON.
      requireHostHeader: false,
    }
    const server = tls === undefined ? createServer(options) : this.#createSecure(options, tls)
    // Fields beyond a maximum would be left out without a word; their size is limited instead.
    server.maxHeadersCount = 0
    // Of a connection that neither brings nor takes anything while it is not idle.
    server.setTimeout(limits.outputStallMs)
    if (tls === undefined) this.#lead(server)
    const handle = this.#dispatch.handle.bind(this.#dispatch)
    server.on('request', (request, response) => {
      handle(this.#connections.get(request.socket), request, response, false)
    })
    server.on('checkContinue', (request, response) => {
      handle(this.#connections.get(request.socket), request, response, true)
    })
    server.on('checkExpectation', (request, response) => {
      this.#dispatch.refuseExpectation(this.#connections.get(request.socket), request, response)
    })
    server.on('clientError', (error, socket) => {
      const connection = this.#connections.get(socket as HttpSocket)
      if (replyToClientError(error, socket as HttpSocket, connection?.lastResponse)) {
        this.#context.stats.connectionsFailed++
      }
    })
    return server
  }

  /** Connections go through the direct lane first, and to node:http when they must. */
  #lead(server: NodeServer): void {
    const { clock, limits, stats } = this.#context
    const parsers = server.listeners('connection')
    server.removeAllListeners('connection')
    const handOver = (socket: HttpSocket): void => {
      for (const parse of parsers) parse.call(server, socket)
    }
    const lane = new DirectLane({
      clock,
      silentMs: { strange: headersTimeoutMs(limits), known: limits.idleTimeoutMs },
      outputStallMs: limits.outputStallMs,
      bodySizeMax: limits.valueSizeMax,
      answer: (connection, request, response) => {
        this.#dispatch.handleWhole(connection, request, response)
      },
      handOver,
      tooSlow: socket => {
        stats.connectionsFailed++
        replyTooSlow(socket)
      },
    })
    this.#lane = lane
    server.on('connection', socket => {
      const connection = this.#accept(socket)
      if (connection === undefined) return
      if (connection.isRefused) handOver(socket)
      else lane.add(connection)
    })
  }

  /** Its requests come over encrypted sockets; those underneath are nobody's yet. */
  #createSecure(options: ServerOptions, tls: ServerTls): NodeServer {
    const server = createSecureServer({ ...options, ...listenerOptions(tls) })
    server.on('connection', socket => this.#handshakes.begun(socket))
    server.on('secureConnection', socket => {
      this.#handshakes.done(socket)
      this.#accept(socket)
    })
    server.on('tlsClientError', (error, socket) => {
      const end = explainServerError(error, verifiedAs(socket), 'clients')
      const caller = { door: 'http', remoteAddress: this.#handshakes.addressOf(socket) }
      this.#options.audit?.handshakeEnded(caller, end)
      if (end.kind === 'plain') this.#handshakes.answerPlain(socket, PLAIN_ANSWER)
      socket.destroy()
    })
    followIdentity(server, tls)
    return server
  }

  /** Where it listens; undefined before `listen` and after `close`. */
  get address(): ListenAddress | undefined {
    return this.#address
  }

  /** Resolves with the address once connections are accepted. Rejects as Server.listen does. */
  async listen(options: ListenOptions): Promise<ListenAddress> {
    if (this.#closing !== undefined) throw new ClosedError('the server was closed')
    if (this.#server.listening) throw new InvalidArgumentError('the server listens already')
    const { doorkeeper, logger } = this.#context
    const { allowInsecureRemote = false } = this.#options
    const isEncrypted = this.#options.tls !== undefined
    const { asksForPassword } = doorkeeper
    const policy = { allowInsecureRemote, asksForPassword, isEncrypted }
    const address = await bind(this.#server, resolveListenOptions(options, policy))
    try {
      // A name such as localhost may stand for any address.
      requireSafe(address.host, policy)
    } catch (error) {
      await closeListener(this.#server)
      throw error
    }
    this.#server.on('error', error => logger.error('accepting connections failed', { error }))
    this.#address = address
    this.#process.start()
    if (this.#options.load === undefined) this.#load.start()
    this.#scheduleSweep(SWEEP_INTERVAL_MS)
    return address
  }

  /** Undefined when it was closed at once. */
  #accept(socket: HttpSocket): HttpConnection | undefined {
    const { stats, admission, limits, clock } = this.#context
    stats.connectionsTotal++
    const { places } = this.#options.sharesWith.shared
    const place = places.take()
    if (place !== 'taken') stats.connectionsRefused++
    if (place === undefined) {
      socket.destroy()
      return undefined
    }
    const isRefused = place === 'refused'
    const nowMs = clock.monotonicMs()
    const connection = new HttpConnection(socket, admission.share(), limits, isRefused, nowMs)
    this.#connections.set(socket, connection)
    if (!isRefused) {
      stats.connections++
      connection.share.join()
    }
    socket.once('close', () => {
      this.#connections.delete(socket)
      places.give(place)
      if (!isRefused) stats.connections--
      stats.bytesReceived += socket.bytesRead
      stats.bytesSent += socket.bytesWritten
      connection.close()
      if (this.#connections.size === 0) this.#allGone?.()
    })
    return connection
  }

  /** A copy of the counters. */
  stats(): ServerStatsSnapshot {
    const { stats, admission } = this.#context
    let { bytesReceived, bytesSent } = stats
    for (const { bytesRead, bytesWritten } of this.#connections.keys()) {
      bytesReceived += bytesRead
      bytesSent += bytesWritten
    }
    return {
      connections: stats.connections,
      connectionsTotal: stats.connectionsTotal,
      connectionsRefused: stats.connectionsRefused,
      connectionsFailed: stats.connectionsFailed,
      inFlight: admission.inFlight,
      inFlightBytes: admission.inFlightBytes,
      receiveBytes: admission.receiveBytes,
      bytesReceived,
      bytesSent,
      requests: stats.requestsByName(),
      errors: Object.fromEntries(stats.errors),
      latency: stats.latency.summary(),
    }
  }

  /** How long requests took, by the name of their operation. */
  *durations(): Iterable<readonly [operation: HttpOperation, histogram: LatencyHistogram]> {
    const { operations } = this.#context.stats
    for (const name of HTTP_OPERATIONS) {
      const { duration } = operations[name]
      if (duration.count > 0) yield [name, duration]
    }
  }

  /** What it has done to data. */
  load(): DoorLoad {
    return loadOf(this.durations(), operation => HTTP_KINDS[operation])
  }

  #metrics(): readonly MetricFamily[] {
    const { metrics = () => [] } = this.#options
    const { stats, identity } = this.#context
    return [...metrics(), ...responseMetrics(stats), ...this.#process.metrics(identity)]
  }

  #notice(client: string, code: string, why: string): void {
    this.#notices++
    if (this.#notices > NOTICES_MAX) return
    this.#context.logger.warn('a request was refused', { client, code, why })
  }

  #scheduleSweep(delayMs: number): void {
    const { clock } = this.#context
    this.#cancelSweep?.()
    this.#cancelSweep = clock.setTimer(delayMs, () => this.#sweep(delayMs), { background: true })
  }

  #sweep(delayMs: number): void {
    const { clock, waiting, admission, limits, isDraining } = this.#context
    const nowMs = clock.monotonicMs()
    this.#notices = 0
    for (const call of waiting) call.sweep(nowMs)
    for (const connection of this.#connections.values()) connection.sweep(nowMs)
    relievePressure(this.#connections.values(), admission, limits, nowMs)
    this.#lane?.sweep(nowMs)
    if (isDraining) this.#closeIdle()
    this.#scheduleSweep(delayMs)
  }

  /**
   * Stops accepting, answers what is under way, and closes each connection as it falls silent;
   * those that are left after the grace are cut. Idempotent: every call waits for the first.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#drain(options.graceMs ?? CLOSE_GRACE_DEFAULT_MS)
    return this.#closing
  }

  async #drain(graceMs: number): Promise<void> {
    this.#context.isDraining = true
    this.#address = undefined
    const released = this.#server.listening ? closeListener(this.#server) : Promise.resolve()
    this.#closeIdle()
    if (this.#connections.size > 0) await this.#untilAllGone(graceMs)
    this.#server.closeAllConnections()
    this.#lane?.closeAll()
    this.#cancelSweep?.()
    this.#process.stop()
    if (this.#options.load === undefined) this.#load.stop()
    await released
  }

  #closeIdle(): void {
    this.#server.closeIdleConnections()
    this.#lane?.closeIdle()
  }

  #untilAllGone(graceMs: number): Promise<void> {
    this.#scheduleSweep(DRAIN_SWEEP_INTERVAL_MS)
    return new Promise(resolve => {
      const cancelGrace = this.#context.clock.setTimer(graceMs, resolve)
      this.#allGone = () => {
        cancelGrace()
        resolve()
      }
    })
  }
}

/** A client has so long to say what it wants. */
function headersTimeoutMs({ handshakeTimeoutMs, frameTimeoutMs }: ServerLimits): number {
  return Math.min(handshakeTimeoutMs, frameTimeoutMs)
}
