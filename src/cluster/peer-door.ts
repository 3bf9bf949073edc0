/**
 * The door for other nodes: wires that were accepted, from strangers to open links.
 *
 * Invariants:
 *  1. Strangers, whose handshake is not over, are bounded in number, time and memory; so are links.
 *     One more takes the place of the one that waits longest, so a flood of them keeps out no node,
 *     whose handshake takes milliseconds.
 *  2. A node has one accepted link a lane: a later one takes the place of an earlier, which most
 *     likely has no other end any more.
 */
import { ClosedError, type KvError, OverloadedError } from '../errors.ts'
import {
  type AcceptedWire,
  type Acceptor,
  type ListenAddress,
  type Listening,
  type ListenPolicy,
  listenSafely,
} from '../net/index.ts'
import { AcceptedLink, type AcceptedLinkOwner } from './accepted-link.ts'
import { type Hello, PeerRefusal } from './peer-hello.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import type { NodeId } from './ring-member.ts'

/** Each reason is logged once in this time, and so many of them: no flood may flood the log. */
const NOTICE_INTERVAL_MS = 60_000
const NOTICES_MAX = 10

export interface PeerDoorOwner {
  /** A node has come in: it is alive, and may be where it says. */
  arrived(peer: Hello): void
  /** A node that knows the secret refuses this one. */
  refusedBy(peer: NodeId, code: number, message: string): void
}

export class PeerDoor implements AcceptedLinkOwner {
  readonly #context: PeerLinkContext
  readonly #owner: PeerDoorOwner
  readonly #strangers = new Set<AcceptedLink>()
  /** By node and lane. */
  readonly #links = new Map<string, AcceptedLink>()
  readonly #ending = new Set<AcceptedLink>()
  #listening: Listening | undefined
  #isClosing = false
  /** Why links were refused since #noticedMs, and how many were not logged. */
  readonly #noticed = new Set<string>()
  #noticedMs: number
  #unloggedCount = 0

  constructor(context: PeerLinkContext, owner: PeerDoorOwner) {
    this.#context = context
    this.#owner = owner
    this.#noticedMs = context.clock.monotonicMs()
  }

  get linkCount(): number {
    return this.#links.size
  }

  get strangerCount(): number {
    return this.#strangers.size
  }

  /** Answers that other nodes have not taken. */
  get answersBytes(): number {
    return this.#all().reduce((sum, link) => sum + link.backlogBytes, 0)
  }

  /** Requests that are being answered. */
  get inFlight(): number {
    return this.#all().reduce((sum, link) => sum + link.inFlight, 0)
  }

  /** Resolves with the address once nodes are let in. */
  async listen(
    acceptor: Acceptor,
    wanted: ListenAddress,
    policy: ListenPolicy,
  ): Promise<ListenAddress> {
    const { logger, limits } = this.#context
    const failed = (error: Error): void => logger.error('accepting nodes failed', { error })
    const { keepAliveMs } = limits
    this.#listening = await listenSafely(acceptor, { wanted, policy, keepAliveMs, failed }, wire =>
      this.#accept(wire),
    )
    return this.#listening.address
  }

  #accept(wire: AcceptedWire): AcceptedLink | undefined {
    const { limits, stats } = this.#context
    if (this.#isClosing) return undefined
    if (this.#strangers.size >= limits.strangersMax) {
      stats.turnedAway++
      const [longest] = this.#strangers
      longest?.destroy(new OverloadedError('too many strangers are at the door', 1000))
    }
    const link = new AcceptedLink(this.#context, wire, this)
    this.#strangers.add(link)
    return link
  }

  opened(link: AcceptedLink, peer: Hello): void {
    this.#strangers.delete(link)
    const place = placeOf(peer)
    const earlier = this.#links.get(place)
    if (earlier === undefined && this.#links.size >= this.#context.limits.acceptedMax) {
      this.#end(link, PeerRefusal.full, `${this.#links.size} links of nodes are open`)
      return
    }
    if (earlier !== undefined) {
      this.#end(earlier, PeerRefusal.replaced, 'a later link of the same node took its place')
    }
    this.#links.set(place, link)
    this.#owner.arrived(peer)
  }

  #end(link: AcceptedLink, code: number, message: string): void {
    this.#ending.add(link)
    link.refuse(code, message)
  }

  refused(link: AcceptedLink, peer: NodeId, code: number, message: string): void {
    this.#notice(link, message)
    this.#owner.refusedBy(peer, code, message)
  }

  closed(link: AcceptedLink, error: Error | undefined): void {
    const wasStranger = this.#strangers.delete(link)
    this.#ending.delete(link)
    const { peer } = link
    if (peer !== undefined && this.#links.get(placeOf(peer)) === link) {
      this.#links.delete(placeOf(peer))
    }
    if (error === undefined) return
    if (wasStranger) this.#notice(link, error.message)
    else this.#context.logger.debug('a link of a node ended', { node: peer?.nodeId, error })
  }

  #notice(link: AcceptedLink, why: string): void {
    if (this.#noticed.has(why) || this.#noticed.size >= NOTICES_MAX) {
      this.#unloggedCount++
      return
    }
    this.#noticed.add(why)
    const fields = { address: link.remoteAddress, node: link.claimed?.nodeId, why }
    this.#context.logger.warn('a link of a node was refused', fields)
  }

  #sweepNotices(nowMs: number): void {
    if (nowMs - this.#noticedMs < NOTICE_INTERVAL_MS) return
    const count = this.#unloggedCount
    if (count > 0) this.#context.logger.warn('more links of nodes were refused', { count })
    this.#noticed.clear()
    this.#noticedMs = nowMs
    this.#unloggedCount = 0
  }

  /** Called every so often. */
  sweep(nowMs: number): void {
    this.#sweepNotices(nowMs)
    for (const link of this.#all()) link.sweep(nowMs)
  }

  forgive(ms: number): void {
    for (const link of this.#all()) link.forgive(ms)
  }

  #all(): AcceptedLink[] {
    return [...this.#strangers, ...this.#links.values(), ...this.#ending]
  }

  /** Ends the links that this node has here, those for which `isMeant`. */
  refuse(code: number, message: string, isMeant: (peer: Hello) => boolean): void {
    for (const [place, link] of this.#links) {
      if (link.peer === undefined || !isMeant(link.peer)) continue
      this.#links.delete(place)
      this.#end(link, code, message)
    }
  }

  /** Lets nobody in any more and ends all links. Resolves once the port is free. */
  async close(error: KvError = new ClosedError('the node is about to stop')): Promise<void> {
    this.#isClosing = true
    for (const link of this.#strangers) link.destroy(undefined)
    this.refuse(PeerRefusal.closing, error.message, () => true)
    const { clock, limits } = this.#context
    const cancel = clock.setTimer(limits.lingerMs, () => {
      for (const link of this.#all()) link.destroy(undefined)
    })
    await this.#listening?.close()
    cancel()
  }
}

function placeOf({ nodeId, lane }: Hello): string {
  return `${nodeId}/${lane}`
}
