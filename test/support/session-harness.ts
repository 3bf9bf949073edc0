/** A server's session without a socket: requests go in, replies come out, time is the test's. */
import { yieldToEventLoop } from '../../src/clock.ts'
import { type Logger, silentLogger } from '../../src/logger.ts'
import { Admission } from '../../src/net/admission.ts'
import { Audit } from '../../src/net/auth/index.ts'
import type { Credentials } from '../../src/net/credentials.ts'
import { Doorkeeper } from '../../src/net/doorkeeper.ts'
import { FrameDecoder } from '../../src/net/frame.ts'
import { resolveServerLimits, type ServerLimits } from '../../src/net/limits.ts'
import { OutputBuffer } from '../../src/net/output-buffer.ts'
import { encodeRequest, type Request, type RequestOptions } from '../../src/net/request.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import { decodeResponse, type Response } from '../../src/net/response.ts'
import { ServerStats } from '../../src/net/server-stats.ts'
import { Session } from '../../src/net/session.ts'
import { SharedWaits } from '../../src/net/shared-waits.ts'
import { SlowOperations } from '../../src/net/slow-operations.ts'
import { WorkTurns } from '../../src/work-turns.ts'
import { MemoryHandler } from './memory-handler.ts'
import { SimClock } from './sim-clock.ts'

/** What a buffer holds once it is somebody else's again. */
const OVERWRITTEN = 0xa5

export const NO_OPTIONS: RequestOptions = {
  budgetMs: 0,
  consistency: undefined,
  durability: undefined,
  version: undefined,
}

export const HELLO = {
  type: 'hello',
  versionMin: 1,
  versionMax: 1,
  features: 0,
  clientName: 'test',
  credentials: new Uint8Array(0),
} as const satisfies Request

export function frameOf(
  request: Request,
  id: number,
  options: Partial<RequestOptions> = {},
): Uint8Array {
  const output = new OutputBuffer(64)
  encodeRequest(output, id, { ...NO_OPTIONS, ...options }, request)
  return Uint8Array.from(output.written)
}

export interface Reply {
  readonly id: number
  readonly opcode: number
  readonly response: Response
}

/** Takes replies out of a stream of bytes. */
export class ReplyReader {
  readonly #decoder = new FrameDecoder(64 << 20)
  readonly replies: Reply[] = []

  push(chunk: Uint8Array): void {
    this.#decoder.push(Uint8Array.from(chunk))
    while (this.#decoder.next()) {
      const { bytes, start, end } = this.#decoder
      this.replies.push(decodeResponse(bytes, start, end))
    }
  }
}

export interface HarnessOptions {
  readonly handler?: Partial<RequestHandler>
  readonly limits?: Partial<ServerLimits>
  readonly credentials?: Credentials
  readonly logger?: Logger
}

/** Limits small enough to be reached by a test, and large enough to fit together. */
export const SMALL_LIMITS: Partial<ServerLimits> = {
  valueSizeMax: 10_000,
  pageBytesMax: 10_000,
  frameSizeMax: 200_000,
  outputPauseBytes: 20_000,
  outputBytesMax: 210_000,
}

/** Methods that were not given come from `base`. */
function withDefaults(given: Partial<RequestHandler>, base: RequestHandler): RequestHandler {
  return {
    get: given.get?.bind(given) ?? base.get.bind(base),
    getMany: given.getMany?.bind(given) ?? base.getMany.bind(base),
    put: given.put?.bind(given) ?? base.put.bind(base),
    delete: given.delete?.bind(given) ?? base.delete.bind(base),
    batch: given.batch?.bind(given) ?? base.batch.bind(base),
    openScan: given.openScan?.bind(given) ?? base.openScan.bind(base),
    count: given.count?.bind(given) ?? base.count.bind(base),
    stats: given.stats?.bind(given) ?? base.stats.bind(base),
    ring: given.ring?.bind(given) ?? base.ring.bind(base),
    ...(given.admin === undefined ? {} : { admin: given.admin.bind(given) }),
  }
}

export class SessionHarness {
  readonly clock = new SimClock()
  readonly slow = new SlowOperations(this.clock, 100)
  readonly memory = new MemoryHandler()
  readonly stats = new ServerStats()
  readonly admission: Admission
  readonly session: Session
  readonly remoteAddress = 'client:1'
  /** What the peer has not read. */
  backlogBytes = 0
  /** True to keep what is flushed in the backlog, as a peer that does not read. */
  stuck = false
  #reader = new ReplyReader()
  #id = 1

  constructor(options: HarnessOptions = {}) {
    const limits = resolveServerLimits(options.limits)
    this.admission = new Admission(limits)
    const context = {
      handler: withDefaults(options.handler ?? {}, this.memory),
      clock: this.clock,
      logger: options.logger ?? silentLogger,
      limits,
      identity: { nodeId: 'n1', serverName: 'duramen', serverVersion: '1', clusterId: '' },
      doorkeeper: new Doorkeeper(options.credentials ?? {}),
      audit: new Audit(options.logger ?? silentLogger, this.clock),
      admission: this.admission,
      stats: this.stats,
      waits: new SharedWaits(),
      turns: new WorkTurns(this.clock),
      slow: this.slow,
      timeMs: () => Math.floor(this.clock.wallMs()),
      freePlaces: () => limits.connectionsMax,
      snapshot: () => {
        throw new Error('the harness has no server')
      },
    }
    this.session = new Session(context, this, this.clock.monotonicMs())
  }

  flush(): void {
    const { output } = this.session
    if (this.stuck) this.backlogBytes += output.length
    this.#reader.push(output.written)
    output.reset()
  }

  scheduleFlush(): void {
    // The test looks at the replies when it wants to.
  }

  destroy(): void {
    this.session.dispose()
  }

  /** The peer has read everything. */
  drain(): void {
    this.backlogBytes = 0
    this.stuck = false
    this.session.outputDrained()
  }

  /** Sends bytes as one chunk, in a buffer that is overwritten at once, as a connection's is. */
  send(bytes: Uint8Array): void {
    const chunk = Uint8Array.from(bytes)
    this.session.receive(chunk, chunk.length, this.clock.monotonicMs())
    this.session.keepInput()
    chunk.fill(OVERWRITTEN)
  }

  /** Sends requests in one chunk; returns their ids. */
  request(...requests: readonly Request[]): number[] {
    return this.requestWith({}, ...requests)
  }

  requestWith(options: Partial<RequestOptions>, ...requests: readonly Request[]): number[] {
    const ids = requests.map(() => ++this.#id)
    const frames = requests.map((request, index) => frameOf(request, ids[index]!, options))
    this.send(Buffer.concat(frames))
    return ids
  }

  hello(): void {
    this.send(frameOf(HELLO, 1))
    this.replies()
  }

  /** Replies since the last call. */
  replies(): Reply[] {
    this.flush()
    return this.#reader.replies.splice(0)
  }

  /** Replies since the last call, after promises have settled. */
  async settled(): Promise<Reply[]> {
    for (let turn = 0; turn < 4; turn++) await yieldToEventLoop()
    return this.replies()
  }
}

/** A handler's answer that the test gives when it likes. */
export class Later<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => undefined
  reject: (error: Error) => void = () => undefined

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}
