/**
 * The ways of a proxy to its cluster: a few clients of the same nodes, each with one connection a
 * node, over which the proxy's own clients are spread. One would do for short calls; but what a
 * node grants a connection (open scans, unread replies, its fair part of the work) a proxy needs
 * for many.
 *
 *   new --open--> looking for the cluster --its ring is known--> serving --close--> closed
 *
 * Invariants:
 *  1. A client of the proxy stays on one lane, so that what it asks in a row goes one way.
 *  2. The ring only moves on to greater epochs, and stays that of the first cluster.
 */
import { type Clock, delay } from '../../clock.ts'
import { ClosedError, UnavailableError } from '../../errors.ts'
import type { ClientIdentity } from '../../fair-queue.ts'
import {
  type ClientOptions,
  type ResolvedClientOptions,
  resolveClientOptions,
} from '../client-options.ts'
import { ClientScans } from '../client-scans.ts'
import { formatAddress } from '../connection-url.ts'
import type { NodeLink } from '../node-link.ts'
import { Requester } from '../requester.ts'
import type { DecodeRoutes, Routes } from '../routes.ts'
import { refusalByNodes } from './node-error.ts'

/** A node grants a connection 64 open scans: this is for 256 of a proxy on each. */
const LANE_COUNT = 4
/** Calls of a lane that wait for a connection with room. More are refused at once. */
const QUEUE_COUNT_MAX = 8192
const QUEUE_BYTES_MAX = 32 * 1024 * 1024
/** Calls that nobody waits for any more may keep the end waiting for so long. */
const CLOSE_MS_MAX = 1000

export interface Lane {
  readonly requester: Requester
  readonly scans: ClientScans
  readonly options: ResolvedClientOptions
}

export interface ProxyLanesOptions {
  /** How the nodes are reached, and as whom. */
  readonly client: Omit<ClientOptions, 'decodeRoutes' | 'onConnection' | 'clock'>
  readonly clock: Clock
  readonly decodeRoutes: DecodeRoutes
  /** A new ring, as a node told it. */
  readonly onRing: (ring: Uint8Array) => void
}

/** A node, as the proxy sees it. JSON-serialisable. */
export interface ProxyNodeFigures {
  readonly address: string
  readonly isReachable: boolean
  /** Calls that it has not answered, over all lanes. */
  readonly inFlight: number
}

interface KnownRing {
  readonly bytes: Uint8Array
  readonly clusterId: string
  readonly epoch: number
}

interface Waiter {
  readonly resolve: (clusterId: string) => void
  readonly reject: (error: Error) => void
}

export class ProxyLanes {
  readonly #options: ProxyLanesOptions
  readonly #lanes: readonly Lane[]
  readonly #laneOf = new WeakMap<ClientIdentity, Lane>()
  #turn = 0
  #ring: KnownRing | undefined
  /** Who waits for the cluster. */
  #waiter: Waiter | undefined

  constructor(options: ProxyLanesOptions) {
    this.#options = options
    this.#lanes = Array.from({ length: LANE_COUNT }, () => this.#createLane())
  }

  #createLane(): Lane {
    const { client, clock, decodeRoutes } = this.#options
    const options = resolveClientOptions({
      queueCountMax: QUEUE_COUNT_MAX,
      queueBytesMax: QUEUE_BYTES_MAX,
      clientName: 'kvd proxy',
      ...client,
      clock,
      decodeRoutes: async (ring, from) => {
        const routes = await decodeRoutes(ring, from)
        this.#learn(ring, routes)
        return routes
      },
    })
    const requester = new Requester(options, () => this.#changed())
    return { requester, scans: new ClientScans(requester, options), options }
  }

  #learn(bytes: Uint8Array, { clusterId, epoch }: Routes): void {
    const known = this.#ring
    if (known !== undefined && (known.clusterId !== clusterId || known.epoch >= epoch)) return
    this.#ring = { bytes, clusterId, epoch }
    this.#options.onRing(bytes)
    this.#waiter?.resolve(clusterId)
  }

  /** Waiting is no use where every node refuses this proxy. */
  #changed(): void {
    if (this.#waiter === undefined) return
    const refusal = this.#lanes[0]?.requester.pool.refusal
    if (refusal !== undefined) this.#waiter.reject(refusalByNodes(refusal))
  }

  /**
   * Begins to connect. Resolves with the id of the cluster once a node has told its ring; rejects
   * when none has after `timeoutMs`, or when all refuse this proxy or are of different clusters.
   */
  open(timeoutMs: number): Promise<string> {
    const { clock } = this.#options
    const found = new Promise<string>((resolve, reject) => {
      const cancel = clock.setTimer(timeoutMs, () => {
        const why = this.#lanes[0]?.requester.pool.describeFailures() ?? ''
        reject(new UnavailableError(`no node of the cluster can be reached: ${why}`))
      })
      this.#waiter = {
        resolve: clusterId => {
          cancel()
          resolve(clusterId)
        },
        reject: error => {
          cancel()
          reject(error)
        },
      }
    }).finally(() => {
      this.#waiter = undefined
    })
    for (const { requester } of this.#lanes) requester.pool.dial()
    return found
  }

  /** The lane of a client of the proxy. */
  of(client: ClientIdentity | undefined): Lane {
    const known = client && this.#laneOf.get(client)
    if (known !== undefined) return known
    this.#turn = (this.#turn + 1) % this.#lanes.length
    const lane = this.#lanes[this.#turn]!
    if (client !== undefined) this.#laneOf.set(client, lane)
    return lane
  }

  /** The cluster's time, as far as it is known here: milliseconds since the Unix epoch. */
  get timeMs(): number {
    return this.#lanes[0]!.options.writeClock.timeMs
  }

  /** The newest ring, as a node told it; undefined before the first. */
  get ring(): Uint8Array | undefined {
    return this.#ring?.bytes
  }

  /** Of the newest ring; 0 before the first. */
  get epoch(): number {
    return this.#ring?.epoch ?? 0
  }

  /** Calls that wait for a connection with room. */
  get queuedCount(): number {
    return this.#lanes.reduce((sum, { requester }) => sum + requester.queuedCount, 0)
  }

  /** Of each node that it was told of, and of each member of the ring. */
  nodes(): ProxyNodeFigures[] {
    const byAddress = new Map<string, ProxyNodeFigures>()
    for (const { requester } of this.#lanes) {
      for (const link of requester.pool.links) {
        const address = formatAddress(link.address)
        const before = byAddress.get(address)
        byAddress.set(address, {
          address,
          isReachable: before?.isReachable === true || isReachable(link),
          inFlight: (before?.inFlight ?? 0) + (link.connection?.inFlightCount ?? 0),
        })
      }
    }
    return [...byAddress.values()]
  }

  /** Lets calls in flight finish, for a moment. Requires that nobody waits for one any more. */
  async close(): Promise<void> {
    this.#waiter?.reject(new ClosedError('the proxy was closed'))
    const { clock } = this.#options
    const finished = Promise.all(this.#lanes.map(({ requester }) => requester.close()))
    await Promise.race([finished, delay(clock, CLOSE_MS_MAX, { background: true })])
    for (const { requester } of this.#lanes) requester.pool.close()
    await finished
  }
}

function isReachable({ connection, health }: NodeLink): boolean {
  return connection !== undefined && !health.isOpen
}
