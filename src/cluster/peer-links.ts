/**
 * The links of a node to all others: the production implementation of Peers.
 *
 *   new --handle--> listen, setMembers --> linking --close, or a later life of this node--> closed
 *
 * Each node dials every other member, three lanes each, and asks over the links that it dialled;
 * it answers over those that others dialled. So there is nothing to agree on about who dials.
 *
 * Invariants:
 *  1. Members are dialled for as long as they are members, whatever happens.
 *  2. Nothing is sent or answered before both sides have proven to know the cluster secret.
 *  3. Everything that waits is bounded (peer-limits.ts); what would exceed a bound is refused.
 *  4. A node that hears of a later life of itself stops all of this for good: it is fenced.
 */
import { assert } from '../assert.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import {
  ClosedError,
  InvalidArgumentError,
  KvError,
  LockedError,
  UnavailableError,
} from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Acceptor, Connector, ListenAddress, ListenPolicy } from '../net/index.ts'
import type { Random } from '../random.ts'
import type { SharedSecret } from '../secret.ts'
import { decodeBoots, encodeBoots } from './known-boots.ts'
import { describeRival, PeerBoots } from './peer-boots.ts'
import { PeerDoor } from './peer-door.ts'
import { PeerFlusher } from './peer-flusher.ts'
import {
  type Boot,
  CHALLENGE_SIZE,
  type Hello,
  inOneLine,
  PEER_FEATURES,
  PEER_PROTOCOL_MAX,
  PEER_PROTOCOL_MIN,
  PeerRefusal,
} from './peer-hello.ts'
import { DEFAULT_PEER_LIMITS, type PeerLimits, PeerReceiveBudget } from './peer-limits.ts'
import { newPeerStats, type PeerLinkContext, type PeerStats } from './peer-link-context.ts'
import { type EpochListener, type LinkListener, PeerListeners } from './peer-listeners.ts'
import { PeerMeetings } from './peer-meetings.ts'
import { PeerNode } from './peer-node.ts'
import { type Lane, type PeerHandler, PeerMessage, type Peers } from './peers.ts'
import { LATE_LOOK_MS, ProcessPauses } from './process-pauses.ts'
import type { NodeId } from './ring-member.ts'

/** A node that is no member is given up after so many attempts. */
const GUEST_ATTEMPTS_MAX = 5
/** As LATE_LOOK_MS, for what is believed of others for a moment only. */
const LATE_BELIEF_MS = 100
const NO_ANSWER = new Uint8Array(0)

export interface PeerLinksOptions {
  readonly self: NodeId
  /** This life of the node. */
  readonly boot: Boot
  /** The lives of members that were met before this start. @defaultValue none */
  readonly knownBoots?: ReadonlyMap<NodeId, Boot>
  /** Keeps these for the next start, in the order in which it is called. */
  readonly rememberBoots?: (boots: ReadonlyMap<NodeId, Boot>) => void
  readonly secret: SharedSecret
  readonly clock: Clock
  readonly random: Random
  /** Unpredictable bytes, for challenges. */
  readonly entropy: (length: number) => Uint8Array
  readonly logger: Logger
  readonly connector: Connector
  readonly acceptor: Acceptor
  readonly limits?: Partial<PeerLimits>
  /** 32 hexadecimal digits; NO_CLUSTER while the node belongs to none. */
  readonly clusterId: () => string
  /** The epoch of this node's ring. */
  readonly epoch: () => number
  /** Where others reach this node, `host:port`; empty when it does not know. */
  readonly address: () => string
  /** There is a later life of this node. It must stop serving; its links are closed already. */
  readonly fenced: (error: KvError) => void
}

/** What the links need to know of a member. */
export interface LinkedMember {
  readonly nodeId: NodeId
  readonly peerAddress: string
}

/** What a node says of its links in its statistics. */
export interface LinkFigures extends Readonly<PeerStats> {
  /** Other members of the ring. */
  readonly members: number
  /** Of them, those whose data lane is open. */
  readonly linked: number
  /** Nodes that are no members and are dialled all the same. */
  readonly guests: number
  readonly accepted: number
  /** Accepted wires whose handshake is not over. */
  readonly strangers: number
  /** Bytes that wait for other nodes. */
  readonly backlogBytes: number
  /** Bytes of answers that other nodes have not taken. */
  readonly answersBytes: number
  /** Requests of other nodes that are being answered. */
  readonly inFlight: number
  /** Bytes of frames that have come in part. */
  readonly receiveBytes: number
}

