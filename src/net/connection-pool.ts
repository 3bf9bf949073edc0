/**
 * The connections of a client: one link for each server that it was told of and for each member of
 * the ring, and which member each link leads to.
 *
 * Who a server is, its HELLO says. A link that leads to a member is that member's, whatever its
 * address; a member that no link leads to gets one to the address in the map. Nothing is asked of
 * any server before it is known which cluster is meant, nor of one that is of another
 * (cluster-pin.ts).
 *
 * Invariants:
 *  1. The servers that the client was told of are dialled for ever, members as long as they are in
 *     the map: a node that cannot be reached is not forgotten.
 *  2. A link that the map asked for is closed when the map no longer does, or when another link
 *     leads to its member, too.
 *  3. Only links whose `connected` was told are chosen from.
 */
import type { CancelTimer } from '../clock.ts'
import { AuthenticationError, type KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { PendingCall } from './call.ts'
import type { ClientConnection, ClientConnectionOptions } from './client-connection.ts'
import { ClusterPin } from './cluster-pin.ts'
import { formatAddress, type NodeAddress } from './connection-url.ts'
import { NodeChoice } from './node-choice.ts'
import { NodeLink, type NodeLinkOwner } from './node-link.ts'
import type { Backoff } from './retry.ts'
import type { RouteMember, Routes } from './routes.ts'

/**
 * How long other servers have to contradict the first that answers, from then on: what the first
 * call of a client waits at most for one that has gone silent. One that is up answers sooner.
 */
const FIRST_CONTACT_MS = 500

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
  /** A connection was made; told after `changed`. */
  greeted(connection: ClientConnection): void
  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void
  /** Calls that wait may be sent now. */
  roomy(): void
  ringPushed(connection: ClientConnection, ring: Uint8Array): void
  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void
}

export interface PoolOptions extends ClientConnectionOptions {
  readonly reconnectBackoff: Backoff
  readonly random: Random
  readonly logger: Logger
}

export class ConnectionPool implements NodeLinkOwner {
  readonly choice: NodeChoice
  /** To the servers that the client was told of. */
  readonly #seeds: readonly NodeLink[]
  #links: readonly NodeLink[]
  #routes: Routes | undefined
  readonly #options: PoolOptions
  readonly #owner: ConnectionPoolOwner
  /** Links whose `connected` was told and whose `disconnected` was not. */
  readonly #connected = new Set<NodeLink>()
  readonly #pin: ClusterPin
  /** Connected before it was known which cluster is meant. */
  readonly #held = new Map<NodeLink, ClientConnection>()
  #cancelContact: CancelTimer | undefined
  #closed = false

  constructor(nodes: readonly NodeAddress[], options: PoolOptions, owner: ConnectionPoolOwner) {
    this.#options = options
    this.#owner = owner
    this.choice = new NodeChoice(options.clock, options.random)
    this.#seeds = nodes.map(node => this.#createLink(node))
    this.#links = this.#seeds
    this.#pin = new ClusterPin(nodes.map(formatAddress))
  }

  #createLink(address: NodeAddress): NodeLink {
    const { reconnectBackoff, random } = this.#options
    return new NodeLink(address, this.#options, reconnectBackoff, random, this)
  }

  get connectedCount(): number {
    return this.#connected.size
  }

  /** To the servers that the client was told of, and to those that the map named. */
  get links(): readonly NodeLink[] {
    return this.#links
  }

