/**
 * Who owns what in one epoch: the placements of both generations, and the slots that writes count.
 *
 * A slot is a place among the replicas of a partition, with the owner before the change under way
 * and the one after it; mostly both are the same. A slot has acknowledged a write when both of its
 * owners have, and counts once (CASSANDRA-21200): a member that joins slowly holds up no quorum as
 * long as the other slots make one.
 *
 * Invariants:
 *  1. Every owner of either generation is in exactly one slot of the partition, and on both sides
 *     of it when it stays.
 *  2. Owners that acknowledged a quorum of slots meet every majority of the old owners and every
 *     majority of the new ones: reads of either generation see the write.
 *  3. Lookups allocate nothing.
 */
import { Placement } from './placement.ts'
import type { Ring } from './ring.ts'
import { type NodeId, ownsAfter, ownsBefore, type RingMember } from './ring-member.ts'

/** Nobody on this side: the generations differ in how many replicas they have. */
const NOBODY = 0xffff

export class RingTable {
  readonly ring: Ring
  /** The generation that reads use until they move. The same object as `after` when stable. */
  readonly before: Placement
  /** The generation that the operation under way brings. */
  readonly after: Placement
  /** Slots of every partition. */
  readonly slotCount: number
  readonly #slotsBefore: Uint16Array
  readonly #slotsAfter: Uint16Array
  readonly #indices: ReadonlyMap<NodeId, number>

  /** Costs milliseconds: once an epoch. */
  constructor(ring: Ring) {
    this.ring = ring
    this.before = new Placement(ring.members, ownsBefore, ring)
    const isStable = ring.phase === 'stable'
    this.after = isStable ? this.before : new Placement(ring.members, ownsAfter, ring)
    this.slotCount = Math.max(this.before.width, this.after.width)
    this.#slotsBefore = new Uint16Array(ring.partitionCount * this.slotCount)
    this.#slotsAfter = isStable ? this.#slotsBefore : new Uint16Array(this.#slotsBefore.length)
    for (let partition = 0; partition < ring.partitionCount; partition++) this.#pair(partition)
    this.#indices = new Map(ring.members.map(({ nodeId }, index) => [nodeId, index]))
  }

  /** Where reads go in this epoch. */
  get readers(): Placement {
    return this.ring.phase === 'readNew' ? this.after : this.before
  }

  /** Slots that make a quorum, of every partition. */
  get quorum(): number {
    return Math.floor(this.slotCount / 2) + 1
  }

  /** The owner of the slot (0 to slotCount - 1) before the change under way, if it has one. */
  ownerBefore(partition: number, slot: number): RingMember | undefined {
    return this.ring.members[this.#slotsBefore[partition * this.slotCount + slot]!]
  }

  /** The owner of the slot after the change under way, if it has one; when stable, the owner. */
  ownerAfter(partition: number, slot: number): RingMember | undefined {
    return this.ring.members[this.#slotsAfter[partition * this.slotCount + slot]!]
  }

  /** True when the node takes writes of the partition: it owns it before or after. */
  isOwner(partition: number, nodeId: NodeId): boolean {
    const index = this.#indices.get(nodeId)
    if (index === undefined) return false
    return this.before.isOwner(partition, index) || this.after.isOwner(partition, index)
  }

  #pair(partition: number): void {
    const { before, after, slotCount } = this
    const start = partition * slotCount
    let replacement = 0
    for (let slot = 0; slot < slotCount; slot++) {
      const old = slot < before.width ? before.indexAt(partition, slot) : NOBODY
      this.#slotsBefore[start + slot] = old
      if (before === after || (old !== NOBODY && after.isOwner(partition, old))) {
        this.#slotsAfter[start + slot] = old
        continue
      }
      while (replacement < after.width && this.#isOld(partition, replacement)) replacement++
      const isThere = replacement < after.width
      this.#slotsAfter[start + slot] = isThere ? after.indexAt(partition, replacement++) : NOBODY
    }
  }

  #isOld(partition: number, place: number): boolean {
    return this.before.isOwner(partition, this.after.indexAt(partition, place))
  }
}
