/**
 * Which cluster a client is of, and which servers it may therefore believe.
 *
 *   first contact --every server it was told of has answered, or failed--> pinned, for ever
 *
 * A server whose directory was lost and begun anew answers at the old address, for a cluster of its
 * own: it knows no key, and acknowledges writes that no member of the real one ever sees. So a
 * client stays with one cluster for its whole life, and takes no server's word that is of another.
 *
 * Invariants:
 *  1. Once pinned, no server of another cluster is admitted, however few of the right one are left.
 *  2. Servers that the client was told of and that name different clusters are all refused, for
 *     nothing tells which is right: how many there are of each is no argument. A server that was
 *     of the pinned cluster before, or whose address is in its ring, is the exception: it is the
 *     one that was begun anew, and refused alone.
 *
 * A server that names no cluster contradicts nobody.
 */
import { InvalidArgumentError, type KvError, UnavailableError } from '../errors.ts'
import { formatAddress } from './connection-url.ts'
import type { Routes } from './routes.ts'

/** What a server that names no cluster is said to be of. */
const NO_CLUSTER = ''

/** Of a server that the client was told of: the cluster it named last; undefined until then. */
type Verdict = string | undefined

export class ClusterPin {
  #clusterId: string | undefined
  #isOpen = false
  /** By address. */
  readonly #verdicts = new Map<string, Verdict>()
  readonly #untried: Set<string>
  /** Addresses where a member of the pinned cluster is, or was. */
  readonly #known = new Set<string>()

  constructor(seeds: readonly string[]) {
    this.#untried = new Set(seeds)
    for (const seed of seeds) this.#verdicts.set(seed, undefined)
  }

  /** True once servers may be asked. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** True once there is nothing left to wait for. */
  get isComplete(): boolean {
    return this.#untried.size === 0
  }

  /** Why no server can be believed, if that is so. */
  get conflict(): KvError | undefined {
    const named = [...this.#verdicts].filter(
      ([seed, id]) => id !== undefined && id !== NO_CLUSTER && !this.#known.has(seed),
    )
    const ids = new Set(named.map(([, id]) => id))
    if (this.#clusterId !== undefined) ids.add(this.#clusterId)
    if (ids.size < 2) return undefined
    const servers = named.map(([seed, id]) => `${seed} to ${id}`)
    if (this.#clusterId !== undefined)
      servers.push(`what this client has used to ${this.#clusterId}`)
    return new InvalidArgumentError(
      `the servers belong to different clusters (${servers.join(', ')}), so that none can be ` +
        'believed: one was begun anew on an empty directory, or is no server of this client; ' +
        'stop it, or give the client the servers of one cluster',
    )
  }

  /** A server named its cluster; what it says is the error that keeps it out, if any. */
  greeted(address: string, clusterId: string): KvError | undefined {
    const isSeed = this.#verdicts.has(address)
    if (isSeed) {
      this.#verdicts.set(address, clusterId)
      this.#untried.delete(address)
    }
    const { conflict } = this
    if (conflict !== undefined) return conflict
    const pinned = this.#clusterId
    if (clusterId === NO_CLUSTER || pinned === undefined) return undefined
    if (clusterId !== pinned) return strayError(address, clusterId, pinned)
    if (isSeed) this.#known.add(address)
    return undefined
  }

  /** An attempt to reach a server ended without its answer. */
  failed(address: string): void {
    if (!this.#verdicts.has(address)) return
    this.#verdicts.set(address, undefined)
    this.#untried.delete(address)
  }

  /** Goes by what is known now. Requires that there is no conflict. */
  open(): void {
    this.#isOpen = true
    for (const id of this.#verdicts.values()) if (id) this.#pin(id)
  }

  #pin(clusterId: string): void {
    this.#clusterId ??= clusterId
    for (const [seed, id] of this.#verdicts) if (id === this.#clusterId) this.#known.add(seed)
  }

  /** True when the map is of the pinned cluster, or the first; then its members are known. */
  takes({ clusterId, members }: Routes): boolean {
    this.#pin(clusterId)
    if (clusterId !== this.#clusterId) return false
    for (const { address } of members) {
      if (address !== undefined) this.#known.add(formatAddress(address))
    }
    return true
  }
}

function strayError(address: string, clusterId: string, pinned: string): KvError {
  return new UnavailableError(
    `${address} belongs to cluster ${clusterId}, this client to ${pinned}: what was there has ` +
      'moved, or was begun anew on an empty directory; connect anew if that is what you want',
  )
}
