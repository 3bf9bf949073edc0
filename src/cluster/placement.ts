/**
 * Who owns each partition in one generation of members: its preference list.
 *
 * The list of a partition is the walk of the token ring from the partition's start over distinct
 * members: first one of each rack until it has all racks or is full, then those that were passed
 * over, then on round the ring. (NetworkTopologyStrategy of Cassandra, within one data centre.)
 *
 * Invariants:
 *  1. Every list has `width` = min(replication factor, members) distinct members.
 *  2. Its racks are distinct while there are racks enough: at least min(width, racks) of them.
 *  3. A member more changes a list by at most one: the new one comes in, one goes. Nothing ever
 *     moves between members that stay.
 *  4. Built once an epoch; lookups allocate nothing.
 */
import { assert } from '../assert.ts'
import type { RingMember } from './ring-member.ts'
import { TokenRing } from './token-ring.ts'

/** What all placements of a cluster have in common. */
export interface PlacementRules {
  readonly partitionCount: number
  readonly replicationFactor: number
  /** Tokens of a member of weight 1. */
  readonly virtualNodes: number
}

export class Placement {
  /** All members of the epoch; owners are places in this list. */
  readonly members: readonly RingMember[]
  /** Those of them that own in this generation. */
  readonly owners: readonly number[]
  readonly partitionCount: number
  /** Owners of every partition. */
  readonly width: number
  readonly #lists: Uint16Array

  /** Requires at least one member for which `owns` holds. Pure: the same input, the same lists. */
  constructor(
    members: readonly RingMember[],
    owns: (member: RingMember) => boolean,
    { partitionCount, replicationFactor, virtualNodes }: PlacementRules,
  ) {
    this.members = members
    this.owners = [...members.keys()].filter(index => owns(members[index]!))
    assert(this.owners.length > 0, 'somebody owns the partitions')
    this.partitionCount = partitionCount
    this.width = Math.min(replicationFactor, this.owners.length)
    const ring = new TokenRing(members, this.owners, virtualNodes)
    this.#lists = new ListWalk(members, this.owners, ring, this.width).lists(partitionCount)
  }

  /** The member at a place of the partition's list: 0, the first, to width - 1. */
  memberAt(partition: number, place: number): RingMember {
    return this.members[this.indexAt(partition, place)]!
  }

  /** The same as its place in `members`. */
  indexAt(partition: number, place: number): number {
    return this.#lists[partition * this.width + place]!
  }

  /** True when the member at `index` of `members` is in the partition's list. */
  isOwner(partition: number, index: number): boolean {
    for (let place = 0; place < this.width; place++) {
      if (this.indexAt(partition, place) === index) return true
    }
    return false
  }

  /** Partitions that each of `members` owns, by its place there. */
  partitionsOwned(): Uint32Array {
    const counts = new Uint32Array(this.members.length)
    for (const index of this.#lists) counts[index]! += 1
    return counts
  }
}

/** Walks a token ring. Its marks are numbers of walks, so that nothing is cleared in between. */
class ListWalk {
  readonly #ring: TokenRing
  readonly #width: number
  /** The rack of each member, and how many there are. */
  readonly #racks: Uint16Array
  readonly #rackCount: number
  readonly #memberSeen: Uint32Array
  readonly #rackSeen: Uint32Array
  /** Members passed over because their rack was there already, in the order of the walk. */
  readonly #passed: Uint16Array
  #walks = 0

  constructor(
    members: readonly RingMember[],
    owners: readonly number[],
    ring: TokenRing,
    width: number,
  ) {
    this.#ring = ring
    this.#width = width
    this.#racks = new Uint16Array(members.length)
    const numbers = new Map<string, number>()
    for (const index of owners) {
      const { rack } = members[index]!
      const number = numbers.get(rack) ?? numbers.size
      numbers.set(rack, number)
      this.#racks[index] = number
    }
    this.#rackCount = numbers.size
    this.#memberSeen = new Uint32Array(members.length)
    this.#rackSeen = new Uint32Array(numbers.size)
    this.#passed = new Uint16Array(width)
  }

  lists(partitionCount: number): Uint16Array {
    const lists = new Uint16Array(partitionCount * this.#width)
    const span = 2 ** 32 / partitionCount
    for (let partition = 0; partition < partitionCount; partition++) {
      this.#walk(this.#ring.placeOf(partition * span), lists, partition * this.#width)
    }
    return lists
  }

  #walk(first: number, lists: Uint16Array, start: number): void {
    const walk = ++this.#walks
    const end = start + this.#width
    let at = start
    let passed = 0
    let racks = 0
    for (let step = 0, place = first; at < end; step++, place++) {
      assert(step < this.#ring.size, 'the ring holds as many members as a list')
      if (place === this.#ring.size) place = 0
      const index = this.#ring.ownerAt(place)
      if (this.#memberSeen[index] === walk) continue
      this.#memberSeen[index] = walk
      if (racks === this.#rackCount) {
        lists[at++] = index
        continue
      }
      const rack = this.#racks[index]!
      if (this.#rackSeen[rack] === walk) {
        if (passed < this.#width) this.#passed[passed++] = index
        continue
      }
      this.#rackSeen[rack] = walk
      racks++
      lists[at++] = index
      if (racks < this.#rackCount) continue
      for (let turn = 0; turn < passed && at < end; turn++) lists[at++] = this.#passed[turn]!
    }
  }
}
