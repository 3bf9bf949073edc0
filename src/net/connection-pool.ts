/**
 * The connections of a client: one link for each server it was told of, and which one a call takes.
 *
 * Until a ring map says who holds a key, a call takes the connection with the least in flight, in
 * turn where several are equal; any server answers for any key.
 */
import type { KvError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { PendingCall } from './call.ts'
import type { ClientConnection, ClientConnectionOptions } from './client-connection.ts'
import { formatAddress, type NodeAddress } from './connection-url.ts'
import { NodeLink, type NodeLinkOwner } from './node-link.ts'
import type { Backoff } from './retry.ts'

/** Something happened to the way to a server. */
export type ConnectionEvent =
  | {
      readonly type: 'connected'
      readonly address: NodeAddress
      readonly nodeId: string
      readonly serverVersion: string
    }
  | {
      readonly type: 'disconnected'
      readonly address: NodeAddress
      /** Undefined when the server said in good order that it goes away. */
      readonly error: KvError | undefined
    }

/** What the pool tells the client. */
export interface ConnectionPoolOwner {
  changed(event: ConnectionEvent): void
  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void
  /** Calls that wait may be sent now. */
  roomy(): void
  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void
}

export class ConnectionPool implements NodeLinkOwner {
  readonly #links: readonly NodeLink[]
  readonly #owner: ConnectionPoolOwner
  #turn: number
  /** Links whose `connected` was told and whose `disconnected` was not. */
  readonly #connected = new Set<NodeLink>()

  constructor(
    nodes: readonly NodeAddress[],
    options: ClientConnectionOptions,
    backoff: Backoff,
    random: Random,
    owner: ConnectionPoolOwner,
  ) {
    this.#owner = owner
    this.#links = nodes.map(node => new NodeLink(node, options, backoff, random, this))
    this.#turn = random.below(nodes.length)
  }

  get connectedCount(): number {
    return this.#connected.size
  }

  /** Why each server cannot be reached, for messages. */
  describeFailures(): string {
    return this.#links
      .map(link => link.lastError?.message ?? `${formatAddress(link.address)}: not connected`)
      .join('; ')
  }

  /** The error of the last failed attempt of any server. */
  get lastError(): KvError | undefined {
    return this.#links.find(link => link.lastError !== undefined)?.lastError
  }

  dial(): void {
    for (const link of this.#links) link.dial()
  }

  /** The connection that the next call takes, or undefined when none has room. */
  pick(): ClientConnection | undefined {
    const links = this.#links
    if (links.length === 1) {
      const connection = links[0]!.connection
      return connection?.hasRoom === true ? connection : undefined
    }
    let best: ClientConnection | undefined
    this.#turn = (this.#turn + 1) % links.length
    for (let step = 0; step < links.length; step++) {
      const connection = links[(this.#turn + step) % links.length]!.connection
      if (connection?.hasRoom !== true) continue
      if (best === undefined || connection.inFlightCount < best.inFlightCount) best = connection
    }
    return best
  }

  connected(link: NodeLink, connection: ClientConnection): void {
    this.#connected.add(link)
    const { nodeId = '', serverVersion = '' } = connection.hello ?? {}
    this.#owner.changed({ type: 'connected', address: link.address, nodeId, serverVersion })
    this.#owner.roomy()
  }

  disconnected(link: NodeLink, error: KvError | undefined): void {
    this.#connected.delete(link)
    this.#owner.changed({ type: 'disconnected', address: link.address, error })
  }

  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void {
    this.#owner.replied(call, status, bytes, start, end)
  }

  roomy(): void {
    this.#owner.roomy()
  }

  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void {
    this.#owner.lost(connection, calls, error)
  }

  close(): void {
    for (const link of this.#links) link.close()
  }
}
