/**
 * The server of a protocol: accepts connections, watches over time limits and counts.
 *
 *   new --listen--> listening --close--> draining --all gone, or grace over--> closed
 *
 * Everything runs on one event loop. Requests of all connections that wait in the handler are
 * answered in the tick in which the handler answers them, with one write for each connection.
 */
import { type CancelTimer, endOfTick, yieldToEventLoop } from '../clock.ts'
import { ClosedError, InvalidArgumentError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { WorkTurns } from '../work-turns.ts'
import { type AcceptedWire, type Acceptor, type Listening, tcpAcceptor } from './acceptor.ts'
import { Admission } from './admission.ts'
import { Audit } from './auth/index.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { ConnectionPlaces } from './connection-places.ts'
import type { ServerProtocol } from './conversation.ts'
import { Doorkeeper } from './doorkeeper.ts'
import type { LatencyHistogram } from './latency-histogram.ts'
import { resolveServerLimits } from './limits.ts'
import { type DoorLoad, loadOf } from './load-meter.ts'
import { OPERATION_NAMES, Opcode, READ_OPCODES, WRITE_OPCODES } from './opcode.ts'
import { relievePressure } from './pressure.ts'
import { listenSafely } from './safe-listen.ts'
import type { ServerContext } from './server-context.ts'
import {
  CLOSE_GRACE_DEFAULT_MS,
  type CloseOptions,
  type ListenAddress,
  type ListenOptions,
  type ListenPolicy,
  resolveListenOptions,
  type ServerOptions,
} from './server-options.ts'
import { ServerStats, type ServerStatsSnapshot } from './server-stats.ts'
import { Session } from './session.ts'
import { SharedWaits } from './shared-waits.ts'
import { SlowOperations } from './slow-operations.ts'

/** Time limits are looked at so often; they are therefore this much late at most. */
const SWEEP_INTERVAL_MS = 250
const DRAIN_SWEEP_INTERVAL_MS = 25
/** Replies are written for so long before others have their turn. */
const FLUSH_SLICE_MS = 0.5
/** Connections between two looks at the clock. */
const FLUSHES_PER_LOOK = 8
/** Notices in the log between two sweeps; a flood of bad clients must not flood the log. */
const NOTICES_MAX = 10

const BINARY: ServerProtocol = {
  converse: (context, sink, nowMs) => new Session(context, sink, nowMs),
  operationName: opcode => {
    return OPERATION_NAMES.find(name => Opcode[name] === opcode) ?? `opcode ${opcode}`
  },
  untimed: Opcode.admin,
  kindOf: opcode => {
    if (READ_OPCODES.has(opcode)) return 'read'
    return WRITE_OPCODES.has(opcode) ? 'write' : undefined
  },
}

/** What all doors of a node have in common. */
export interface SharedParts {
  readonly admission: Admission
  readonly waits: SharedWaits
  readonly turns: WorkTurns
  readonly places: ConnectionPlaces
  readonly slow: SlowOperations
}

export class Server implements ConnectionOwner {
  /** For further doors of the same node. */
  readonly shared: SharedParts
  readonly #protocol: ServerProtocol
  readonly #places: ConnectionPlaces
  readonly #context: ServerContext
  readonly #logger: Logger
  readonly #policy: ListenPolicy
  readonly #acceptor: Acceptor
  readonly #connections = new Set<Connection>()
  readonly #turns: WorkTurns
  #unflushed: Connection[] = []
  /** True while #flushAll runs, which then takes whatever is in #unflushed. */
  #isFlushing = false
  #opening: Promise<Listening> | undefined
  #address: ListenAddress | undefined
  #cancelSweep: CancelTimer | undefined
  #closing: Promise<void> | undefined
  #allGone: (() => void) | undefined
  #notices = 0

  constructor(options: ServerOptions) {
    const limits = resolveServerLimits(options.limits)
    const shared = options.sharesWith?.shared ?? {
      admission: new Admission(limits),
      waits: new SharedWaits(),
      turns: new WorkTurns(options.clock),
      places: new ConnectionPlaces(limits.connectionsMax),
      slow: new SlowOperations(options.clock, limits.slowOperationMs),
    }
    const nodeId = options.nodeId ?? Buffer.from(options.random.bytes(8)).toString('hex')
    this.#logger = options.logger ?? silentLogger
    this.#acceptor = options.acceptor ?? tcpAcceptor()
    this.#protocol = options.protocol ?? BINARY
    this.#places = shared.places
    this.shared = shared
    const audit = options.audit ?? new Audit(this.#logger, options.clock)
    const doorkeeper = new Doorkeeper(options.credentials ?? {}, options.users, audit)
    this.#policy = {
      allowInsecureRemote: options.allowInsecureRemote ?? false,
      asksForPassword: doorkeeper.asksForPassword,
      isEncrypted: options.isEncrypted ?? false,
    }
    this.#turns = shared.turns
    this.#context = {
      handler: options.handler,
      clock: options.clock,
      logger: this.#logger,
      limits,
      identity: {
        nodeId,
        serverName: options.serverName ?? 'duramen',
        serverVersion: options.serverVersion ?? '',
        clusterId: options.clusterId ?? '',
      },
      admission: shared.admission,
      doorkeeper,
      audit,
      stats: new ServerStats(this.#protocol.untimed),
      waits: shared.waits,
      turns: this.#turns,
      slow: shared.slow,
      snapshot: () => this.stats(),
      freePlaces: () => shared.places.free,
      timeMs: options.timeMs ?? (() => Math.floor(options.clock.wallMs())),
    }
  }

  /** Where it listens; undefined before `listen` and after `close`. */
  get address(): ListenAddress | undefined {
    return this.#address
  }

  /** Resolves with the address once connections are accepted. */
  async listen(options: ListenOptions = {}): Promise<ListenAddress> {
    if (this.#closing !== undefined) throw new ClosedError('the server was closed')
    if (this.#opening !== undefined) throw new InvalidArgumentError('the server listens already')
    const policy = this.#policy
    const { keepAliveMs } = this.#context.limits
    const listen = {
      wanted: resolveListenOptions(options, policy),
      policy,
      keepAliveMs,
      failed: (error: Error) => this.#logger.error('accepting connections failed', { error }),
    }
    this.#opening = listenSafely(this.#acceptor, listen, wire => this.#accept(wire))
    try {
      this.#address = (await this.#opening).address
    } catch (error) {
      this.#opening = undefined
      throw error
    }
    this.#scheduleSweep(SWEEP_INTERVAL_MS)
    return this.#address
  }

  #accept(wire: AcceptedWire): Connection | undefined {
    const { limits, stats, admission } = this.#context
    stats.connectionsTotal++
    const place = this.#places.take()
    if (place !== 'taken') stats.connectionsRefused++
    if (place === undefined) return undefined
    const connection = new Connection(wire, this.#context, this, this.#protocol)
    this.#connections.add(connection)
    if (place === 'refused') {
      connection.isRefused = true
      connection.refuse(admission.overloaded(`${limits.connectionsMax} connections are open`))
      return connection
    }
    stats.connections++
    if (this.#closing !== undefined) {
      connection.refuse(new ClosedError('the server is shutting down'))
    }
    return connection
  }

  /** A copy of the counters. */
  stats(): ServerStatsSnapshot {
    const { stats, admission } = this.#context
    return {
      connections: stats.connections,
      connectionsTotal: stats.connectionsTotal,
      connectionsRefused: stats.connectionsRefused,
      connectionsFailed: stats.connectionsFailed,
      inFlight: admission.inFlight,
      inFlightBytes: admission.inFlightBytes,
      receiveBytes: admission.receiveBytes,
      bytesReceived: stats.bytesReceived,
      bytesSent: stats.bytesSent,
      requests: this.#protocol.requestsByName?.() ?? stats.requestsByName(),
      errors: stats.errorsByCode(),
      latency: stats.latency.summary(),
    }
  }

  /** How long requests took, by the name of their operation. */
  *durations(): Iterable<readonly [operation: string, histogram: LatencyHistogram]> {
    for (const [operation, histogram] of this.#context.stats.durations()) {
      yield [this.#protocol.operationName(operation), histogram]
    }
  }

  /** What it has done to data. */
  load(): DoorLoad {
    return loadOf(this.#context.stats.durations(), operation => this.#protocol.kindOf(operation))
  }

  /** Tells every client that can hear it of a new ring, encoded as the handler's `ring` is. */
  pushRing(ring: Uint8Array): void {
    for (const connection of this.#connections) connection.pushRing(ring)
  }

  scheduleFlush(connection: Connection): void {
    if (connection.flushScheduled) return
    connection.flushScheduled = true
    this.#unflushed.push(connection)
    if (this.#isFlushing) return
    this.#isFlushing = true
    void this.#flushAll()
  }

  /**
   * Hands out what the replies of this tick come to. A write to a socket takes most of ten
   * microseconds, so a group commit that answers a thousand connections would hold the loop for
   * ten milliseconds: after each slice others have their turn.
   */
  async #flushAll(): Promise<void> {
    // After all promises that the handler has settled in this tick; and once more, after what the
    // handler does when they are: so the next group commit is on its way to the disk meanwhile.
    await endOfTick()
    await endOfTick()
    const { clock } = this.#context
    while (this.#unflushed.length > 0) {
      const connections = this.#unflushed
      this.#unflushed = []
      let endMs = clock.monotonicMs() + FLUSH_SLICE_MS
      let count = 0
      for (const connection of connections) {
        connection.flushScheduled = false
        connection.flushTick()
        if (++count % FLUSHES_PER_LOOK !== 0 || clock.monotonicMs() < endMs) continue
        await yieldToEventLoop()
        endMs = clock.monotonicMs() + FLUSH_SLICE_MS
      }
    }
    // In the same step as the last look: who is scheduled a moment later must start it anew.
    this.#isFlushing = false
  }

  scheduleTurn(connection: Connection): void {
    void this.#turns.pause(connection).then(() => connection.goOn())
  }

  notice(connection: Connection, why: string): void {
    this.#notices++
    if (this.#notices > NOTICES_MAX) return
    const { remoteAddress, session } = connection
    const fields = { address: remoteAddress, client: session.clientName, why }
    this.#logger.warn('a connection was closed', fields)
  }

  closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return
    this.#places.give(connection.isRefused ? 'refused' : 'taken')
    if (!connection.isRefused) this.#context.stats.connections--
    if (this.#connections.size === 0) this.#allGone?.()
  }

  #scheduleSweep(delayMs: number): void {
    const { clock } = this.#context
    this.#cancelSweep?.()
    this.#cancelSweep = clock.setTimer(delayMs, () => this.#sweep(delayMs), { background: true })
  }

  #sweep(delayMs: number): void {
    const nowMs = this.#context.clock.monotonicMs()
    for (const connection of this.#connections) connection.sweep(nowMs)
    const { admission, limits } = this.#context
    relievePressure(this.#connections, admission, limits, nowMs)
    if (this.#notices > NOTICES_MAX) {
      const count = this.#notices - NOTICES_MAX
      this.#logger.warn('more connections were closed', { count })
    }
    this.#notices = 0
    this.#scheduleSweep(delayMs)
  }

  /**
   * Stops accepting, tells every client to go elsewhere, answers what is under way, and closes the
   * connections as their clients fall silent; those that are left after the grace are cut.
   * Idempotent: every call waits for the first.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#drain(options.graceMs ?? CLOSE_GRACE_DEFAULT_MS)
    return this.#closing
  }

  async #drain(graceMs: number): Promise<void> {
    const released = this.#stopListening()
    for (const connection of [...this.#connections]) connection.goAway(graceMs)
    if (this.#connections.size > 0) await this.#untilAllGone(graceMs)
    for (const connection of [...this.#connections]) connection.destroy()
    this.#cancelSweep?.()
    await released
  }

  async #stopListening(): Promise<void> {
    this.#address = undefined
    try {
      const listening = await this.#opening
      await listening?.close()
    } catch (error) {
      this.#logger.debug('closed before it listened', { error })
    }
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
