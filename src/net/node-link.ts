/**
 * The way to one server: at most one connection taking calls, dialled again for ever when it
 * breaks, after a pause that grows while the server stays away.
 */
import type { CancelTimer } from '../clock.ts'
import { ClosedError, type KvError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { PendingCall } from './call.ts'
import {
  ClientConnection,
  type ClientConnectionOptions,
  type ClientConnectionOwner,
} from './client-connection.ts'
import type { NodeAddress } from './connection-url.ts'
import { NodeHealth } from './node-health.ts'
import type { HelloReply } from './response-body.ts'
import { type Backoff, backoffMs } from './retry.ts'

/** A connection that held this long counts as a success: the next pause is short again. */
const STABLE_MS = 1000

/** What a link tells its pool. */
export interface NodeLinkOwner {
  /** A server named the cluster that it is of: the error that keeps it out, if any. */
  refusalOf(link: NodeLink, clusterId: string): KvError | undefined
  connected(link: NodeLink, connection: ClientConnection): void
  /** An attempt failed, or a connection was lost, or it drains. */
  disconnected(link: NodeLink, error: KvError | undefined): void
  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void
  roomy(): void
  ringPushed(connection: ClientConnection, ring: Uint8Array): void
  /** Calls that were in flight on a lost connection. */
  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void
}

export class NodeLink implements ClientConnectionOwner {
  readonly address: NodeAddress
  readonly health: NodeHealth
  /** The node that answered here last, by its HELLO. */
  nodeId: string | undefined
  /** True when a server answered the last attempt, whatever became of the connection. */
  hasAnswered = false
  /** Why there is no connection, when there is none. */
  lastError: KvError | undefined
  readonly #options: ClientConnectionOptions
  readonly #backoff: Backoff
  readonly #random: Random
  readonly #owner: NodeLinkOwner
  /** The newest connection; older ones may still drain. */
  #connection: ClientConnection | undefined
  readonly #draining = new Set<ClientConnection>()
  #attempts = 0
  #readyMs = 0
  #cancelRedial: CancelTimer | undefined
  #cancelProbe: CancelTimer | undefined
  #closed = false

  constructor(
    address: NodeAddress,
    options: ClientConnectionOptions,
    backoff: Backoff,
    random: Random,
    owner: NodeLinkOwner,
  ) {
    this.address = address
    this.#options = options
    this.#backoff = backoff
    this.#random = random
    this.#owner = owner
    this.health = new NodeHealth(() => this.#probeLater())
  }

  /** True once it was closed for good. */
  get isClosed(): boolean {
    return this.#closed
  }

  /** The connection that takes calls, or undefined. */
  get connection(): ClientConnection | undefined {
    return this.#connection?.state === 'ready' ? this.#connection : undefined
  }

  /** Connects now unless it is connected or connecting. */
  dial(): void {
    if (this.#closed || this.#connection !== undefined) return
    this.#cancelRedial?.()
    this.#cancelRedial = undefined
    this.hasAnswered = false
    this.#connection = new ClientConnection(this.address, this.#options, this.health, this)
  }

  #redialLater(): void {
    if (this.#closed || this.#cancelRedial !== undefined || this.#connection !== undefined) return
    this.#attempts++
    const pauseMs = backoffMs(this.#attempts, this.#backoff, this.#random)
    this.#cancelRedial = this.#options.clock.setTimer(pauseMs, () => this.dial())
  }

  /** Asks a node that does not answer for a sign of life, until there is one. */
  #probeLater(): void {
    this.#cancelProbe?.()
    const { clock } = this.#options
    const probe = (): void => {
      if (this.#closed || !this.health.isOpen) return
      this.#connection?.ping()
      this.#probeLater()
    }
    this.#cancelProbe = clock.setTimer(this.health.nextProbeDelayMs(), probe, BACKGROUND)
  }

  refusalOf({ clusterId }: HelloReply): KvError | undefined {
    this.hasAnswered = true
    return this.#owner.refusalOf(this, clusterId)
  }

  ready(connection: ClientConnection): void {
    this.nodeId = connection.hello?.nodeId
    this.#readyMs = this.#options.clock.monotonicMs()
    this.lastError = undefined
    this.#owner.connected(this, connection)
  }

  draining(connection: ClientConnection): void {
    this.#draining.add(connection)
    if (this.#connection === connection) this.#connection = undefined
    this.#owner.disconnected(this, undefined)
    this.#redialLater()
  }

  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void {
    this.#owner.replied(call, status, bytes, start, end)
  }

  roomy(): void {
    this.#owner.roomy()
  }

  ringPushed(connection: ClientConnection, ring: Uint8Array): void {
    this.#owner.ringPushed(connection, ring)
  }

  closed(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void {
    const wasDraining = this.#draining.delete(connection)
    if (this.#connection === connection) this.#connection = undefined
    if (!wasDraining) {
      this.lastError = error
      const heldMs = this.#options.clock.monotonicMs() - this.#readyMs
      if (connection.hello !== undefined && heldMs >= STABLE_MS) this.#attempts = 0
      if (!this.#closed) this.#owner.disconnected(this, error)
      this.#redialLater()
    }
    this.#owner.lost(connection, calls, error)
  }

  /** Ends the connection that takes calls, if there is one. */
  refuse(error: KvError): void {
    this.connection?.destroy(error)
  }

  /** Takes no further calls, and closes once those in flight have their replies. */
  retire(): void {
    this.#closed = true
    this.#cancelRedial?.()
    this.#cancelProbe?.()
    const connection = this.#connection
    if (connection?.state === 'ready') connection.drain()
    else connection?.destroy(new ClosedError('the node has left, or has another address'))
  }

  /** Closes every connection. Requires that nothing is in flight, or nobody waits for it. */
  close(): void {
    this.#closed = true
    this.#cancelRedial?.()
    this.#cancelProbe?.()
    const connections = [...this.#draining]
    if (this.#connection !== undefined) connections.push(this.#connection)
    for (const connection of connections) {
      if (connection.state === 'ready' && connection.inFlightCount === 0) connection.drain()
      else connection.destroy(new ClosedError('the client was closed'))
    }
  }
}

const BACKGROUND = { background: true }
