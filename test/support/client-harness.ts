/** A client whose server, clock and randomness are the test's. */
import { yieldToEventLoop } from '../../src/clock.ts'
import { Client } from '../../src/net/client.ts'
import type { ClientOptions } from '../../src/net/client-options.ts'
import type { ConnectionEvent } from '../../src/net/connection-pool.ts'
import { seededRandom } from '../../src/random.ts'
import { FakeConnector, type FakeWire } from './fake-wire.ts'
import { SimClock } from './sim-clock.ts'

/** How a promise ended, for looking at it without waiting for it. */
export interface Outcome {
  state: 'pending' | 'resolved' | 'rejected'
  value?: unknown
  error?: { code?: string; outcome?: string; message: string; cause?: unknown }
}

export function watch(promise: Promise<unknown>): Outcome {
  const outcome: Outcome = { state: 'pending' }
  promise.then(
    value => Object.assign(outcome, { state: 'resolved', value }),
    error => Object.assign(outcome, { state: 'rejected', error }),
  )
  return outcome
}

export class ClientHarness {
  readonly clock = new SimClock()
  readonly connector = new FakeConnector()
  readonly events: ConnectionEvent[] = []
  readonly client: Client

  constructor(options: Partial<ClientOptions> = {}) {
    this.client = new Client({
      ...(options.url === undefined && options.nodes === undefined ? { url: 'kv://a:1' } : {}),
      clock: this.clock,
      connector: this.connector,
      random: seededRandom(1),
      onConnection: event => this.events.push(event),
      ...options,
    })
  }

  /** A client that is connected. */
  static connected(options: Partial<ClientOptions> = {}): ClientHarness {
    const harness = new ClientHarness(options)
    for (const wire of harness.connector.wires) wire.accept()
    return harness
  }

  get wire(): FakeWire {
    return this.connector.last
  }

  /** Lets promises and flushes happen. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await yieldToEventLoop()
  }

  async advance(milliseconds: number): Promise<void> {
    await this.clock.advanceAsync(milliseconds)
  }
}
