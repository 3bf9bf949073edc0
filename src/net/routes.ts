/**
 * Where keys live, as far as a client needs to know it. What a ring is and who owns which part of
 * it is the cluster's business: it brings the decoder, and this layer asks what comes out of it.
 */
import type { NodeAddress } from './connection-url.ts'
import type { MaybePromise } from './request-handler.ts'

export interface RouteMember {
  /** The id by which the node's HELLO names it. */
  readonly nodeId: string
  /** Undefined when the ring does not tell where clients reach it. */
  readonly address: NodeAddress | undefined
}

/** The replicas of every key in one epoch. Immutable. */
export interface Routes {
  readonly clusterId: string
  /** Of two maps of a cluster the one with the greater epoch is true. */
  readonly epoch: number
  readonly members: readonly RouteMember[]
  /** Replicas of a key. */
  readonly width: number
  partitionOf(key: Uint8Array): number
  /** The replica of the partition at `place` (0 to width - 1), by its place in `members`. */
  memberAt(partition: number, place: number): number
}

/**
 * Reads what a server answers to RING_MAP; `from` names the server in messages. Throws, or rejects
 * with, a KvError for what is no ring. The bytes are the callee's own.
 */
export type DecodeRoutes = (ring: Uint8Array, from: string) => MaybePromise<Routes>
