/**
 * Which connection a call takes.
 *
 * Without a map of the ring, any server answers for any key: the one with the least in flight, in
 * turn where several are equal. With one, a replica of the key: the first of its preference list,
 * so that whoever reads after a write asks the node that acknowledged it; unless that has several
 * times the load of another that is picked at random (after Mitzenmacher, "The Power of Two
 * Choices", 2001). Partitions spread what comes to first replicas over all nodes. Nodes whose
 * breaker is open, and the node that the call is tried on already, come after all others; a node
 * that is no replica passes a call on.
 *
 * The fast path, one server, hashes nothing and compares nothing.
 */
import type { Clock } from '../clock.ts'
import type { Random } from '../random.ts'
import { type PendingCall, routingKey } from './call.ts'
import type { ClientConnection } from './client-connection.ts'
import type { NodeHealth } from './node-health.ts'
import type { NodeLink } from './node-link.ts'
import type { Routes } from './routes.ts'

/** The first replica of a key is passed over when its load is more than so many times another's. */
const FIRST_LOAD_FACTOR = 2

/** Keys that one node can answer for, by their places in the list of all. */
export interface KeyShare {
  /** Undefined: any replica of the first key. */
  readonly preferred: NodeLink | undefined
  readonly places: readonly number[]
}

export class NodeChoice {
  readonly #clock: Clock
  readonly #random: Random
  readonly #candidates: ClientConnection[] = []
  #links: readonly NodeLink[] = []
  #routes: Routes | undefined
  /** The link of each member of the map; undefined: there is no way to it. */
  #members: readonly (NodeLink | undefined)[] = []
  #turn = 0

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** Says what there is to choose from (nothing until then), and where the map's members are. */
  set(
    links: readonly NodeLink[],
    routes: Routes | undefined,
    members: readonly (NodeLink | undefined)[],
  ): void {
    if (this.#links.length === 0) this.#turn = this.#random.below(links.length)
    this.#links = links
    // A map that leads to none of its members, as proxies give it, is none.
    this.#routes = members.some(member => member !== undefined) ? routes : undefined
    this.#members = members
  }

  /** The connection that the call takes, or undefined when none has room. */
  first(call: PendingCall): ClientConnection | undefined {
    const links = this.#links
    if (links.length === 1) {
      const connection = links[0]!.connection
      return connection?.hasRoom === true ? connection : undefined
    }
    const avoid = call.connection?.health
    return this.#preferred(call, avoid) ?? this.#any(avoid, true) ?? this.#any(undefined, false)
  }

  /** Another node that is likely to answer the call sooner, if there is one. */
  other(call: PendingCall, replicasOnly: boolean): ClientConnection | undefined {
    if (this.#links.length === 1) return undefined
    const avoid = call.connection?.health
    const replica = this.#preferred(call, avoid)
    if (replica !== undefined || (replicasOnly && this.#routes !== undefined)) return replica
    return this.#any(avoid, true)
  }

  /** A connection to any server that is well; undefined when there is none. */
  healthy(): ClientConnection | undefined {
    return this.#any(undefined, true)
  }

  #preferred(call: PendingCall, avoid: NodeHealth | undefined): ClientConnection | undefined {
    const { preferred, request } = call.spec
    if (preferred !== undefined && preferred.health !== avoid) {
      const connection = usable(preferred)
      if (connection !== undefined) return connection
    }
    const key = this.#routes === undefined ? undefined : routingKey(request)
    return key === undefined ? undefined : this.#replica(key, avoid)
  }

  #replica(key: Uint8Array, avoid: NodeHealth | undefined): ClientConnection | undefined {
    const routes = this.#routes!
    const partition = routes.partitionOf(key)
    const candidates = this.#candidates
    candidates.length = 0
    for (let place = 0; place < routes.width; place++) {
      const link = this.#members[routes.memberAt(partition, place)]
      if (link === undefined || link.health === avoid) continue
      const connection = usable(link)
      if (connection !== undefined) candidates.push(connection)
    }
    return this.#firstOrLighter(candidates)
  }

  /** In the order of the preference list. */
  #firstOrLighter(candidates: readonly ClientConnection[]): ClientConnection | undefined {
    const { length } = candidates
    if (length < 2) return candidates[0]
    const first = candidates[0]!
    const other = candidates[1 + this.#random.below(length - 1)]!
    const nowMs = this.#clock.monotonicMs()
    return loadOf(first, nowMs) <= FIRST_LOAD_FACTOR * loadOf(other, nowMs) ? first : other
  }

  /** The one with the least in flight, in turn where several are equal. */
  #any(avoid: NodeHealth | undefined, isHealthy: boolean): ClientConnection | undefined {
    const links = this.#links
    let best: ClientConnection | undefined
    if (links.length === 0) return undefined
    this.#turn = (this.#turn + 1) % links.length
    for (let step = 0; step < links.length; step++) {
      const { connection, health } = links[(this.#turn + step) % links.length]!
      if (connection?.hasRoom !== true || health === avoid) continue
      if (isHealthy && health.isOpen) continue
      if (best === undefined || connection.inFlightCount < best.inFlightCount) best = connection
    }
    return best
  }

  /**
   * Divides keys among nodes that hold them, few nodes with many keys each: the node of the first
   * key takes all that it has a replica of, and so on with the rest.
   */
  divide(keys: readonly Uint8Array[]): readonly KeyShare[] {
    const routes = this.#routes
    const all = [...keys.keys()]
    if (routes === undefined || routes.width >= routes.members.length || keys.length < 2) {
      return [{ preferred: undefined, places: all }]
    }
    const partitions = keys.map(key => routes.partitionOf(key))
    const shares: KeyShare[] = []
    for (let rest = all; rest.length > 0; ) {
      const preferred = this.#best(this.#replicas(partitions[rest[0]!]!))
      if (preferred === undefined) return [...shares, { preferred, places: rest }]
      const isHeld = (at: number): boolean => this.#replicas(partitions[at]!).includes(preferred)
      shares.push({ preferred, places: rest.filter(isHeld) })
      rest = rest.filter(at => !isHeld(at))
    }
    return shares
  }

  /** A node that has a replica of every key, the least loaded; undefined when any will do. */
  common(keys: readonly { readonly key: Uint8Array }[]): NodeLink | undefined {
    const routes = this.#routes
    if (routes === undefined || routes.width >= routes.members.length) return undefined
    let links: NodeLink[] | undefined
    for (const partition of new Set(keys.map(({ key }) => routes.partitionOf(key)))) {
      const replicas = this.#replicas(partition)
      links = links?.filter(link => replicas.includes(link)) ?? replicas
      if (links.length === 0) return undefined
    }
    return this.#best(links ?? [])
  }

  #replicas(partition: number): NodeLink[] {
    const routes = this.#routes!
    const links: NodeLink[] = []
    for (let place = 0; place < routes.width; place++) {
      const link = this.#members[routes.memberAt(partition, place)]
      if (link !== undefined) links.push(link)
    }
    return links
  }

  #best(links: readonly NodeLink[]): NodeLink | undefined {
    const nowMs = this.#clock.monotonicMs()
    let best: NodeLink | undefined
    let least = Number.POSITIVE_INFINITY
    for (const link of links) {
      const connection = usable(link)
      const load = connection === undefined ? least : loadOf(connection, nowMs)
      if (load >= least) continue
      best = link
      least = load
    }
    return best
  }
}

function usable({ connection, health }: NodeLink): ClientConnection | undefined {
  return connection?.hasRoom === true && !health.isOpen ? connection : undefined
}

function loadOf(connection: ClientConnection, nowMs: number): number {
  return connection.health.load(connection.inFlightCount, nowMs)
}
