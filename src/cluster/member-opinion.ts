/**
 * What this node thinks of one other, and how that follows from what it hears and tries. Pure: no
 * clock, no messages.
 *
 *   suspect --alive--> up --accused, or not reached--> suspect --deadline, not reached--> down
 *                       ^------------- refuted ------------|                                |
 *                       +------------------------------ alive ------------------------------+
 *
 * Rules beyond SWIM's:
 *  1. Down is this node's own finding: it takes attempts of its own that failed. Who can be
 *     reached from here is never down because somebody else, who may be cut off, says so.
 *  2. A node that was never heard of begins as a suspect; that is no accusation, and not passed on.
 *  3. That another one found it down shortens the time to refute, as much as all confirmations.
 *  4. Accusations are answered by trying the node at once: it learns of them, and refutes.
 */
import type { Liveness } from './liveness.ts'
import type { Claim } from './member-claim.ts'
import type { NodeId } from './ring-member.ts'
import { Suspicion, type SuspicionTimes } from './suspicion.ts'

/** What hearing or trying something led to. */
export interface Heard {
  /** To be passed on to others; undefined when it was known. */
  readonly news?: Claim
  /** The node is to be tried at once. */
  readonly tryNow?: boolean
}

const NOTHING: Heard = {}

export class Opinion {
  readonly node: NodeId
  /** Whose opinion it is. */
  readonly #self: NodeId
  #liveness: Liveness = 'suspect'
  #incarnation = 0
  #suspicion: Suspicion | undefined
  /** Who began the suspicion. */
  #accuser: NodeId
  #sinceMs: number
  /** Attempts begun before then say nothing about it. */
  #aliveMs = Number.NEGATIVE_INFINITY

  constructor(node: NodeId, self: NodeId, times: SuspicionTimes, nowMs: number) {
    this.node = node
    this.#self = self
    this.#accuser = self
    this.#sinceMs = nowMs
    // Nobody need confirm what nobody is accused of.
    this.#suspicion = new Suspicion({ ...times, wanted: 0 }, self, nowMs)
  }

  get liveness(): Liveness {
    return this.#liveness
  }

  /** 0 before the node was heard of. */
  get incarnation(): number {
    return this.#incarnation
  }

  /** Monotonic milliseconds of the last change. */
  get sinceMs(): number {
    return this.#sinceMs
  }

  /** The opinion as others are told it. */
  get claim(): Claim {
    const status = this.#liveness === 'up' ? 'alive' : this.#liveness
    const accusers = { up: this.node, suspect: this.#accuser, down: this.#self }
    const accuser = accusers[this.#liveness]
    return { node: this.node, status, incarnation: this.#incarnation, accuser }
  }

  /** Somebody says so. Requires a claim about this node. */
  hear(claim: Claim, times: SuspicionTimes, nowMs: number): Heard {
    const { incarnation, status, accuser } = claim
    if (incarnation === 0 || incarnation < this.#incarnation) return NOTHING
    if (status === 'alive') return this.#hearAlive(claim, nowMs)
    switch (this.#liveness) {
      case 'up':
        return this.#hearAccusation(claim, times, nowMs)
      case 'suspect':
        this.#incarnation = incarnation
        return status === 'down' ? this.#conclude(claim) : this.#confirm(accuser)
      case 'down':
        // It lived after this node gave it up.
        if (incarnation === this.#incarnation) return NOTHING
        return this.#hearAccusation(claim, times, nowMs)
    }
  }

  #hearAccusation(claim: Claim, times: SuspicionTimes, nowMs: number): Heard {
    this.#suspect(claim.incarnation, claim.accuser, times, nowMs)
    if (claim.status === 'down') this.#suspicion?.conclude()
    return { news: claim, tryNow: true }
  }

  #conclude(claim: Claim): Heard {
    return this.#suspicion?.conclude() === true ? { news: claim } : NOTHING
  }

  #hearAlive(claim: Claim, nowMs: number): Heard {
    if (claim.incarnation === this.#incarnation) return NOTHING
    this.#incarnation = claim.incarnation
    this.#suspicion = undefined
    this.#aliveMs = nowMs
    this.#change('up', nowMs)
    return { news: claim }
  }

  /** An attempt of this node, begun at `startedMs`, did not reach it. */
  failToReach(startedMs: number, times: SuspicionTimes, nowMs: number): Heard {
    if (startedMs < this.#aliveMs || this.#liveness === 'down') return NOTHING
    if (this.#liveness === 'up') {
      this.#suspect(this.#incarnation, this.#self, times, startedMs, nowMs)
      this.#suspicion?.addOwnEvidence(startedMs)
      return { news: this.claim }
    }
    this.#suspicion?.addOwnEvidence(startedMs)
    return this.#confirm(this.#self)
  }

  /** Gives the node up when its time to refute has passed. */
  expire(nowMs: number): Heard {
    const suspicion = this.#suspicion
    if (suspicion === undefined || this.#liveness !== 'suspect') return NOTHING
    if (nowMs < suspicion.deadlineMs || !suspicion.hasOwnEvidence) return NOTHING
    this.#suspicion = undefined
    this.#change('down', nowMs)
    return this.#incarnation === 0 ? NOTHING : { news: this.claim }
  }

  /** This node itself stood still: what it suspected meanwhile, it suspects from now on. */
  restart(nowMs: number): void {
    this.#suspicion?.restart(nowMs)
    this.#aliveMs = Math.max(this.#aliveMs, nowMs)
  }

  #suspect(
    incarnation: number,
    accuser: NodeId,
    times: SuspicionTimes,
    startedMs: number,
    nowMs = startedMs,
  ): void {
    this.#incarnation = incarnation
    this.#accuser = accuser
    this.#suspicion = new Suspicion(times, accuser, startedMs)
    this.#change('suspect', nowMs)
  }

  #confirm(accuser: NodeId): Heard {
    if (this.#incarnation === 0 || this.#suspicion?.confirm(accuser) !== true) return NOTHING
    const { node } = this
    return { news: { node, status: 'suspect', incarnation: this.#incarnation, accuser } }
  }

  #change(liveness: Liveness, nowMs: number): void {
    if (this.#liveness === liveness) return
    this.#liveness = liveness
    this.#sinceMs = nowMs
  }
}
