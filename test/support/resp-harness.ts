/** A conversation with a Redis client without a socket, under a clock that is moved by hand. */

import type { LogFields, Logger } from '../../src/logger.ts'
import { Admission } from '../../src/net/admission.ts'
import { Audit } from '../../src/net/auth/index.ts'
import type { Conversation, ConversationSink } from '../../src/net/conversation.ts'
import type { Credentials } from '../../src/net/credentials.ts'
import { Doorkeeper } from '../../src/net/doorkeeper.ts'
import { resolveServerLimits, type ServerLimits } from '../../src/net/limits.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import { RespDoor } from '../../src/net/resp/index.ts'
import { ServerStats } from '../../src/net/server-stats.ts'
import { SharedWaits } from '../../src/net/shared-waits.ts'
import { SlowOperations } from '../../src/net/slow-operations.ts'
import { seededRandom } from '../../src/random.ts'
import { WorkTurns } from '../../src/work-turns.ts'
import { commandOf, replyEnd } from './resp-client.ts'
import { SimClock } from './sim-clock.ts'

export interface RespHarnessOptions {
  readonly handler: RequestHandler
  readonly limits?: Partial<ServerLimits>
  readonly credentials?: Credentials
}

export class RespHarness implements ConversationSink {
  readonly clock = new SimClock()
  readonly slow = new SlowOperations(this.clock, 100)
  readonly door = new RespDoor(seededRandom(1))
  readonly admission: Admission
  readonly session: Conversation
  readonly errors: string[] = []
  readonly remoteAddress = 'test:1'
  backlogBytes = 0
  destroyed = false
  #received: Buffer = Buffer.alloc(0)

  constructor(options: RespHarnessOptions) {
    const limits = resolveServerLimits(options.limits)
    this.admission = new Admission(limits)
    const ignore = (): void => undefined
    const error = (message: string, fields?: LogFields): void => {
      this.errors.push(`${message}: ${String(fields?.['error'])}`)
    }
    const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error }
    const context = {
      handler: options.handler,
      clock: this.clock,
      logger,
      limits,
      identity: { nodeId: 'n1', serverName: 'duramen', serverVersion: '1', clusterId: '' },
      doorkeeper: new Doorkeeper(options.credentials ?? {}),
      audit: new Audit(logger, this.clock),
      admission: this.admission,
      stats: new ServerStats(),
      waits: new SharedWaits(),
      turns: new WorkTurns(this.clock),
      slow: this.slow,
      timeMs: () => Math.floor(this.clock.wallMs()),
      freePlaces: () => limits.connectionsMax,
      snapshot: () => {
        throw new Error('the harness has no server')
      },
    }
    const { door } = this
    this.session = door.converse(context, this, this.clock.monotonicMs())
  }

  flush(): void {
    const { output } = this.session
    this.#received = Buffer.concat([this.#received, output.written])
    output.reset()
  }

  scheduleFlush(): void {
    this.flush()
  }

  destroy(): void {
    this.destroyed = true
    this.session.dispose()
  }

  /** Sends commands, each as words separated by blanks, in one piece. */
  send(...commands: readonly string[]): void {
    this.write(Buffer.concat(commands.map(command => commandOf(...command.split(' ')))))
  }

  write(bytes: Uint8Array): void {
    this.session.receive(bytes, bytes.length, this.clock.monotonicMs())
    this.session.keepInput()
    this.flush()
  }

  /** As the connection does when something has changed. */
  goOn(): void {
    if (!this.session.blocked) this.session.process(this.clock.monotonicMs())
    this.flush()
  }

  /** The replies since the last call. */
  replies(): string[] {
    const replies: string[] = []
    for (;;) {
      const end = this.#received.length === 0 ? -1 : replyEnd(this.#received, 0)
      if (end < 0) return replies
      replies.push(this.#received.toString('latin1', 0, end).replaceAll('\r\n', ' ').trim())
      this.#received = this.#received.subarray(end)
    }
  }
}
