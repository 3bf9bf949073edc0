/**
 * Who of the members is up: the SWIM protocol (Das et al. 2002) with Lifeguard (Dadgar et al.
 * 2018), over the links between nodes. It says whom to send requests to; it never moves ownership.
 *
 * A tick every gossipIntervalMs drives everything: probes, suspicions that end, gossip, and now and
 * then an exchange of everything with one node. Members are those of the current ring; who is not,
 * or was removed, is not listened to, and told so. Members that are down are probed for ever.
 */
import type { CancelTimer } from '../clock.ts'
import { KvError } from '../errors.ts'
import { GossipQueue } from './gossip-queue.ts'
import type { Liveness, LivenessView } from './liveness.ts'
import { LocalHealth } from './local-health.ts'
import { aliveClaim, type Claim, firstIncarnation } from './member-claim.ts'
import { type Heard, Opinion } from './member-opinion.ts'
import type { AppStateKey, Profile } from './member-profile.ts'
import { decodeMembership, encodeMembership, type MembershipMessage } from './membership-format.ts'
import {
  MEMBERSHIP_DEFAULTS,
  type MembershipConfig,
  type MembershipOptions,
  type MemberView,
} from './membership-options.ts'
import { type PeerContext, PeerMessage } from './peers.ts'
import { probe } from './probe-round.ts'
import { ProfileBook } from './profile-book.ts'
import { chooseSome } from './random-choice.ts'
import { RingChangeError } from './ring-change.ts'
import type { NodeId } from './ring-member.ts'
import { type SuspicionTimes, suspicionTimes } from './suspicion.ts'

export class Membership implements LivenessView {
  readonly #options: MembershipOptions
  readonly #config: MembershipConfig
  readonly #self: NodeId
  readonly #health = new LocalHealth()
  readonly #queue = new GossipQueue()
  readonly #book: ProfileBook
  readonly #opinions = new Map<NodeId, Opinion>()
  readonly #listeners = new Set<(node: NodeId, liveness: Liveness) => void>()
  readonly #profileListeners = new Set<(profile: Profile) => void>()
  /** Nodes that a probe is under way to. */
  readonly #probing = new Set<NodeId>()
  #times: SuspicionTimes
  #incarnation: number
  /** Whom to probe next, the last first. */
  #round: NodeId[] = []
  #isStopped = false
  #cancelTick: CancelTimer | undefined
  #stopListening: (() => void) | undefined
  #tickDueMs = 0
  #probeDueMs = 0
  #lookDueMs = 0
  #sampleDueMs = 0
  #fullStateDueMs = 0

  constructor(options: MembershipOptions) {
    const { peers, clock, generation, addresses, ring } = options
    this.#options = options
    this.#config = { ...MEMBERSHIP_DEFAULTS, ...options.config }
    this.#self = peers.self
    this.#incarnation = firstIncarnation(generation)
    this.#book = new ProfileBook(peers.self, generation, ring().epoch, addresses())
    this.#times = suspicionTimes(1, this.#config.probeIntervalMs)
    this.#tickDueMs = clock.monotonicMs()
    this.#listen()
    this.ringChanged()
  }

