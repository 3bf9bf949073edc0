/**
 * The connections of a client: one link for each server that it was told of and for each member of
 * the ring, and which member each link leads to.
 *
 * Who a server is, its HELLO says. A link that leads to a member is that member's, whatever its
 * address; a member that no link leads to gets one to the address in the map.
 *
 * Invariants:
 *  1. The servers that the client was told of are dialled for ever, members as long as they are in
 *     the map: a node that cannot be reached is not forgotten.
 *  2. A link that the map asked for is closed when the map no longer does, or when another link
 *     leads to its member, too.
 */
import { AuthenticationError, type KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { PendingCall } from './call.ts'
import type { ClientConnection, ClientConnectionOptions } from './client-connection.ts'
import { formatAddress, type NodeAddress } from './connection-url.ts'
import { NodeChoice } from './node-choice.ts'
import { NodeLink, type NodeLinkOwner } from './node-link.ts'
import type { Backoff } from './retry.ts'
import type { RouteMember, Routes } from './routes.ts'

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
  #closed = false

  constructor(nodes: readonly NodeAddress[], options: PoolOptions, owner: ConnectionPoolOwner) {
    this.#options = options
    this.#owner = owner
    this.choice = new NodeChoice(options.clock, options.random)
    this.#seeds = nodes.map(node => this.#createLink(node))
    this.#links = this.#seeds
    this.choice.set(this.#links, undefined, [])
  }

  #createLink(address: NodeAddress): NodeLink {
    const { reconnectBackoff, random } = this.#options
    return new NodeLink(address, this.#options, reconnectBackoff, random, this)
  }

  get connectedCount(): number {
    return this.#connected.size
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

  /** Set when no server is connected and each has refused who this is: waiting is no use. */
  get refusal(): KvError | undefined {
    if (this.#connected.size > 0) return undefined
    const isRefused = this.#links.every(({ lastError }) => lastError instanceof AuthenticationError)
    return isRefused ? this.lastError : undefined
  }

  dial(): void {
    for (const link of this.#links) link.dial()
  }

  /** Takes a map of the ring; false when it is no news. */
  learn(routes: Routes): boolean {
    const current = this.#routes
    if (this.#closed || (current !== undefined && !this.#isNews(routes, current))) return false
    this.#routes = routes
    this.#assign()
    return true
  }

  #isNews(routes: Routes, current: Routes): boolean {
    if (routes.clusterId === current.clusterId) return routes.epoch > current.epoch
    // Another cluster where this one was: believed when nothing of this one is left.
    const ids = new Set(current.members.map(({ nodeId }) => nodeId))
    for (const { nodeId } of this.#connected) {
      if (nodeId === undefined || !ids.has(nodeId)) continue
      const { logger } = this.#options
      logger.warn('servers of two clusters answer: give the client those of one')
      return false
    }
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

  connected(link: NodeLink, connection: ClientConnection): void {
    this.#connected.add(link)
    const { nodeId = '', serverVersion = '' } = connection.hello ?? {}
    this.#owner.changed({ type: 'connected', address: link.address, nodeId, serverVersion })
    this.#assign()
    this.#owner.greeted(connection)
    this.#owner.roomy()
  }

  disconnected(link: NodeLink, error: KvError | undefined): void {
    this.#connected.delete(link)
    this.#owner.changed({ type: 'disconnected', address: link.address, error })
    this.#assign()
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
    for (const link of this.#links) link.close()
  }
}
