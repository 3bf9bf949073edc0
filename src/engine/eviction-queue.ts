/**
 * Which cached block goes next: S3-FIFO (Yang et al., SOSP 2023), over slots known by number.
 *
 * New blocks enter a probation queue of a tenth of the cache. Those used more than once there move
 * to the main queue; the others leave, and are remembered for a while: if one comes back in that
 * time it enters the main queue directly. A scan so passes through the tenth and leaves the rest
 * alone, and a hit costs one byte's increment instead of moving a list node.
 */
import { assert } from '../assert.ts'

/** What a block cache asks of its eviction; a second policy can be measured behind it. */
export interface EvictionQueue {
  /** Uses of each slot since it was queued, up to FREQUENCY_MAX. The cache counts hits itself. */
  readonly frequency: Uint8Array
  readonly count: number
  /** Queues a slot. `returning` says that its block was here not long ago. */
  insert(slot: number, returning: boolean): void
  /** Takes the slot that matters least out of the queue. Requires count > 0. */
  evict(): number
  /** Whether the slot that `evict` took last may prove soon that it should have stayed. */
  readonly evictedOnProbation: boolean
  /** Takes out a slot. Requires that it is queued. */
  remove(slot: number): void
}

export const FREQUENCY_MAX = 3
const PROBATION_SHARE = 0.1

/** Doubly linked lists of slots in two arrays; a slot is in one list at most. */
export class SlotLists {
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #slotCount: number

  /** Slots 0 to slotCount - 1, and lists 0 to listCount - 1, all empty. */
  constructor(slotCount: number, listCount: number) {
    this.#slotCount = slotCount
    this.#next = new Int32Array(slotCount + listCount)
    this.#previous = new Int32Array(slotCount + listCount)
    for (let list = 0; list < listCount; list++) {
      this.#next[slotCount + list] = slotCount + list
      this.#previous[slotCount + list] = slotCount + list
    }
  }

  /** The first slot of a list, or -1. */
  first(list: number): number {
    const slot = this.#next[this.#slotCount + list]!
    return slot < this.#slotCount ? slot : -1
  }

  append(list: number, slot: number): void {
    const head = this.#slotCount + list
    const last = this.#previous[head]!
    this.#next[last] = slot
    this.#previous[slot] = last
    this.#next[slot] = head
    this.#previous[head] = slot
  }

  /** Requires that the slot is in a list. */
  unlink(slot: number): void {
    const next = this.#next[slot]!
    const previous = this.#previous[slot]!
    this.#next[previous] = next
    this.#previous[next] = previous
  }
}

const PROBATION = 0
const MAIN = 1

export class S3FifoQueue implements EvictionQueue {
  readonly frequency: Uint8Array
  evictedOnProbation = false
  readonly #lists: SlotLists
  /** The list of each queued slot. */
  readonly #listOf: Uint8Array
  #probationCount = 0
  #mainCount = 0

  constructor(slotCount: number) {
    this.frequency = new Uint8Array(slotCount)
    this.#lists = new SlotLists(slotCount, 2)
    this.#listOf = new Uint8Array(slotCount)
  }

  get count(): number {
    return this.#probationCount + this.#mainCount
  }

  insert(slot: number, returning: boolean): void {
    this.frequency[slot] = 0
    this.#enqueue(returning ? MAIN : PROBATION, slot)
  }

  evict(): number {
    assert(this.count > 0, 'something can be evicted')
    const { frequency } = this
    for (;;) {
      const probationMax = Math.ceil(this.count * PROBATION_SHARE)
      const isProbation = this.#mainCount === 0 || this.#probationCount >= probationMax
      const slot = this.#lists.first(isProbation ? PROBATION : MAIN)
      this.remove(slot)
      // A block is loaded because it is wanted: its first use says nothing, its second does.
      if (isProbation && frequency[slot]! > 1) {
        frequency[slot] = 0
        this.#enqueue(MAIN, slot)
      } else if (!isProbation && frequency[slot]! > 0) {
        frequency[slot] = frequency[slot]! - 1
        this.#enqueue(MAIN, slot)
      } else {
        this.evictedOnProbation = isProbation
        return slot
      }
    }
  }

  remove(slot: number): void {
    this.#lists.unlink(slot)
    if (this.#listOf[slot] === PROBATION) this.#probationCount--
    else this.#mainCount--
  }

  #enqueue(list: typeof PROBATION | typeof MAIN, slot: number): void {
    this.#lists.append(list, slot)
    this.#listOf[slot] = list
    if (list === PROBATION) this.#probationCount++
    else this.#mainCount++
  }
}