  get linkCount(): number {
    return this.#links.length
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

  /** True when each server that the client was told of was tried, and there is none to ask. */
  get isInVain(): boolean {
    return this.#pin.isComplete && this.#connected.size === 0 && this.#held.size === 0
  }

  /**
   * Set when waiting is no use: no server is connected, and each has refused who this is, or they
   * belong to different clusters.
   */
  get refusal(): KvError | undefined {
    if (this.#connected.size > 0) return undefined
    const { conflict } = this.#pin
    if (conflict !== undefined) return conflict
    const isRefused = this.#links.every(({ lastError }) => lastError instanceof AuthenticationError)
    return isRefused ? this.lastError : undefined
  }

  dial(): void {
    for (const link of this.#links) link.dial()
  }

  /** Takes a map of the ring; false when it is no news. */
  learn(routes: Routes): boolean {
    if (this.#closed) return false
    const { clusterId, epoch } = routes
    if (!this.#pin.takes(routes)) {
      this.#options.logger.warn('a server told the ring of another cluster', { clusterId })
      return false
    }
    if (this.#routes !== undefined && epoch <= this.#routes.epoch) return false
    this.#routes = routes
    this.#assign()
    return true
  }

  /** Finds the link of each member, makes what is missing, and closes what is superfluous. */
  #assign(): void {
    const routes = this.#routes
    if (routes === undefined || this.#closed) return
    const links: NodeLink[] = [...this.#seeds]
    const members = routes.members.map(member => {
      const link = this.#linkOf(member) ?? (member.address && this.#createLink(member.address))
      if (link !== undefined && !links.includes(link)) links.push(link)
      return link !== undefined && this.#leadsElsewhere(link, member) ? undefined : link
    })
    const before = this.#links
    this.#links = links
    this.choice.set(links, routes, members)
    for (const link of before) if (!links.includes(link)) link.retire()
    // The others dial by themselves, after their pauses.
    for (const link of links) if (!before.includes(link)) link.dial()
  }

  /** The link that leads to the member, or else the one to its address, wherever that leads. */
  #linkOf({ nodeId, address }: RouteMember): NodeLink | undefined {
    const connected = this.#links.find(link => link.nodeId === nodeId && this.#connected.has(link))
    if (connected !== undefined || address === undefined) return connected
    const text = formatAddress(address)
    return this.#links.find(link => formatAddress(link.address) === text)
  }

  #leadsElsewhere(link: NodeLink, { nodeId }: RouteMember): boolean {
    return this.#connected.has(link) && link.nodeId !== nodeId
  }

  /** NodeLink: a server answered. What keeps it out is the error, if anything. */
  refusalOf(link: NodeLink, clusterId: string): KvError | undefined {
    const address = formatAddress(link.address)
    const error = this.#pin.greeted(address, clusterId)
    if (error === undefined) return undefined
    if (error.message !== link.lastError?.message) {
      this.#options.logger.warn('a server of another cluster answers', { address, error })
    }
    if (this.#pin.conflict !== undefined) for (const other of this.#links) other.refuse(error)
    return error
  }

  connected(link: NodeLink, connection: ClientConnection): void {
    if (this.#pin.isOpen) {
      this.#admit(link, connection)
      return
    }
    this.#held.set(link, connection)
    this.#openIfComplete()
    if (this.#pin.isOpen) return
    this.#cancelContact ??= this.#options.clock.setTimer(FIRST_CONTACT_MS, () => {
      this.#cancelContact = undefined
      this.#open()
    })
  }

  #openIfComplete(): void {
    if (this.#pin.isComplete) this.#open()
  }

  /** Lets the servers be asked that are connected by now. */
  #open(): void {
    if (this.#closed || this.#pin.isOpen || this.#held.size === 0) return
    if (this.#pin.conflict !== undefined) return
    this.#cancelContact?.()
    this.#pin.open()
    this.choice.set(this.#links, undefined, [])
    const held = [...this.#held]
    this.#held.clear()
    for (const [link, connection] of held) this.#admit(link, connection)
  }

  #admit(link: NodeLink, connection: ClientConnection): void {
    this.#connected.add(link)
    const { nodeId = '', serverVersion = '' } = connection.hello ?? {}
    this.#owner.changed({ type: 'connected', address: link.address, nodeId, serverVersion })
    this.#assign()
    this.#owner.greeted(connection)
    this.#owner.roomy()
  }

  disconnected(link: NodeLink, error: KvError | undefined): void {
    this.#connected.delete(link)
    this.#held.delete(link)
    if (!link.hasAnswered) this.#pin.failed(formatAddress(link.address))
    this.#owner.changed({ type: 'disconnected', address: link.address, error })
    this.#assign()
    this.#openIfComplete()
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

  lost(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void {
    this.#owner.lost(connection, calls, error)
  }

  close(): void {
    this.#closed = true
    this.#cancelContact?.()
    for (const link of this.#links) link.close()
  }
}
