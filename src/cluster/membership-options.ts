/**
 * What a membership is given, and what it tells of members. Times and counts are those that
 * memberlist has for local networks.
 */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { Liveness } from './liveness.ts'
import type { AppStateKey, Profile } from './member-profile.ts'
import type { Peers } from './peers.ts'
import type { Addresses } from './profile-book.ts'
import type { Ring } from './ring.ts'
import type { NodeId } from './ring-member.ts'

export interface MembershipOptions {
  readonly peers: Peers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** How often the node was started, this time included; fsynced by now. */
  readonly generation: number
  /** Where others reach this node, as it is now. */
  readonly addresses: () => Addresses
  /** The current ring; ringChanged is called when it is another one. */
  readonly ring: () => Ring
  /** A member goes by a later ring than this node. */
  readonly onLaterEpoch: (from: NodeId, epoch: number) => void
  /** What all members are told of this node, each time that it may be. @defaultValue nothing */
  readonly states?: () => Iterable<readonly [AppStateKey, number]>
  readonly config?: Partial<MembershipConfig>
}

/** What this node knows of a member. */
export interface MemberView {
  readonly nodeId: NodeId
  readonly liveness: Liveness
  readonly incarnation: number
  /** Milliseconds since that liveness began. */
  readonly forMs: number
  /** Undefined until it was heard of. */
  readonly profile: Profile | undefined
}

export interface MembershipConfig {
  /** From one probe to the next, and the longest that one takes while this node is well. */
  readonly probeIntervalMs: number
  /** After so long without an answer others are asked to try. */
  readonly probeTimeoutMs: number
  /** How many of them. */
  readonly relays: number
  readonly gossipIntervalMs: number
  /** Nodes that are told the news each time. */
  readonly gossipFanout: number
  readonly gossipBytesMax: number
  /** From one exchange of everything with a random node to the next. */
  readonly fullStateIntervalMs: number
  /** A tick so late means that this node is slow. */
  readonly lateMs: number
  /** A tick so late means that it stood still, and knows nothing of the time between. */
  readonly pauseMs: number
  /** Published numbers are told to others no more often than this. */
  readonly publishIntervalMs: number
}

export const MEMBERSHIP_DEFAULTS: MembershipConfig = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 500,
  relays: 3,
  gossipIntervalMs: 200,
  gossipFanout: 3,
  gossipBytesMax: 8 * 1024,
  fullStateIntervalMs: 30_000,
  lateMs: 200,
  pauseMs: 2000,
  publishIntervalMs: 1000,
}
