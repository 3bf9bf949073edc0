/** Another node as the links see it: where it is, and its three lanes. */
import { type KvError, UnavailableError } from '../errors.ts'
import type { Connector } from '../net/index.ts'
import type { Random } from '../random.ts'
import type { DialledLink, LinkEnd } from './dialled-link.ts'
import type { Boot, Hello } from './peer-hello.ts'
import { PeerLane, type PeerLaneOwner } from './peer-lane.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import { PeerSilence } from './peer-silence.ts'
import type { Lane } from './peers.ts'
import type { NodeId } from './ring-member.ts'

const LANES: readonly Lane[] = ['urgent', 'data', 'bulk']
/** Attempts of a lane that may fail before it is told. */
const ATTEMPTS_QUIET = 3

/** Reasons that are logged before there is a link again. */
const REASONS_MAX = 8

export interface PeerNodeOwner {
  /** All lanes are open. */
  complete(node: PeerNode): void
  /** The data lane came up or broke. */
  linkChanged(node: PeerNode, isLinked: boolean): void
  /** It is linked, and fell silent, or is no longer. */
  silenceChanged(node: PeerNode): void
  /** A node that knows the secret refuses this one. */
  refusedBy(node: NodeId, code: number, message: string): void
  /** Another node says that it is where this one was looked for. */
  foundOther(node: NodeId, address: string): void
  /** An attempt to dial a node that is no member failed. */
  guestFailed(node: PeerNode, attempt: number): void
}

export interface PeerNodeParts {
  readonly context: PeerLinkContext
  readonly connector: Connector
  readonly random: Random
}

export class PeerNode implements PeerLaneOwner {
  readonly nodeId: NodeId
  isMember: boolean
  readonly #context: PeerLinkContext
  readonly #owner: PeerNodeOwner
  readonly #lanes: Readonly<Record<Lane, PeerLane>>
  readonly #silence: PeerSilence
  /** Where the ring says it is; empty when it does not say. */
  #ringAddress = ''
  /** Where it said itself that it is, or was met; newer than the ring. */
  #hintedAddress = ''
  /** The last reason for which there was no link. */
  #lastWhy = ''
  #isStopped = false
  /** Reasons that were logged since there was one: each is logged once. */
  readonly #logged = new Set<string>()

  constructor(nodeId: NodeId, isMember: boolean, parts: PeerNodeParts, owner: PeerNodeOwner) {
    this.nodeId = nodeId
    this.isMember = isMember
    this.#context = parts.context
    this.#owner = owner
    const { silentAfterMs, sweepMs } = parts.context.limits
    this.#silence = new PeerSilence(silentAfterMs, sweepMs)
    const laneOf = (lane: Lane): PeerLane => new PeerLane({ ...parts, nodeId, lane }, this)
    this.#lanes = { urgent: laneOf('urgent'), data: laneOf('data'), bulk: laneOf('bulk') }
  }

