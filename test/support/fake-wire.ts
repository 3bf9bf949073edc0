/**
 * Wires without sockets: the test sees every request that a client sends, and answers as a server
 * of its choice would, or does not.
 */
import type { NodeAddress } from '../../src/net/connection-url.ts'
import type { Connector, Wire, WireEvents } from '../../src/net/connector.ts'
import { FrameDecoder } from '../../src/net/frame.ts'
import { Opcode } from '../../src/net/opcode.ts'
import { OutputBuffer } from '../../src/net/output-buffer.ts'
import { type DecodedRequest, decodeRequest, type Request } from '../../src/net/request.ts'
import { encodeResponse, type Response } from '../../src/net/response.ts'
import type { HelloReply } from '../../src/net/response-body.ts'

export const HELLO_REPLY: HelloReply = {
  version: 1,
  features: 0,
  wallMs: 0,
  frameSizeMax: 1 << 20,
  valueSizeMax: 1 << 19,
  inFlightMax: 64,
  getManyKeysMax: 100,
  batchOperationsMax: 100,
  scansMax: 4,
  idleTimeoutMs: 120_000,
  nodeId: 'fake',
  serverName: 'fake',
  serverVersion: '0',
  clusterId: '',
}

export class FakeWire implements Wire {
  readonly address: NodeAddress
  readonly #events: WireEvents
  readonly #decoder = new FrameDecoder(1 << 24)
  /** Requests that were sent and not yet looked at. */
  readonly requests: DecodedRequest[] = []
  writeCount = 0
  backlogBytes = 0
  closed = false
  ended = false

  constructor(address: NodeAddress, events: WireEvents) {
    this.address = address
    this.#events = events
  }

  write(bytes: Uint8Array): boolean {
    this.writeCount++
    this.#decoder.push(Uint8Array.from(bytes))
    while (this.#decoder.next()) {
      const { bytes: message, start, end } = this.#decoder
      this.requests.push(decodeRequest(message, start, end))
    }
    return this.backlogBytes === 0
  }

  end(): void {
    this.ended = true
    this.close()
  }

  destroy(): void {
    this.close()
  }

  /** Connects, and answers HELLO. */
  accept(hello: Partial<HelloReply> = {}): void {
    this.#events.opened()
    this.replyHello(this.take('hello'), hello)
  }

  replyHello(to: DecodedRequest, hello: Partial<HelloReply>): void {
    this.reply(to, { type: 'hello', ...HELLO_REPLY, ...hello })
  }

  open(): void {
    this.#events.opened()
  }

  /** The next request, which must be of this type. */
  take(type: Request['type']): DecodedRequest {
    const request = this.requests.shift()
    if (request?.request.type !== type) {
      throw new Error(`expected ${type}, the client sent ${request?.request.type ?? 'nothing'}`)
    }
    return request
  }

  reply(to: DecodedRequest, response: Response): void {
    const output = new OutputBuffer(64)
    encodeResponse(output, Opcode[to.request.type], to.id, response)
    this.push(output.written)
  }

  replyError(
    to: DecodedRequest,
    status: number,
    outcome: 'rejected' | 'unknown',
    retryAfterMs = 0,
  ) {
    const detail = new Uint8Array(0)
    this.reply(to, { type: 'error', status, outcome, retryAfterMs, message: 'scripted', detail })
  }

  goAway(): void {
    const output = new OutputBuffer(64)
    const goaway = { type: 'goaway', reason: 1, graceMs: 1000, message: 'bye' } as const
    encodeResponse(output, Opcode.goaway, 0, goaway)
    this.push(output.written)
  }

  /** Bytes from the server, whatever they are. */
  push(bytes: Uint8Array): void {
    if (!this.closed) this.#events.received(Uint8Array.from(bytes))
  }

  drained(): void {
    this.backlogBytes = 0
    this.#events.drained()
  }

  /** The connection breaks. */
  close(error?: Error): void {
    if (this.closed) return
    this.closed = true
    this.#events.closed(error)
  }
}

export class FakeConnector implements Connector {
  /** Every attempt, newest last. */
  readonly wires: FakeWire[] = []

  dial(address: NodeAddress, events: WireEvents): Wire {
    const wire = new FakeWire(address, events)
    this.wires.push(wire)
    return wire
  }

  get last(): FakeWire {
    const wire = this.wires.at(-1)
    if (wire === undefined) throw new Error('the client has not dialled')
    return wire
  }
}
