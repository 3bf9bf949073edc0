/**
 * Some of the partitions, as a bitmap: what of its copies a replica is to read for another node.
 *
 *   set := bits, least significant first, of partition 0 to count - 1; the rest of the last byte 0
 */
import { assert } from '../assert.ts'
import { copyBytes } from '../bytes.ts'

export class PartitionSet implements Iterable<number> {
  readonly partitionCount: number
  readonly #bits: Uint8Array
  #size = 0

  constructor(partitionCount: number) {
    this.partitionCount = partitionCount
    this.#bits = new Uint8Array(PartitionSet.byteSize(partitionCount))
  }

  static byteSize(partitionCount: number): number {
    return Math.ceil(partitionCount / 8)
  }

  /** The set that `bytes` are; undefined when they are none of so many partitions. */
  static decode(bytes: Uint8Array, partitionCount: number): PartitionSet | undefined {
    if (bytes.length !== PartitionSet.byteSize(partitionCount)) return undefined
    const set = new PartitionSet(partitionCount)
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      if (((bytes[bit >>> 3]! >>> (bit & 7)) & 1) === 0) continue
      if (bit >= partitionCount) return undefined
      set.add(bit)
    }
    return set
  }

  get size(): number {
    return this.#size
  }

  encode(): Uint8Array {
    return copyBytes(this.#bits)
  }

  has(partition: number): boolean {
    return ((this.#bits[partition >>> 3]! >>> (partition & 7)) & 1) === 1
  }

  add(partition: number): void {
    assert(partition >= 0 && partition < this.partitionCount, 'a partition that there is')
    if (this.has(partition)) return
    this.#bits[partition >>> 3]! |= 1 << (partition & 7)
    this.#size++
  }

  /** The first of them from `partition` on, upwards (step 1) or downwards (-1); -1 for none. */
  from(partition: number, step: 1 | -1): number {
    for (let at = partition; at >= 0 && at < this.partitionCount; at += step) {
      if (this.has(at)) return at
    }
    return -1
  }

  *[Symbol.iterator](): Generator<number> {
    for (let at = this.from(0, 1); at >= 0; at = this.from(at + 1, 1)) yield at
  }
}
