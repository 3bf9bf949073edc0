/**
 * Servers without sockets, several of them, that answer by themselves: each can be killed, hang, be
 * slow, move to another address, and tell a ring of the test's choice. Rings are JSON here, and the
 * partition of a key is its last byte.
 */
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import type { NodeAddress } from '../../src/net/connection-url.ts'
import type { Connector, Wire, WireEvents } from '../../src/net/connector.ts'
import { Opcode } from '../../src/net/opcode.ts'
import { OutputBuffer } from '../../src/net/output-buffer.ts'
import type { DecodedRequest } from '../../src/net/request.ts'
import { encodeResponse, type Response } from '../../src/net/response.ts'
import type { Routes } from '../../src/net/routes.ts'
import { FakeWire } from './fake-wire.ts'
import type { SimClock } from './sim-clock.ts'

export interface FakeRing {
  readonly clusterId: string
  readonly epoch: number
  readonly width: number
  /** Where each member is, by its id. */
  readonly members: Readonly<Record<string, string>>
}

export function decodeFakeRing(bytes: Uint8Array): Routes {
  const { members, ...ring } = JSON.parse(utf8Decode(bytes)) as FakeRing
  const list = Object.entries(members).map(([nodeId, text]) => ({ nodeId, address: at(text) }))
  return {
    ...ring,
    members: list,
    partitionOf: key => key.at(-1)! % list.length,
    memberAt: (partition, place) => (partition + place) % list.length,
  }
}

function at(text: string): NodeAddress {
  const [host = '', port] = text.split(':')
  return { host, port: Number(port) }
}

/** What a server was asked, without HELLO, PING and RING_MAP. */
export interface Asked {
  readonly node: string
  readonly request: DecodedRequest['request']
  /** The version of a write, in hexadecimal. */
  readonly version: string | undefined
}

export class ServedNode {
  readonly nodeId: string
  /** What its HELLO says; empty: nothing, as that of an older server. */
  clusterId = 'c'
  address: string
  /** `hung` takes bytes and says nothing, `down` cannot be reached. */
  state: 'up' | 'hung' | 'down' = 'up'
  latencyMs = 1
  /** What it answers to RING_MAP; by default the ring of the cluster. */
  ring: FakeRing | undefined
  readonly wires = new Set<ServedWire>()

  constructor(nodeId: string, address: string) {
    this.nodeId = nodeId
    this.address = address
  }

  /** Comes back on an empty directory: a cluster of its own at the old address. */
  beginAnew(clusterId: string): void {
    this.state = 'up'
    this.clusterId = clusterId
    Object.assign(this, { nodeId: `${this.nodeId}'` })
    this.ring = { clusterId, epoch: 99, width: 1, members: { [this.nodeId]: this.address } }
  }

  /** As kill -9 would: connections break, no word is said. */
  kill(): void {
    this.state = 'down'
    for (const wire of [...this.wires]) wire.close(new Error('read ECONNRESET'))
  }
}

export class ServedCluster implements Connector {
  readonly clock: SimClock
  readonly servers: readonly ServedNode[]
  readonly asked: Asked[] = []
  ring: FakeRing
  dials = 0

  constructor(clock: SimClock, count: number, width: number) {
    this.clock = clock
    this.servers = Array.from({ length: count }, (_, index) => {
      return new ServedNode(`n${index}`, `host${index}:${7700 + index}`)
    })
    const members = Object.fromEntries(this.servers.map(s => [s.nodeId, s.address]))
    this.ring = { clusterId: 'c', epoch: 1, width, members }
  }

  dial(address: NodeAddress, events: WireEvents): Wire {
    this.dials++
    const text = `${address.host}:${address.port}`
    const server = this.servers.find(candidate => candidate.address === text)
    const wire = new ServedWire(address, events, this, server)
    this.clock.setTimer(1, () => wire.begin())
    return wire
  }

  /** A new ring that all servers know and tell their clients. */
  change(ring: Partial<FakeRing>): void {
    this.ring = { ...this.ring, epoch: this.ring.epoch + 1, ...ring }
    for (const server of this.servers) {
      if (server.state === 'up') for (const wire of server.wires) wire.pushRing(this.ring)
    }
  }

  /** How often each node was asked since the last call. */
  counts(): number[] {
    const asked = this.asked.splice(0)
    return this.servers.map(({ nodeId }) => asked.filter(({ node }) => node === nodeId).length)
  }
}

class ServedWire extends FakeWire {
  readonly #cluster: ServedCluster
  readonly #server: ServedNode | undefined

  constructor(
    address: NodeAddress,
    events: WireEvents,
    cluster: ServedCluster,
    server: ServedNode | undefined,
  ) {
    super(address, events)
    this.#cluster = cluster
    this.#server = server
  }

  begin(): void {
    if (this.#server === undefined || this.#server.state === 'down') {
      this.close(new Error('connect ECONNREFUSED'))
      return
    }
    this.#server.wires.add(this)
    this.open()
  }

  override close(error?: Error): void {
    this.#server?.wires.delete(this)
    super.close(error)
  }

  override write(bytes: Uint8Array): boolean {
    const taken = super.write(bytes)
    for (const request of this.requests.splice(0)) this.#serve(copyOf(request))
    return taken
  }

  #serve(request: DecodedRequest): void {
    const server = this.#server
    if (server === undefined || server.state === 'down') return
    const { type } = request.request
    if (type === 'hello') {
      if (server.state !== 'up') return
      const { nodeId, clusterId } = server
      const hello = { nodeId, clusterId, features: 8 }
      this.#cluster.clock.setTimer(0, () => this.replyHello(request, hello))
      return
    }
    if (type !== 'ping' && type !== 'ringMap') {
      const version =
        request.options.version && Buffer.from(request.options.version).toString('hex')
      this.#cluster.asked.push({ node: server.nodeId, request: request.request, version })
    }
    this.#cluster.clock.setTimer(server.latencyMs, () => this.#answer(server, request))
  }

  /** What a hung server was asked it answers when it goes on, as after SIGCONT. */
  #answer(server: ServedNode, request: DecodedRequest): void {
    if (this.closed) return
    if (server.state === 'hung') {
      this.#cluster.clock.setTimer(10, () => this.#answer(server, request))
      return
    }
    this.reply(request, this.#answerTo(server, request))
  }

  #answerTo(server: ServedNode, { request }: DecodedRequest): Response {
    const name = utf8Encode(server.nodeId)
    switch (request.type) {
      case 'get':
        return { type: 'value', value: name }
      case 'getMany':
        return { type: 'values', values: request.keys.map(key => key) }
      case 'ringMap':
        return { type: 'ring', ring: encode(server.ring ?? this.#cluster.ring) }
      case 'ping':
        return { type: 'pong', payload: request.payload }
      default:
        return { type: 'done' }
    }
  }

  pushRing(ring: FakeRing): void {
    const output = new OutputBuffer(64)
    encodeResponse(output, Opcode.ringMap, 0, { type: 'ring', ring: encode(ring) })
    this.push(output.written)
  }
}

function encode(ring: FakeRing): Uint8Array {
  return utf8Encode(JSON.stringify(ring))
}

/** The bytes of a request are borrowed from the wire until its next one. */
function copyOf(request: DecodedRequest): DecodedRequest {
  return structuredClone(request)
}
