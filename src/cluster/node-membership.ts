/**
 * What makes a node a member of its cluster, put together: it agrees with the others on the ring,
 * watches who is up, finds its way in, and keeps known where it is.
 *
 *   open (handlers are registered) --links are open--> enter --a member now--> serve --> stop
 */
import { type Clock, delay } from '../clock.ts'
import { InvalidArgumentError, KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { AddressKeeper } from './address-keeper.ts'
import type { Meeting } from './cluster-discovery.ts'
import type { CurrentRing, MemberPlace } from './current-ring.ts'
import { EpochAcceptor } from './epoch-acceptor.ts'
import { EpochAgreement } from './epoch-agreement.ts'
import { JoinLeader } from './join-leader.ts'
import { joinCluster } from './joiner.ts'
import type { LivenessView } from './liveness.ts'
import { AppState, type AppStateKey, type Profile } from './member-profile.ts'
import { Membership } from './membership.ts'
import type { MemberView } from './membership-options.ts'
import type { Peers } from './peers.ts'
import type { Addresses } from './profile-book.ts'
import { findMember, type Ring } from './ring.ts'
import { abort } from './ring-change.ts'
import { RingFollower } from './ring-follower.ts'
import type { NodeId } from './ring-member.ts'
import type { Store } from './store.ts'
import { holdsUserData } from './user-data.ts'

/** For a majority to agree that a change is taken back. */
const ABORT_MS = 10_000
const SEED_RETRY_MS = 1000
const SEED_RETRY_MAX_MS = 15_000

/** Links as a member needs them. */
export interface MemberLinks extends Meeting {
  /** Where a node says that it is, which may be newer than what the ring says. */
  hintAddress(node: NodeId, address: string, lifeGeneration?: number): void
  onEpoch(listener: (peer: NodeId, epoch: number) => void): () => void
  onRemoved(listener: (why: string) => void): () => void
}

export interface NodeMembershipOptions {
  readonly links: MemberLinks
  /** The same, for what decides on rings and tells them. */
  readonly ringPeers: Peers
  /** How often the node was started, this time included. */
  readonly generation: number
  readonly store: Store
  /** The directory, for messages. */
  readonly path: string
  readonly ring: CurrentRing
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Where others reach this node, as far as that is known. */
  readonly addresses: () => Addresses
  /** Addresses of members that the operator gave: first contact, where the ring's are old. */
  readonly seeds: readonly string[]
  /** What it is as a member, should it join. */
  readonly place: MemberPlace
  /** Resolves, once writes go by the current ring, to the epoch that they go by. */
  readonly inForce: () => Promise<number>
  /** As PartitionedStore.prepared. */
  readonly prepared: () => Promise<void> | undefined
  /** True while what this node has promised may be forgotten; see EpochAcceptor. */
  readonly hasForgotten: () => boolean
  /** What all members are told of this node, once a second. */
  readonly states: () => Iterable<readonly [AppStateKey, number]>
}

export class NodeMembership {
  readonly #options: NodeMembershipOptions
  readonly #membership: Membership
  readonly #agreement: EpochAgreement
  readonly #follower: RingFollower
  readonly #keeper: AddressKeeper
  readonly #stopListening: (() => void)[] = []
  #isStopped = false
  #isWatching = false

  private constructor(options: NodeMembershipOptions, acceptor: EpochAcceptor) {
    this.#options = options
    const { links: peers, clock, random, logger, ring, addresses, generation, store } = options
    const ringParts = { peers: options.ringPeers, ring, logger }
    const { inForce } = options
    const follower = new RingFollower({ ...ringParts, inForce })
    const agreement = new EpochAgreement({ ...ringParts, clock, random, acceptor, follower })
    const { partitionCount } = ring.ring
    const isEmpty = async (): Promise<boolean> => {
      // What was asked for by an earlier ring is submitted, or being prepared.
      await inForce()
      return !(await holdsUserData(store, partitionCount, options.prepared))
    }
    const meet = (address: string): Promise<NodeId> => peers.meet(address)
    new JoinLeader({ ...ringParts, clock, agreement, follower, isEmpty, meet })
    this.#membership = new Membership({
      peers,
      clock,
      random,
      logger,
      generation,
      addresses,
      ring: () => ring.ring,
      onLaterEpoch: (from, epoch) => follower.heard(from, epoch),
      states: options.states,
    })
    const { self } = peers
    this.#keeper = new AddressKeeper({ self, clock, random, logger, ring, agreement, addresses })
    this.#agreement = agreement
    this.#follower = follower
  }

  /** Registers who answers the others. Rejects when what the node keeps is damaged. */
  static async open(options: NodeMembershipOptions): Promise<NodeMembership> {
    const { store, path, ring, hasForgotten } = options
    const acceptor = await EpochAcceptor.open(store, path, ring, hasForgotten)
    return new NodeMembership(options, acceptor)
  }

  /** Who is up. */
  get liveness(): LivenessView {
    return this.#membership
  }

  /** A member goes by the ring of that epoch. */
  heard(from: NodeId, epoch: number): void {
    this.#follower.heard(from, epoch)
  }

  /** For publishing to all members, and reading what they published. */
  get membership(): Membership {
    return this.#membership
  }

  /** How the ring is changed. */
  get agreement(): EpochAgreement {
    return this.#agreement
  }

  /** The members as this node sees them. */
  views(): readonly MemberView[] {
    return this.#membership.members()
  }

  /** What the node says of all members in its statistics. */
  figures(): Readonly<Record<string, unknown>>[] {
    return this.#membership.members().map(({ profile, forMs, ...view }) => ({
      ...view,
      forMs: Math.round(forMs),
      generation: profile?.generation,
      epoch: profile?.epoch,
      clientAddress: profile?.clientAddress,
      peerAddress: profile?.peerAddress,
      states: namedStates(profile?.states),
    }))
  }

  /** Takes back the join that is under way. Rejects with RingChangeError when it cannot be. */
  abort(): Promise<Ring> {
    return this.#agreement.change(ring => abort(ring), ABORT_MS)
  }

  /**
   * Resolves once this node is a member: at once where it was one before. Requires open links.
   * Rejects with InvalidArgumentError when it can never be, and with the signal's reason.
   */
  async enter(signal: AbortSignal): Promise<void> {
    const { links, ring, clock, random, logger, addresses, seeds, place } = this.#options
    this.#follow()
    if (seeds.length > 0) void this.#meetSeeds()
    this.#watch()
    if (this.#isMember) return
    logger.info('joining a cluster', { clusterId: ring.ring.clusterId })
    const member = () => ({ nodeId: links.self, ...place, ...addresses() })
    const follower = this.#follower
    const removed = new AbortController()
    const stopListening = links.onRemoved(why => removed.abort(new InvalidArgumentError(why)))
    const either = AbortSignal.any([signal, removed.signal])
    const options = { peers: links, clock, random, logger, ring, follower, member }
    await joinCluster({ ...options, signal: either }).finally(stopListening)
  }

  /** The addresses of this node are known now, or others. */
  moved(): void {
    this.#keeper.check()
  }

  /** Says nothing more to others. Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#keeper.stop()
    this.#membership.stop()
    this.#follower.stop()
    for (const stop of this.#stopListening) stop()
  }

  get #isMember(): boolean {
    const { ring, links } = this.#options
    const member = findMember(ring.ring, links.self)
    return member !== undefined && member.state !== 'joining'
  }

  #follow(): void {
    const { links, ring } = this.#options
    this.#stopListening.push(
      links.onEpoch((peer, epoch) => this.#follower.heard(peer, epoch)),
      ring.onChange(next => this.#changed(next)),
      this.#membership.onProfile(({ node, peerAddress, states }) => {
        links.hintAddress(node, peerAddress, states.get(AppState.lifeGeneration))
      }),
    )
  }

  #changed(_ring: Ring): void {
    this.#membership.ringChanged()
    this.#watch()
  }

  /** Members watch each other; they do not listen to others. */
  #watch(): void {
    const { ring, links } = this.#options
    if (this.#isWatching || findMember(ring.ring, links.self) === undefined) return
    this.#isWatching = true
    this.#membership.start()
  }

  /** Finds members that have moved since this node last ran, until one of them is linked. */
  async #meetSeeds(): Promise<void> {
    const { clock, seeds, logger } = this.#options
    for (let attempt = 0; !this.#isStopped && !this.#isLinked; attempt++) {
      for (const seed of seeds) await this.#meetSeed(seed)
      if (this.#isLinked) return
      if (attempt === 0) logger.info('no other member is linked yet', { seeds })
      const waitMs = Math.min(SEED_RETRY_MAX_MS, SEED_RETRY_MS * 2 ** attempt)
      await delay(clock, waitMs, { background: true })
    }
  }

  async #meetSeed(seed: string): Promise<void> {
    const { links, logger } = this.#options
    if (this.#isStopped) return
    try {
      const node = await links.meet(seed)
      links.hintAddress(node, seed)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      // Its own address among the seeds is fine.
      if (error instanceof InvalidArgumentError) logger.debug('not met', { seed, error })
      else logger.info('an address that was given does not answer', { seed, error })
    }
  }

  get #isLinked(): boolean {
    const { ring, links } = this.#options
    return ring.ring.members.some(({ nodeId }) => nodeId !== links.self && links.isLinked(nodeId))
  }
}

/** By the names of AppState; of what this build does not know the number is the name. */
function namedStates(states: Profile['states'] = new Map()): Readonly<Record<string, number>> {
  const names = new Map(Object.entries(AppState).map(([name, key]) => [key as number, name]))
  return Object.fromEntries([...states].map(([key, value]) => [names.get(key) ?? key, value]))
}
