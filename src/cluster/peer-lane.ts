/**
 * One lane to one peer: a link that is dialled again and again, for as long as the peer matters.
 *
 *   waiting --time, or a sign of life--> dialling --> open --broken--> waiting
 *
 * Between two attempts lies a time that grows, with jitter, so that a node which returns is not
 * met by everybody at once; a link that lasted starts the series anew.
 */
import type { CancelTimer } from '../clock.ts'
import { InvalidArgumentError, type KvError } from '../errors.ts'
import { backoffMs, type Connector } from '../net/index.ts'
import type { Random } from '../random.ts'
import { DialledLink, type DialledLinkOwner, type LinkEnd } from './dialled-link.ts'
import { parsePeerAddress } from './peer-address.ts'
import { type Hello, PeerRefusal } from './peer-hello.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import type { Lane } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** A link that was open for so long was a good one. */
const LASTING_MS = 5000

export interface PeerLaneOwner {
  /** Where the peer may be, the likeliest first. */
  addresses(): readonly string[]
  opened(lane: PeerLane, peer: Hello): void
  /** A link that was open is not any more. */
  broken(lane: PeerLane, error: KvError): void
  /** An attempt failed; `attempt` counts from 1. */
  failed(lane: PeerLane, end: LinkEnd, attempt: number): void
  /** Who was dialled is not at the address, but another node is, as that says itself. */
  foundOther(nodeId: NodeId, address: string): void
}

export interface PeerLaneParts {
  readonly context: PeerLinkContext
  readonly connector: Connector
  readonly random: Random
  readonly nodeId: NodeId
  readonly lane: Lane
}

export class PeerLane implements DialledLinkOwner {
  readonly lane: Lane
  readonly #parts: PeerLaneParts
  readonly #owner: PeerLaneOwner
  #link: DialledLink | undefined
  #address = ''
  #isOpen = false
  #openedMs = 0
  /** Attempts since the last good link. */
  #attempt = 0
  #cancelTimer: CancelTimer | undefined
  #stopped = false

  constructor(parts: PeerLaneParts, owner: PeerLaneOwner) {
    this.lane = parts.lane
    this.#parts = parts
    this.#owner = owner
  }

  /** The link, while it is open. */
  get link(): DialledLink | undefined {
    return this.#isOpen && this.#link?.isOpen === true ? this.#link : undefined
  }

  get attempts(): number {
    return this.#attempt
  }

  /** Dials now, unless it does already: at the start, and when there is a sign of life. */
  dial(): void {
    if (this.#stopped || this.#link !== undefined) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    const { context, connector, nodeId, lane } = this.#parts
    const addresses = this.#owner.addresses()
    const text = addresses[this.#attempt % Math.max(1, addresses.length)]
    this.#attempt++
    try {
      // A node whose address nobody knows yet is waited for.
      if (text === undefined) {
        this.#waitBeforeNext()
        return
      }
      const address = parsePeerAddress(text)
      this.#address = text
      const link = new DialledLink(context, { connector, address, lane, expected: nodeId }, this)
      this.#link = link
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      this.#owner.failed(this, { error, refusal: undefined, other: undefined }, this.#attempt)
      this.#waitBeforeNext()
    }
  }

  #waitBeforeNext(refusalCode?: number): void {
    if (this.#stopped || this.#cancelTimer !== undefined) return
    const { context, random } = this.#parts
    const { redialMinMs: delayMinMs, redialMaxMs: delayMaxMs } = context.limits
    // Nobody's mind changes quickly who refuses for good.
    const attempt = isFinal(refusalCode) ? Number.MAX_SAFE_INTEGER : this.#attempt
    const delayMs = backoffMs(attempt, { delayMinMs, delayMaxMs }, random)
    const dial = (): void => {
      this.#cancelTimer = undefined
      this.dial()
    }
    this.#cancelTimer = context.clock.setTimer(delayMs, dial, { background: true })
  }

  opened(_link: DialledLink, peer: Hello): void {
    this.#isOpen = true
    this.#openedMs = this.#parts.context.clock.monotonicMs()
    this.#owner.opened(this, peer)
  }

  closed(_link: DialledLink, end: LinkEnd): void {
    const wasOpen = this.#isOpen
    this.#isOpen = false
    this.#link = undefined
    const nowMs = this.#parts.context.clock.monotonicMs()
    if (wasOpen && nowMs - this.#openedMs >= LASTING_MS) this.#attempt = 0
    if (wasOpen) this.#owner.broken(this, end.error)
    else this.#owner.failed(this, end, this.#attempt)
    if (end.other !== undefined) this.#owner.foundOther(end.other, this.#address)
    this.#waitBeforeNext(end.refusal?.code)
  }

  sweep(nowMs: number): void {
    this.#link?.sweep(nowMs)
  }

  forgive(ms: number): void {
    this.#link?.forgive(ms)
  }

  /** Ends the link, tells the peer why, and dials again, unless stopped. */
  refuse(code: number, message: string): void {
    this.#link?.refuse(code, message)
  }

  /** Never dials again; what is pending fails with this error. */
  stop(error: KvError): void {
    this.#stopped = true
    this.#cancelTimer?.()
    this.#link?.destroy(error)
  }
}

function isFinal(code: number | undefined): boolean {
  return (
    code === PeerRefusal.removed ||
    code === PeerRefusal.superseded ||
    code === PeerRefusal.secret ||
    code === PeerRefusal.cluster ||
    code === PeerRefusal.version
  )
}
