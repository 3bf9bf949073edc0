/**
 * Counts which replicas have a write durably, until enough of them do or cannot any more.
 *
 * Slots are counted, not nodes: while ownership changes, a slot has an owner before and one after,
 * and has acknowledged when both have (see ring-table.ts). Who is gone for good is not waited for.
 *
 * Invariants:
 *  1. A hint is no acknowledgement.
 *  2. It is decided once; what comes later changes nothing.
 */
import type { NodeId, RingMember } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'

/** The owners that must all have it. */
export type Slot = readonly NodeId[]

/** So many of these slots. */
export interface SlotDemand {
  readonly slots: readonly Slot[]
  readonly needed: number
  /** Counts as met when none of the slots can be had: the write then waits for nobody. */
  readonly isLenient?: boolean
}

/** Enough replicas have it; or too few of those that were sent it can any more. */
export type AckVerdict = 'reached' | 'impossible'

export class WriteAcks {
  readonly #demands: readonly SlotDemand[]
  readonly #acked = new Set<NodeId>()
  readonly #failed = new Set<NodeId>()
  /** Entries that a peer has not acknowledged. */
  readonly #missing = new Map<NodeId, number>()
  #isSealed = false
  readonly verdict: Promise<AckVerdict>
  #decide: ((verdict: AckVerdict) => void) | undefined

  constructor(demands: readonly SlotDemand[]) {
    this.#demands = demands
    this.verdict = new Promise(resolve => {
      this.#decide = resolve
    })
  }

  /** Replicas that have it, the coordinator among them. */
  get ackedCount(): number {
    return this.#acked.size
  }

  get isDecided(): boolean {
    return this.#decide === undefined
  }

  /** The peer was sent an entry of the write. */
  sent(peer: NodeId): void {
    this.#missing.set(peer, (this.#missing.get(peer) ?? 0) + 1)
  }

  /** The peer has one of the entries that it was sent. */
  acked(peer: NodeId): void {
    const missing = (this.#missing.get(peer) ?? 0) - 1
    this.#missing.set(peer, missing)
    if (missing === 0 && this.#isSealed) this.complete(peer)
  }

  /** Every entry was sent, or has failed: who has acknowledged all of them has the write. */
  seal(): void {
    this.#isSealed = true
    for (const [peer, missing] of this.#missing) if (missing === 0) this.#acked.add(peer)
    for (const peer of this.#failed) this.#acked.delete(peer)
    this.#check()
  }

  /** The replica has all of it. */
  complete(replica: NodeId): void {
    if (!this.#failed.has(replica)) this.#acked.add(replica)
    this.#check()
  }

  /** The peer gets some of it later, or never. */
  failed(peer: NodeId): void {
    if (this.#failed.has(peer)) return
    this.#failed.add(peer)
    this.#acked.delete(peer)
    this.#check()
  }

  #check(): void {
    if (this.#decide === undefined) return
    let isReached = true
    for (const demand of this.#demands) {
      const { slots, needed, isLenient = false } = demand
      if (slots.filter(slot => this.#isAcked(slot)).length >= needed) continue
      if (slots.filter(slot => this.#isPossible(slot)).length >= needed) isReached = false
      else if (!isLenient) {
        this.#end('impossible')
        return
      }
    }
    if (isReached) this.#end('reached')
  }

  #end(verdict: AckVerdict): void {
    this.#decide?.(verdict)
    this.#decide = undefined
  }

  #isAcked(slot: Slot): boolean {
    return slot.every(node => this.#acked.has(node))
  }

  #isPossible(slot: Slot): boolean {
    return !slot.some(node => this.#failed.has(node))
  }
}

/** Alive or to be waited for: neither removed nor replaced. */
export function isThere(member: RingMember): boolean {
  return member.state !== 'removing' && member.state !== 'replaced'
}

/** The slots of a partition, those that nobody is left in among them as impossible ones. */
export function slotsOf(table: RingTable, partition: number): Slot[] {
  return Array.from({ length: table.slotCount }, (_, slot) => {
    const before = table.ownerBefore(partition, slot)
    const after = table.ownerAfter(partition, slot)
    const owners = [before, after].filter(member => member !== undefined && isThere(member))
    const nodeIds = new Set(owners.map(member => member!.nodeId))
    return [...nodeIds]
  }).filter(slot => slot.length > 0)
}

/** The other owners of a partition that take writes. */
export function otherOwners(table: RingTable, partition: number, self: NodeId): NodeId[] {
  const all = new Set(slotsOf(table, partition).flat())
  all.delete(self)
  return [...all]
}
