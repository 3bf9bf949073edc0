/**
 * A network without sockets between clients and one server, that is slow and breaks: bytes take a
 * random time, connections are cut at random moments, and what was on its way to the server then
 * may still arrive, whole or in part, long after the client has given it up.
 */
import { silentLogger } from '../../src/logger.ts'
import { Admission } from '../../src/net/admission.ts'
import { Audit } from '../../src/net/auth/index.ts'
import type { NodeAddress } from '../../src/net/connection-url.ts'
import type { Connector, Wire, WireEvents } from '../../src/net/connector.ts'
import type { ConversationSink } from '../../src/net/conversation.ts'
import { Doorkeeper } from '../../src/net/doorkeeper.ts'
import { resolveServerLimits } from '../../src/net/limits.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import type { ServerContext } from '../../src/net/server-context.ts'
import { ServerStats } from '../../src/net/server-stats.ts'
import { Session } from '../../src/net/session.ts'
import { SharedWaits } from '../../src/net/shared-waits.ts'
import { SlowOperations } from '../../src/net/slow-operations.ts'
import type { Random } from '../../src/random.ts'
import { WorkTurns } from '../../src/work-turns.ts'
import type { SimClock } from './sim-clock.ts'

export interface CutNetworkOptions {
  readonly clock: SimClock
  readonly random: Random
  readonly handler: RequestHandler
  readonly timeMs: () => number
  /** One chunk in so many cuts its connection. */
  readonly cutEvery: number
}

const DELAY_MAX_MS = 15
/** What a cut connection still delivers comes up to so much later. */
const LATE_MAX_MS = 150

export class CutNetwork implements Connector {
  readonly options: CutNetworkOptions
  readonly context: ServerContext
  cuts = 0
  /** False: nothing breaks any more. */
  fickle = true

  constructor(options: CutNetworkOptions) {
    this.options = options
    const limits = resolveServerLimits({})
    this.context = {
      handler: options.handler,
      clock: options.clock,
      logger: silentLogger,
      limits,
      identity: { nodeId: 'n1', serverName: 'duramen', serverVersion: '1', clusterId: '' },
      doorkeeper: new Doorkeeper({}),
      audit: new Audit(silentLogger, options.clock),
      admission: new Admission(limits),
      stats: new ServerStats(),
      waits: new SharedWaits(),
      turns: new WorkTurns(options.clock),
      slow: new SlowOperations(options.clock, limits.slowOperationMs),
      timeMs: options.timeMs,
      freePlaces: () => limits.connectionsMax,
      snapshot: () => {
        throw new Error('this network has no server')
      },
    }
  }

  dial(_address: NodeAddress, events: WireEvents): Wire {
    return new CutWire(this, events)
  }

  /** True for a chunk that its connection does not survive. */
  breaks(): boolean {
    const { random, cutEvery } = this.options
    return this.fickle && random.below(cutEvery) === 0
  }
}

class CutWire implements Wire, ConversationSink {
  readonly backlogBytes = 0
  readonly remoteAddress = 'client:1'
  readonly #network: CutNetwork
  readonly #events: WireEvents
  readonly #session: Session
  /** When the last chunk of each direction arrives: none overtakes another. */
  #toServerMs = 0
  #toClientMs = 0
  #flushing = false
  #cut = false

  constructor(network: CutNetwork, events: WireEvents) {
    this.#network = network
    this.#events = events
    const { clock } = network.options
    this.#session = new Session(network.context, this, clock.monotonicMs())
    clock.setTimer(this.#delay(), () => {
      if (!this.#cut) events.opened()
    })
  }

  #delay(): number {
    return this.#network.options.random.below(DELAY_MAX_MS + 1)
  }

  write(bytes: Uint8Array): boolean {
    if (this.#cut) return true
    const { clock, random } = this.#network.options
    const chunk = Uint8Array.from(bytes)
    const isLast = this.#network.breaks()
    const late = isLast ? random.below(LATE_MAX_MS) : 0
    this.#toServerMs = Math.max(this.#toServerMs, clock.monotonicMs() + this.#delay() + late)
    const size = isLast && random.below(2) === 0 ? random.below(chunk.length + 1) : chunk.length
    clock.setTimer(this.#toServerMs - clock.monotonicMs(), () => {
      this.#session.receive(chunk, size, clock.monotonicMs())
      this.flush()
    })
    // The client hears of it in a turn of its own.
    if (isLast) clock.setTimer(0, () => this.#break())
    return true
  }

  /** The server's replies. */
  flush(): void {
    const { output } = this.#session
    if (output.length === 0) return
    const chunk = Uint8Array.from(output.written)
    output.reset()
    if (this.#cut) return
    const { clock } = this.#network.options
    if (this.#network.breaks()) {
      this.#break()
      return
    }
    this.#toClientMs = Math.max(this.#toClientMs, clock.monotonicMs() + this.#delay())
    clock.setTimer(this.#toClientMs - clock.monotonicMs(), () => {
      if (!this.#cut) this.#events.received(chunk)
    })
  }

  scheduleFlush(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.#network.options.clock.setTimer(0, () => {
      this.#flushing = false
      this.flush()
    })
  }

  #break(): void {
    if (this.#cut) return
    this.#cut = true
    this.#network.cuts++
    this.#events.closed(new Error('cut'))
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    if (this.#cut) return
    this.#cut = true
    this.#events.closed(undefined)
  }
}