  #listen(): void {
    const { peers } = this.#options
    peers.handle(PeerMessage.probe, (body, context) => this.#answerProbe(body, context))
    peers.handle(PeerMessage.probeRequest, (body, context) => this.#relayProbe(body, context))
    peers.handle(PeerMessage.gossip, (body, context) => {
      this.#take(body, context)
      return new Uint8Array(0)
    })
    peers.handle(PeerMessage.fullState, (body, context) => {
      this.#take(body, context)
      return this.#fullState()
    })
  }

  /** Begins to probe and to gossip. Once. */
  start(): void {
    const { peers, clock, random } = this.#options
    const nowMs = clock.monotonicMs()
    this.#tickDueMs = nowMs
    this.#probeDueMs = nowMs + random.next() * this.#config.probeIntervalMs
    // What the others know, as soon as one of them is reached.
    this.#fullStateDueMs = nowMs
    this.#queue.addClaim(aliveClaim(this.#self, this.#incarnation))
    this.#queue.addProfile(this.#book.own)
    this.#stopListening = peers.onLink(peer => this.#tryNow(peer))
    for (const node of this.#opinions.keys()) this.#tryNow(node)
    this.#armTick()
  }

  /** Sends nothing more, and changes no opinion. Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#cancelTick?.()
    this.#stopListening?.()
  }

  liveness(node: NodeId): Liveness {
    if (node === this.#self) return 'up'
    return this.#opinions.get(node)?.liveness ?? 'down'
  }

  onLiveness(listener: (node: NodeId, liveness: Liveness) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Calls back with every later profile of another member; returns how to stop that. */
  onProfile(listener: (profile: Profile) => void): () => void {
    this.#profileListeners.add(listener)
    return () => this.#profileListeners.delete(listener)
  }

  /** What the member last told of itself; undefined when that is not known. */
  profile(node: NodeId): Profile | undefined {
    return this.#book.get(node)
  }

  /** Tells a number to all members. Requires an integer in [0, 2^53). */
  publish(key: AppStateKey, value: number): void {
    this.#book.publish(key, value)
  }

  /** How ill this node believes itself to be: 0 for well, to HEALTH_SCORE_MAX. */
  get healthScore(): number {
    return this.#health.score
  }

  /** This node first, then the other members in the order of their ids. */
  members(): MemberView[] {
    const nowMs = this.#options.clock.monotonicMs()
    const profile = this.#book.own
    const own = { nodeId: this.#self, liveness: 'up', incarnation: this.#incarnation } as const
    const others = [...this.#opinions.values()].map(
      ({ node, liveness, incarnation, sinceMs }): MemberView => ({
        nodeId: node,
        liveness,
        incarnation,
        forMs: nowMs - sinceMs,
        profile: this.#book.get(node),
      }),
    )
    return [{ ...own, forMs: nowMs, profile }, ...others]
  }

  /** To be called when another ring is current: its members are those from now on. */
  ringChanged(): void {
    const nowMs = this.#options.clock.monotonicMs()
    const { members } = this.#options.ring()
    const ids = members.map(({ nodeId }) => nodeId).filter(nodeId => nodeId !== this.#self)
    this.#times = suspicionTimes(ids.length + 1, this.#config.probeIntervalMs)
    const isMember = new Set(ids)
    for (const [node, { liveness }] of [...this.#opinions]) {
      if (isMember.has(node)) continue
      this.#opinions.delete(node)
      this.#book.forget(node)
      if (liveness !== 'down') this.#tell(node, 'down')
    }
    this.#queue.keep(node => node === this.#self || isMember.has(node))
    for (const node of ids) {
      if (this.#opinions.has(node)) continue
      this.#opinions.set(node, new Opinion(node, this.#self, this.#times, nowMs))
      for (const listener of this.#listeners) listener(node, 'suspect')
      if (this.#cancelTick !== undefined) this.#tryNow(node)
    }
  }

  // What others say.

  #answerProbe(body: Uint8Array, context: PeerContext): Uint8Array {
    this.#take(body, context)
    return this.#message([aliveClaim(this.#self, this.#incarnation)])
  }

  async #relayProbe(body: Uint8Array, context: PeerContext): Promise<Uint8Array> {
    const { peers } = this.#options
    const [opinion] = this.#take(body, context).claims
    if (opinion === undefined || !this.#opinions.has(opinion.node)) return this.#message([])
    const { node } = opinion
    // Early enough for the asking node to hear of a failure as well.
    const timeoutMs = this.#config.probeTimeoutMs * 0.8
    const ask = this.#message([opinion])
    try {
      const bytes = await peers.request(node, 'urgent', PeerMessage.probe, ask, timeoutMs)
      const answer = decodeMembership(bytes, node)
      this.#merge(node, answer)
      return encodeMembership({ ...answer, epoch: this.#options.ring().epoch })
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return this.#message([])
    }
  }

  /** The message of a member. Throws when it is from somebody else, who is told so. */
  #take(body: Uint8Array, { from }: PeerContext): MembershipMessage {
    const message = decodeMembership(body, from)
    this.#hearEpoch(from, message.epoch)
    const opinion = this.#opinions.get(from)
    if (opinion === undefined) throw this.#stranger(from)
    this.#merge(from, message)
    if (opinion.liveness !== 'up') this.#tryNow(from)
    return message
  }

  #hearEpoch(from: NodeId, epoch: number): void {
    if (epoch > this.#options.ring().epoch && !this.#isStopped) {
      this.#options.onLaterEpoch(from, epoch)
    }
  }

  #stranger(node: NodeId): RingChangeError {
    const { epoch, removedIds } = this.#options.ring()
    if (removedIds.includes(node)) {
      return new RingChangeError(
        'removed',
        `${node} has left this cluster for good: start the node with an empty directory`,
      )
    }
    return new RingChangeError('unknown-member', `${node} is no member in epoch ${epoch}`)
  }

  #merge(from: NodeId, { epoch, claims, profiles }: MembershipMessage): void {
    if (this.#isStopped) return
    this.#hearEpoch(from, epoch)
    for (const profile of profiles) {
      if (!this.#opinions.has(profile.node) || !this.#book.hear(profile)) continue
      this.#queue.addProfile(profile)
      for (const listener of this.#profileListeners) listener(profile)
    }
    const nowMs = this.#options.clock.monotonicMs()
    for (const claim of claims) {
      if (claim.node === this.#self) this.#refute(claim)
      else this.#update(claim.node, opinion => opinion.hear(claim, this.#times, nowMs))
    }
  }

  /** Nobody but this node says how it is: it speaks louder than whoever says something else. */
  #refute({ status, incarnation }: Claim): void {
    const isTrue = status === 'alive' && incarnation <= this.#incarnation
    if (isTrue || incarnation < this.#incarnation) return
    this.#incarnation = incarnation + 1
    this.#queue.addClaim(aliveClaim(this.#self, this.#incarnation))
    if (status === 'alive') return
    this.#health.note(1)
    this.#options.logger.debug('refuted that this node is down', { incarnation, status })
  }

  #update(node: NodeId, change: (opinion: Opinion) => Heard): void {
    const opinion = this.#opinions.get(node)
    if (opinion === undefined) return
    const before = opinion.liveness
    const { news, tryNow } = change(opinion)
    if (news !== undefined) this.#queue.addClaim(news)
    if (opinion.liveness !== before) this.#tell(node, opinion.liveness)
    if (tryNow === true) this.#tryNow(node)
  }

  #tell(node: NodeId, liveness: Liveness): void {
    if (liveness === 'down') this.#options.logger.warn('a member is down', { node })
    else this.#options.logger.info(`a member is ${liveness}`, { node })
    for (const listener of this.#listeners) listener(node, liveness)
  }

  // What this node does by itself.

  #armTick(): void {
    const { clock } = this.#options
    const { gossipIntervalMs } = this.#config
    this.#tickDueMs = clock.monotonicMs() + gossipIntervalMs
    this.#cancelTick = clock.setTimer(gossipIntervalMs, () => this.#tick(), { background: true })
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#noticeDelay(nowMs)
    this.#expire(nowMs)
    this.#probe(nowMs)
    this.#renewProfile(nowMs)
    this.#gossip()
    this.#exchangeFullState(nowMs)
    this.#armTick()
  }

  /** A node that was slow, or stood still, does not blame others for what it missed. */
  #noticeDelay(nowMs: number): void {
    const { lateMs, pauseMs } = this.#config
    const delayMs = nowMs - this.#tickDueMs
    if (delayMs <= lateMs) return
    this.#tickDueMs = nowMs
    this.#health.note(1)
    if (delayMs <= pauseMs) return
    this.#options.logger.warn('this node stood still; looking again at all others', {
      forMs: Math.round(delayMs),
    })
    for (const opinion of this.#opinions.values()) {
      opinion.restart(nowMs)
      this.#tryNow(opinion.node)
    }
  }

  #expire(nowMs: number): void {
    for (const node of this.#opinions.keys()) {
      this.#update(node, opinion => opinion.expire(nowMs))
    }
  }

  #probe(nowMs: number): void {
    const { probeIntervalMs } = this.#config
    if (nowMs >= this.#probeDueMs) {
      this.#probeDueMs = nowMs + this.#health.scale(probeIntervalMs)
      const next = this.#nextInRound()
      if (next !== undefined) this.#tryNow(next)
    }
    if (nowMs < this.#lookDueMs) return
    this.#lookDueMs = nowMs + probeIntervalMs
    for (const node of this.#nodes('suspect')) this.#tryNow(node)
    const [down] = chooseSome(this.#options.random, this.#nodes('down'), 1)
    if (down !== undefined) this.#tryNow(down)
  }

  /** Every member that is up has its turn before any has its next. */
  #nextInRound(): NodeId | undefined {
    for (let turn = 0; turn < 2; turn++) {
      for (let node = this.#round.pop(); node !== undefined; node = this.#round.pop()) {
        if (this.liveness(node) === 'up') return node
      }
      const up = this.#nodes('up')
      this.#round = chooseSome(this.#options.random, up, up.length)
    }
    return undefined
  }

  /** Probes a member, unless that is under way already. */
  #tryNow(node: NodeId): void {
    const opinion = this.#opinions.get(node)
    if (this.#isStopped || opinion === undefined || this.#probing.has(node)) return
    this.#probing.add(node)
    void this.#try(opinion).finally(() => this.#probing.delete(node))
  }

  async #try(opinion: Opinion): Promise<void> {
    const { peers, clock, random } = this.#options
    const { probeIntervalMs, probeTimeoutMs, relays } = this.#config
    const { node } = opinion
    const wasDown = opinion.liveness === 'down'
    const startedMs = clock.monotonicMs()
    const others = this.#nodes('up').filter(other => other !== node)
    const result = await probe(peers, clock, {
      target: node,
      relays: wasDown ? [] : chooseSome(random, others, relays),
      body: this.#message([opinion.claim]),
      timeoutMs: probeTimeoutMs,
      // Nobody is blamed for staying down.
      intervalMs: wasDown ? probeIntervalMs : this.#health.scale(probeIntervalMs),
    })
    // What failed while this node stood still failed because of that.
    this.#noticeDelay(clock.monotonicMs())
    if (this.#isStopped || this.#opinions.get(node) !== opinion) return
    if (result.answer !== undefined) {
      this.#health.note(-1)
      this.#merge(node, result.answer)
    } else if (!wasDown) {
      this.#health.note(result.asked > 0 ? result.silent : 1)
      const nowMs = clock.monotonicMs()
      this.#update(node, known => known.failToReach(startedMs, this.#times, nowMs))
    }
  }

  #renewProfile(nowMs: number): void {
    const { ring, addresses, states } = this.#options
    const { publishIntervalMs } = this.#config
    if (nowMs >= this.#sampleDueMs) {
      this.#sampleDueMs = nowMs + publishIntervalMs
      for (const [key, value] of states?.() ?? []) this.#book.publish(key, value)
    }
    if (!this.#book.renew(ring().epoch, addresses(), nowMs, publishIntervalMs)) return
    this.#queue.addProfile(this.#book.own)
  }

  #gossip(): void {
    const { peers, random } = this.#options
    const { gossipFanout, gossipBytesMax } = this.#config
    if (this.#queue.length === 0) return
    const reachable = [...this.#nodes('up'), ...this.#nodes('suspect')].filter(node =>
      peers.isLinked(node),
    )
    if (reachable.length === 0) return
    const { epoch } = this.#options.ring()
    const news = this.#queue.take(gossipBytesMax, this.#opinions.size + 1)
    const message = encodeMembership({ epoch, ...news })
    for (const target of chooseSome(random, reachable, gossipFanout)) {
      peers.send(target, 'urgent', PeerMessage.gossip, message)
    }
  }

  #exchangeFullState(nowMs: number): void {
    if (nowMs < this.#fullStateDueMs) return
    const { random } = this.#options
    const { fullStateIntervalMs } = this.#config
    const [node] = chooseSome(random, this.#nodes('up'), 1)
    if (node === undefined) return
    const scale = Math.max(1, Math.ceil(Math.log2(this.#opinions.size + 1) - 5) + 1)
    this.#fullStateDueMs = nowMs + fullStateIntervalMs * scale * (0.5 + random.next())
    void this.#exchangeWith(node, fullStateIntervalMs)
  }

  async #exchangeWith(node: NodeId, timeoutMs: number): Promise<void> {
    const { peers, logger } = this.#options
    const { fullState } = PeerMessage
    try {
      const answer = await peers.request(node, 'bulk', fullState, this.#fullState(), timeoutMs)
      this.#merge(node, decodeMembership(answer, node))
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('no exchange of everything this time', { node, error })
    }
  }

  #fullState(): Uint8Array {
    const { epoch } = this.#options.ring()
    const own = aliveClaim(this.#self, this.#incarnation)
    const claims = [own, ...[...this.#opinions.values()].map(({ claim }) => claim)]
    return encodeMembership({ epoch, claims, profiles: this.#book.all() })
  }

  /** A probe or an answer: those claims, and this node's own profile. */
  #message(claims: readonly Claim[]): Uint8Array {
    const profiles = [this.#book.own]
    return encodeMembership({ epoch: this.#options.ring().epoch, claims, profiles })
  }

  #nodes(liveness: Liveness): NodeId[] {
    const nodes: NodeId[] = []
    for (const opinion of this.#opinions.values()) {
      if (opinion.liveness === liveness) nodes.push(opinion.node)
    }
    return nodes
  }
}
