/**
 * The hash trees of this node's partitions: built by reading the partition when somebody compares
 * it, kept until it is written to. Writes pay nothing for them.
 *
 * Invariants:
 *  1. A tree is that of one moment: of a snapshot. It is kept only while no write has become
 *     visible since.
 *  2. Entries that cannot be read count as missing, so that they are pulled from others; those that
 *     may be purged (purge-marks.ts) are left out, whether they are still there or not.
 *  3. Roots of all partitions are kept, leaves only of the CACHED_MAX that were used last.
 */
import { DecodeError } from '../bytes.ts'
import type { Snapshot } from '../key-value-store.ts'
import { KeyBounds, PARTITION_SIZE } from './partition.ts'
import { PartitionTree, type TreeRoot } from './partition-tree.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PartitionReader, type ScanSource } from './scan.ts'
import type { StoreEntry } from './store.ts'
import { TimeSlice } from './time-slice.ts'
import { purgeTimeMs, storedHeadEnd } from './versioned-value.ts'

const CACHED_MAX = 2048
const EVERYTHING = new KeyBounds({})

interface Known {
  readonly writeCount: number
  readonly markMs: number
  readonly root: TreeRoot
  readonly purgeMs: number
  tree: PartitionTree | undefined
}

export class PartitionTrees {
  readonly #store: PartitionedStore
  readonly #markMs: (partition: number) => number
  /** In the order of their last use. */
  readonly #known = new Map<number, Known>()
  readonly #building = new Map<number, Promise<PartitionTree>>()
  #cached = 0
  #forgotten = 0
  built = 0
  entriesRead = 0
  /** Entries that could not be read, as they were met. */
  damaged = 0

  /** `markMs` says what of a partition may be purged: versions before that time. */
  constructor(store: PartitionedStore, markMs: (partition: number) => number) {
    this.#store = store
    this.#markMs = markMs
  }

  async root(partition: number): Promise<TreeRoot> {
    const known = this.#current(partition)
    return known === undefined ? (await this.#build(partition)).root : known.root
  }

  /** Nothing that was read until now counts any more: entries went without being written. */
  forget(): void {
    this.#known.clear()
    this.#building.clear()
    this.#cached = 0
    this.#forgotten++
  }

  /** The time of the earliest deletion that is not purged yet; Infinity when there is none. */
  async purgeMs(partition: number): Promise<number> {
    return this.#current(partition)?.purgeMs ?? (await this.#build(partition)).purgeMs
  }

  async tree(partition: number): Promise<PartitionTree> {
    const known = this.#current(partition)
    return known?.tree ?? (await this.#build(partition))
  }

  #current(partition: number): Known | undefined {
    const known = this.#known.get(partition)
    if (known?.writeCount !== this.#store.writeCounts.of(partition)) return undefined
    if (known.markMs !== this.#markMs(partition)) return undefined
    this.#known.delete(partition)
    this.#known.set(partition, known)
    return known
  }

  /** A tree of a moment that is not before the call. */
  async #build(partition: number): Promise<PartitionTree> {
    const earlier = this.#building.get(partition)
    if (earlier !== undefined) {
      await earlier
      const tree = this.#current(partition)?.tree
      if (tree !== undefined) return tree
    }
    // One that is under way by now began after the call.
    const building: Promise<PartitionTree> =
      this.#building.get(partition) ??
      this.#read(partition).finally(() => {
        if (this.#building.get(partition) === building) this.#building.delete(partition)
      })
    this.#building.set(partition, building)
    return await building
  }

  async #read(partition: number): Promise<PartitionTree> {
    // In this order: what becomes visible between the two counts as later.
    const writeCount = this.#store.writeCounts.of(partition)
    const markMs = this.#markMs(partition)
    const forgotten = this.#forgotten
    const snapshot = this.#store.store.snapshot()
    try {
      const tree = new PartitionTree()
      await this.#addAll(partition, snapshot, markMs, tree)
      this.built++
      this.entriesRead += tree.size
      if (forgotten !== this.#forgotten) return tree
      this.#keep(partition, { writeCount, markMs, root: tree.root, purgeMs: tree.purgeMs, tree })
      return tree
    } finally {
      snapshot.release()
    }
  }

  async #addAll(
    partition: number,
    snapshot: Snapshot,
    markMs: number,
    tree: PartitionTree,
  ): Promise<void> {
    const { store, turns } = this.#store
    const slice = new TimeSlice(turns, this)
    await slice.begin()
    const source: ScanSource = { store, snapshot, bounds: EVERYTHING, reverse: false }
    const reader = new PartitionReader(source, partition, partition, slice, entry => {
      if (!addEntry(tree, entry, markMs)) this.damaged++
      return 'next'
    })
    await reader.run(() => undefined)
  }

  #keep(partition: number, known: Known): void {
    if (this.#known.get(partition)?.tree !== undefined) this.#cached--
    this.#known.delete(partition)
    this.#known.set(partition, known)
    this.#cached++
    if (this.#cached <= CACHED_MAX) return
    for (const old of this.#known.values()) {
      if (old.tree === undefined) continue
      old.tree = undefined
      this.#cached--
      return
    }
  }
}

/** False when the entry cannot be read. */
function addEntry(tree: PartitionTree, entry: StoreEntry, markMs: number): boolean {
  const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = entry
  try {
    const purgeMs = purgeTimeMs(valueBytes, valueStart, valueEnd)
    if (purgeMs < markMs) return true
    tree.purgeMs = Math.min(tree.purgeMs, purgeMs)
    const headEnd = storedHeadEnd(valueBytes, valueStart, valueEnd)
    const userStart = keyStart + PARTITION_SIZE
    const size = valueEnd - valueStart
    tree.add(keyBytes, userStart, keyEnd, valueBytes, valueStart, headEnd, size)
    return true
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}