  addresses(): readonly string[] {
    const known = [this.#hintedAddress, this.#ringAddress].filter(address => address !== '')
    return [...new Set(known)]
  }

  /** The ring's word on where it is. What the node said itself before that is forgotten. */
  setRingAddress(address: string): void {
    if (address === this.#ringAddress) return
    this.#ringAddress = address
    this.#hintedAddress = ''
    this.wake()
  }

  hintAddress(address: string): void {
    if (address === '' || address === this.addresses()[0]) return
    this.#hintedAddress = address
    this.wake()
  }

  /** Dials the lanes that have no link now: there was a sign of life. */
  wake(): void {
    for (const lane of LANES) this.#lanes[lane].dial()
  }

  link(lane: Lane): DialledLink | undefined {
    return this.#lanes[lane].link
  }

  get isLinked(): boolean {
    return this.link('data') !== undefined
  }

  /** Linked, and not silent when it should not be. */
  get isAnswering(): boolean {
    return this.isLinked && !this.#silence.isSilent
  }

  get backlogBytes(): number {
    return LANES.reduce((sum, lane) => sum + (this.link(lane)?.backlogBytes ?? 0), 0)
  }

  get isComplete(): boolean {
    return LANES.every(lane => this.link(lane) !== undefined)
  }

  /** Throws UnavailableError when the lane has no link. */
  requireLink(lane: Lane): DialledLink {
    const link = this.link(lane)
    if (link !== undefined) return link
    const why = this.#lastWhy === '' ? '' : `: ${this.#lastWhy}`
    throw new UnavailableError(`no link to node ${this.nodeId} is open${why}`)
  }

  opened(lane: PeerLane, peer: Hello): void {
    this.#lastWhy = ''
    this.#logged.clear()
    this.hintAddress(peer.address)
    if (lane.lane === 'data') {
      const { generation } = peer.boot
      this.#silence.reset()
      this.#context.logger.info('linked to a node', { node: this.nodeId, generation })
      this.#owner.linkChanged(this, true)
    }
    if (this.isComplete) this.#owner.complete(this)
  }

  broken(lane: PeerLane, error: KvError): void {
    if (lane.lane !== 'data') return
    // That one's own links end with the node is no news; that the other one stops is no worry.
    const level = this.#isStopped ? 'debug' : error.code === 'KV_CLOSED' ? 'info' : 'warn'
    this.#context.logger[level]('the link to a node broke', { node: this.nodeId, error })
    this.#owner.linkChanged(this, false)
  }

  failed(lane: PeerLane, { error, refusal }: LinkEnd, attempt: number): void {
    const { logger } = this.#context
    const fields = { node: this.nodeId, lane: lane.lane, attempt, error }
    this.#lastWhy = error.message
    // Nodes that are started together find each other within a moment; a refusal is told at once.
    const isEarly = attempt < ATTEMPTS_QUIET && refusal === undefined
    if (isEarly || this.#logged.has(error.message) || this.#logged.size >= REASONS_MAX) {
      logger.debug('a node cannot be reached', fields)
    } else {
      this.#logged.add(error.message)
      logger.warn('a node cannot be reached; it is dialled for as long as it belongs', fields)
    }
    if (refusal?.isProven === true) {
      this.#owner.refusedBy(this.nodeId, refusal.code, refusal.message)
    }
    if (!this.isMember) this.#owner.guestFailed(this, attempt)
  }

  foundOther(nodeId: NodeId, address: string): void {
    this.#owner.foundOther(nodeId, address)
  }

  /** `isLate`: this process was held up. */
  sweep(nowMs: number, isLate: boolean): void {
    for (const lane of LANES) this.#lanes[lane].sweep(nowMs)
    const data = this.link('data')
    if (data === undefined) return
    const wasSilent = this.#silence.isSilent
    const heardMs = LANES.map(lane => this.link(lane)?.receivedMs ?? 0)
    const isWorrying = this.#silence.swept(Math.max(...heardMs), data.pendingCount > 0, isLate)
    // Nothing that is large waits on the urgent lane.
    if (isWorrying) (this.link('urgent') ?? data).ping(nowMs)
    if (this.#silence.isSilent === wasSilent) return
    const what = wasSilent ? 'a node answers again' : 'a node does not answer, nor pings'
    this.#context.logger.info(what, { node: this.nodeId })
    this.#owner.silenceChanged(this)
  }

  forgive(ms: number): void {
    for (const lane of LANES) this.#lanes[lane].forgive(ms)
  }

  /** Ends the links to an earlier life of the node than `boot`. */
  endBefore(boot: Boot, code: number, message: string): void {
    for (const lane of LANES) {
      const peer = this.#lanes[lane].link?.peer
      if (peer !== undefined && peer.boot.nonce !== boot.nonce) {
        this.#lanes[lane].refuse(code, message)
      }
    }
  }

  stop(error: KvError): void {
    this.#isStopped = true
    for (const lane of LANES) this.#lanes[lane].stop(error)
  }
}