export class PeerLinks implements Peers {
  readonly self: NodeId
  readonly #options: PeerLinksOptions
  readonly #context: PeerLinkContext
  readonly #handlers: (PeerHandler | undefined)[] = []
  readonly #door: PeerDoor
  readonly #boots: PeerBoots
  readonly #nodes = new Map<NodeId, PeerNode>()
  readonly #meetings: PeerMeetings
  readonly #listeners = new PeerListeners()
  #cancelSweep: CancelTimer | undefined
  readonly #pauses: ProcessPauses
  #started = false
  #stopped: KvError | undefined
  #closing: Promise<void> | undefined

  constructor(options: PeerLinksOptions) {
    this.self = options.self
    this.#options = options
    const { clock, logger, secret } = options
    const limits = { ...DEFAULT_PEER_LIMITS, ...options.limits }
    this.#boots = new PeerBoots(options.self, options.boot, options.knownBoots, {
      reborn: (node, boot) => this.#reborn(node, boot),
      superseded: boot => this.#supersededBy(boot),
      remember: (boots, node) => {
        options.rememberBoots?.(boots)
        this.#tellBoots([...this.#nodes.keys()], new Map([[node, boots.get(node)!]]))
      },
    })
    this.#pauses = new ProcessPauses(limits.sweepMs)
    this.#context = {
      clock,
      logger,
      secret,
      limits,
      flusher: new PeerFlusher(),
      budget: new PeerReceiveBudget(limits.receiveBytesMax),
      handlers: this.#handlers,
      stats: newPeerStats(),
      pauses: this.#pauses,
      epoch: options.epoch,
      hello: lane => this.#hello(lane),
      judge: peer => this.#boots.judge(peer),
      heard: (peer, epoch) => this.#heard(peer, epoch),
    }
    this.handle(PeerMessage.boots, body => this.#learnBoots(body))
    this.#meetings = new PeerMeetings(this.#context, options.connector)
    this.#door = new PeerDoor(this.#context, {
      arrived: peer => this.#arrived(peer),
      refusedBy: (node, code, message) => this.#refusedBy(node, code, message),
    })
  }

  /** What is linked and waits now, and counters since the start. */
  figures(): LinkFigures {
    const nodes = [...this.#nodes.values()]
    const members = nodes.filter(node => node.isMember)
    return {
      members: members.length,
      linked: members.filter(node => node.isLinked).length,
      guests: nodes.length - members.length,
      accepted: this.#door.linkCount,
      strangers: this.#door.strangerCount,
      backlogBytes: nodes.reduce((sum, node) => sum + node.backlogBytes, 0),
      answersBytes: this.#door.answersBytes,
      inFlight: this.#door.inFlight,
      receiveBytes: this.#context.budget.size,
      ...this.#context.stats,
    }
  }

  handle(kind: number, handler: PeerHandler): void {
    assert(!this.#started, 'handlers are there before the links')
    assert(this.#handlers[kind] === undefined, `one handler answers messages of kind ${kind}`)
    this.#handlers[kind] = handler
  }

  /** Lets other nodes in. Resolves with the address; rejects as Acceptor.listen does. */
  async listen(wanted: ListenAddress, policy: ListenPolicy): Promise<ListenAddress> {
    this.#start()
    return this.#door.listen(this.#options.acceptor, wanted, policy)
  }

  /** Says who the members are, and who never returns. Dials the new ones, drops the others. */
  setMembers(members: readonly LinkedMember[], removedIds: readonly NodeId[]): void {
    this.#start()
    const ids = new Set(members.map(({ nodeId }) => nodeId))
    const removed = new Set(removedIds)
    this.#boots.setMembers(ids, removed)
    for (const node of [...this.#nodes.values()]) {
      if (!node.isMember && !removed.has(node.nodeId)) continue
      if (ids.has(node.nodeId)) continue
      this.#drop(node, `node ${node.nodeId} is no member any more`)
    }
    const message = 'the node was removed from the cluster for good'
    this.#door.refuse(PeerRefusal.removed, message, peer => removed.has(peer.nodeId))
    for (const { nodeId, peerAddress } of members) {
      if (nodeId === this.self) continue
      const node = this.#nodes.get(nodeId) ?? this.#add(nodeId, true)
      node.isMember = true
      node.setRingAddress(peerAddress)
      node.wake()
    }
  }

  /**
   * Where a node is said to be, which may be newer than what the ring says. With the generation of
   * the life (Boot) in which it was there, it is ignored when a later life of it is known.
   */
  hintAddress(nodeId: NodeId, address: string, lifeGeneration = Number.MAX_SAFE_INTEGER): void {
    const known = this.#boots.get(nodeId)
    if (known !== undefined && known.generation > lifeGeneration) return
    this.#nodes.get(nodeId)?.hintAddress(address)
  }

  /**
   * Finds out who is at an address, and links to it as a guest: it is dialled until it is a member,
   * or cannot be reached any more. Resolves to its id once all lanes are open; rejects with why
   * they are not.
   */
  async meet(address: string): Promise<NodeId> {
    this.#start()
    const { nodeId } = await this.#meetings.greet(address)
    if (nodeId === this.self) {
      throw new InvalidArgumentError(`${address} is the address of this node itself`)
    }
    const node = this.#nodes.get(nodeId) ?? this.#add(nodeId, false)
    node.hintAddress(address)
    if (!node.isComplete) await this.#meetings.untilComplete(node)
    return nodeId
  }

  #start(): void {
    if (this.#stopped !== undefined) throw this.#stopped
    if (this.#started) return
    this.#started = true
    this.#pauses.look(this.#context.clock.monotonicMs())
    this.#scheduleSweep()
  }

  #add(nodeId: NodeId, isMember: boolean): PeerNode {
    if (!isMember) this.#makeRoomForGuest()
    const { connector, random } = this.#options
    const parts = { context: this.#context, connector, random }
    const node = new PeerNode(nodeId, isMember, parts, {
      complete: which => {
        this.#meetings.completed(which)
      },
      linkChanged: (which, isLinked) => this.#tellLink(which.nodeId, isLinked),
      silenceChanged: which => this.#listeners.answering.tell(which.nodeId),
      refusedBy: (id, code, message) => this.#refusedBy(id, code, message),
      foundOther: (id, address) => void this.#foundOther(id, address),
      guestFailed: (guest, attempt) => {
        if (attempt >= GUEST_ATTEMPTS_MAX) this.#drop(guest, 'it could not be reached')
      },
    })
    this.#nodes.set(nodeId, node)
    return node
  }

  /**
   * Members have changed places, as where a machine's address is given to another one: who is met
   * there, with a proof, is looked for there from then on, and hears in turn where this node is.
   */
  async #foundOther(nodeId: NodeId, address: string): Promise<void> {
    const node = this.#nodes.get(nodeId)
    if (node?.isMember !== true || node.isLinked || node.addresses().includes(address)) return
    try {
      const peer = await this.#meetings.greet(address)
      this.hintAddress(peer.nodeId, address, peer.boot.generation)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#options.logger.debug('a member was not met where it seemed to be', { error })
    }
  }

  #makeRoomForGuest(): void {
    const guests = [...this.#nodes.values()].filter(node => !node.isMember)
    if (guests.length < this.#context.limits.guestsMax) return
    this.#drop(guests[0]!, 'too many nodes that are no members were met')
  }

  #drop(node: PeerNode, why: string): void {
    if (this.#nodes.get(node.nodeId) !== node) return
    this.#nodes.delete(node.nodeId)
    node.stop(new ClosedError(why))
  }

  send(peer: NodeId, lane: Lane, kind: number, body: Uint8Array): boolean {
    const link = this.#nodes.get(peer)?.link(lane)
    if (link !== undefined) return link.send(kind, body)
    this.#context.stats.dropped++
    return false
  }

  async request(
    peer: NodeId,
    lane: Lane,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    if (this.#stopped !== undefined) throw new UnavailableError(this.#stopped.message)
    const node = this.#nodes.get(peer)
    if (node === undefined) throw new UnavailableError(`node ${peer} is no member`)
    return node.requireLink(lane).request(kind, body, timeoutMs)
  }

  isLinked(peer: NodeId): boolean {
    return this.#nodes.get(peer)?.isLinked === true
  }

  onLink(listener: LinkListener): () => void {
    return this.#listeners.link.add(listener)
  }

  isAnswering(peer: NodeId): boolean {
    return this.#nodes.get(peer)?.isAnswering === true
  }

  onAnswering(listener: (peer: NodeId) => void): () => void {
    return this.#listeners.answering.add(listener)
  }

  /** Calls back when a node is seen to go by a later ring than this one; returns how to stop. */
  onEpoch(listener: EpochListener): () => void {
    return this.#listeners.epoch.add(listener)
  }

  /** Calls back when a member says that this node has left for good; returns how to stop. */
  onRemoved(listener: (why: string) => void): () => void {
    return this.#listeners.removal.add(listener)
  }

  backlogBytes(peer: NodeId, lane: Lane): number {
    return this.#nodes.get(peer)?.link(lane)?.backlogBytes ?? 0
  }

  isReceivingLarge(peer: NodeId, lane: Lane): boolean {
    const link = this.#nodes.get(peer)?.link(lane)
    return link?.isReceivingLarge(this.#context.clock.monotonicMs()) === true
  }

  /** Most members have taken this start, and that is durable: tells all that are linked. */
  startTaken(): void {
    this.#boots.taken()
    this.#tellBoots([...this.#nodes.keys()], new Map([[this.self, this.#boots.own]]))
  }

  /** Which starts were met here. Who is not linked is told of all when it is. */
  #tellBoots(to: readonly NodeId[], boots: ReadonlyMap<NodeId, Boot>): void {
    const body = encodeBoots(boots)
    for (const node of to) {
      if (this.isLinked(node)) this.send(node, 'data', PeerMessage.boots, body)
    }
  }

  /** Those of a later form are for later builds. */
  #learnBoots(body: Uint8Array): Uint8Array {
    const boots = decodeBoots(body)
    if (boots !== undefined) this.#boots.learn(boots)
    return NO_ANSWER
  }

  #tellLink(peer: NodeId, isLinked: boolean): void {
    if (isLinked) this.#tellBoots([peer], this.#boots.all)
    this.#listeners.link.tell(peer, isLinked)
  }

  #heard(peer: NodeId, epoch: number): void {
    if (epoch > this.#options.epoch()) this.#listeners.epoch.tell(peer, epoch)
  }

  #hello(lane: Lane): Hello {
    const { self: nodeId, boot, clusterId, entropy, address } = this.#options
    return {
      protocolMin: PEER_PROTOCOL_MIN,
      protocolMax: PEER_PROTOCOL_MAX,
      features: PEER_FEATURES,
      lane,
      clusterId: clusterId(),
      nodeId,
      boot,
      challenge: entropy(CHALLENGE_SIZE),
      address: address(),
    }
  }

  /** A node came in by the door: it is alive, so it is dialled at once. */
  #arrived({ nodeId, address }: Hello): void {
    const node = this.#nodes.get(nodeId)
    if (node === undefined) return
    node.hintAddress(address)
    node.wake()
  }

  #reborn(nodeId: NodeId, boot: Boot): void {
    const message = `node ${nodeId} was started again (start ${boot.generation})`
    const isEarlier = (peer: Hello): boolean =>
      peer.nodeId === nodeId && peer.boot.nonce !== boot.nonce
    this.#door.refuse(PeerRefusal.superseded, message, isEarlier)
    this.#nodes.get(nodeId)?.endBefore(boot, PeerRefusal.superseded, message)
  }

  #refusedBy(peer: NodeId, code: number, text: string): void {
    const message = inOneLine(text)
    const fields = { node: peer, why: message }
    if (code === PeerRefusal.superseded) this.#fence(message)
    else if (code === PeerRefusal.removed) {
      this.#options.logger.error('this node was removed from its cluster', fields)
      this.#listeners.removal.tell(message)
    }
  }

  #supersededBy(boot: Boot): void {
    this.#fence(describeRival(this.self, this.#options.boot, boot))
  }

  #fence(why: string): void {
    if (this.#stopped !== undefined) return
    const error = new LockedError(
      `this node stops, for another process is the same node: ${why}. This directory is an old ` +
        'copy, or was copied, and starts no more. Start the other one; only if that is lost, ' +
        'take this one back with: kvcli debug readmit <directory>',
    )
    this.#options.logger.error('fenced', { node: this.self, why: error.message })
    this.#stop(error).catch((failure: unknown) => {
      this.#options.logger.error('the port of a node that stops stays', { error: failure })
    })
    this.#options.fenced(error)
  }

  #scheduleSweep(): void {
    const { clock, limits } = this.#context
    this.#cancelSweep = clock.setTimer(limits.sweepMs, () => this.#sweep(), { background: true })
  }

  #sweep(): void {
    const nowMs = this.#context.clock.monotonicMs()
    const lateMs = this.#pauses.look(nowMs)
    const nodes = [...this.#nodes.values()]
    if (lateMs > LATE_LOOK_MS) {
      for (const links of [this.#door, ...nodes, this.#meetings]) links.forgive(lateMs)
    }
    for (const links of [this.#door, this.#meetings]) links.sweep(nowMs)
    for (const node of nodes) node.sweep(nowMs, lateMs > LATE_BELIEF_MS)
    this.#scheduleSweep()
  }

  /** Ends all links. Resolves once the port is free. Idempotent. */
  close(): Promise<void> {
    return this.#stop(new ClosedError('the node was closed'))
  }

  #stop(error: KvError): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    this.#stopped = error
    this.#cancelSweep?.()
    for (const node of this.#nodes.values()) node.stop(error)
    this.#meetings.stop(error)
    this.#closing = this.#door.close()
    return this.#closing
  }
}
