/**
 * The hints that this node holds for its peers, and the marks for what has become too much for
 * hints (see hint-format.ts): how they get into batches, and when they may go.
 *
 * A hint is removed once the peer has acknowledged the stored form that was read after the hint.
 * Meanwhile another write to the key may have been hinted, in a batch that is not visible yet, and
 * its hint is the same record. So keys that are being replayed are known here, and a hint that was
 * asked for again meanwhile stays; and what was hinted before must be visible before it is read.
 *
 * Invariants:
 *  1. A hint is removed only when nothing was hinted for its key since begin() was called, and all
 *     that was hinted before was visible when the form was read that the peer acknowledged.
 *  2. A mark is removed only when nothing went without a hint for its sake since beginCompare(),
 *     and all that did before was visible when the comparison began.
 *  3. The hints of a peer take at most `bytesMax`, by an estimate that counts a key as often as it
 *     was hinted; a count of what is there corrects it. Above that, marks take their place.
 */
import type { ClientIdentity } from '../fair-queue.ts'
import type { Durability } from '../key-value-store.ts'
import type { WorkTurns } from '../work-turns.ts'
import {
  dirtyKey,
  dirtyPartition,
  dirtyRange,
  HINT_HEADER_SIZE,
  HINTED_KEY_SIZE_MAX,
  hintedPeer,
  hintKey,
  hintRange,
} from './hint-format.ts'
import { keyName } from './last-of-keys.ts'
import { enginePartition, NodeKey, nodeKey } from './partition.ts'
import type { Store, StoreChunk, StoreDelete, StorePut } from './store.ts'
import { TimeSlice } from './time-slice.ts'

const NOTHING = new Uint8Array(0)
/** Something to write when only what was written before matters. */
const BARRIER: StorePut = {
  type: 'put',
  key: nodeKey(NodeKey.barrier),
  value: NOTHING,
  expiryMs: 0,
}
/** Records of one batch, so that none takes the event loop a millisecond. */
const RECORDS_PER_BATCH = 512
const BYTES_PER_BATCH = 256 * 1024
const PAGE_BYTES = 64 * 1024
/** Hints that are counted between two looks at the time. */
const RECOUNT_PAGE = 64

/** Bytes of hints for one peer. A hint is a key and a few bytes: some millions of keys. */
export const HINT_BYTES_MAX = 256 * 1024 * 1024

export interface HintStoreOptions {
  readonly store: Store
  /** Where counting takes turns with other long work. Absent: it is done at a stretch. */
  readonly turns?: WorkTurns
  /** @defaultValue HINT_BYTES_MAX */
  readonly bytesMax?: number
}

/** Hints of a peer: how many, and the bytes of their records. */
interface Held {
  readonly count: number
  readonly bytes: number
  /** False when a key may have been counted several times. */
  readonly isExact: boolean
}

const NONE: Held = { count: 0, bytes: 0, isExact: true }

export class HintStore {
  readonly #store: Store
  readonly #turns: WorkTurns | undefined
  readonly #bytesMax: number
  /** By peer number; an estimate, of what was there when the peer's hints were counted last. */
  readonly #held = new Map<number, Held>()
  /** By peer number, the partitions with a durable mark. */
  readonly #dirty = new Map<number, Set<number>>()
  /** By peer number, partitions whose mark went into a batch that may have failed. */
  readonly #unsure = new Map<number, Set<number>>()
  /** By peer number and name of an engine key: whether it was hinted again since begin(). */
  readonly #replayed = new Map<number, Map<string, boolean>>()
  readonly #counting = new Set<number>()
  /** By peer number, partitions whose marks stand for something since beginCompare(). */
  readonly #relied = new Map<number, Set<number>>()
  /** Numbers of peers for which there are hints in batches that may not be visible yet. */
  readonly #unseen = new Set<number>()
  /** Whose the counting is, beside other long work. */
  readonly #counter: ClientIdentity = {}

  private constructor(options: HintStoreOptions) {
    this.#store = options.store
    this.#turns = options.turns
    this.#bytesMax = options.bytesMax ?? HINT_BYTES_MAX
  }

  /** Reads the marks. */
  static async open(options: HintStoreOptions): Promise<HintStore> {
    const hints = new HintStore(options)
    for (let gte = dirtyRange().gte, done = false; !done; ) {
      const chunk = await options.store.readRange({
        ...dirtyRange(),
        gte,
        reverse: false,
        keysOnly: true,
        countMax: RECORDS_PER_BATCH,
        bytesMax: PAGE_BYTES,
      })
      for (const key of chunk.keys) hints.#marked(hintedPeer(key), dirtyPartition(key))
      done = chunk.done
      const last = chunk.keys.at(-1)
      if (last !== undefined) gte = Uint8Array.of(...last, 0)
    }
    return hints
  }

  /** An estimate of the bytes that hints for the peer take. */
  bytesOf(peer: number): number {
    return this.#heldFor(peer).bytes
  }

  /** Writes that were hinted for the peer: its hints, but that a key counts as often as it was. */
  countOf(peer: number): number {
    return this.#heldFor(peer).count
  }

  /** True when the count and bytes of the peer are those of the hints that are there. */
  isExact(peer: number): boolean {
    return this.#heldFor(peer).isExact
  }

  #heldFor(peer: number): Held {
    return this.#held.get(peer) ?? NONE
  }

  /** Partitions of which the peer may lack anything, ascending. */
  dirtyPartitions(peer: number): number[] {
    // Those whose batch may have failed count, too: comparing too much does no harm.
    const all = new Set([...(this.#dirty.get(peer) ?? []), ...(this.#unsure.get(peer) ?? [])])
    return [...all].sort((a, b) => a - b)
  }

  /** What must be in the batch of a write to the key: a hint, a mark, or nothing. */
  put(peer: number, engineKey: Uint8Array): StorePut | undefined {
    const name = keyName(engineKey)
    const replayed = this.#replayed.get(peer)
    if (replayed?.has(name) === true) replayed.set(name, true)
    const size = HINT_HEADER_SIZE + engineKey.length
    const { count, bytes } = this.#heldFor(peer)
    if (engineKey.length > HINTED_KEY_SIZE_MAX || bytes + size > this.#bytesMax) {
      const partition = enginePartition(engineKey)
      addTo(this.#relied, peer, partition)
      if (this.#dirty.get(peer)?.has(partition) === true) return undefined
      addTo(this.#unsure, peer, partition)
      return recordPut(dirtyKey(peer, partition))
    }
    // Whether it is there already is not looked up.
    this.#held.set(peer, { count: count + 1, bytes: bytes + size, isExact: count === 0 })
    this.#unseen.add(peer)
    return recordPut(hintKey(peer, engineKey))
  }

  /** Makes hints for these keys; resolves once they are durable. */
  async add(peer: number, engineKeys: readonly Uint8Array[]): Promise<void> {
    let puts: StorePut[] = []
    let bytes = 0
    let isUnsynced = false
    for (const [index, engineKey] of engineKeys.entries()) {
      const put = this.put(peer, engineKey)
      if (put !== undefined) puts.push(put)
      bytes += engineKey.length
      const isLast = index === engineKeys.length - 1
      if (!isLast && puts.length < RECORDS_PER_BATCH && bytes < BYTES_PER_BATCH) continue
      // The log is written in order: the sync of the last batch covers the others.
      if (isLast && isUnsynced && puts.length === 0) puts = [BARRIER]
      await this.#write(puts, isLast ? 'sync' : 'none')
      isUnsynced ||= puts.length > 0
      puts = []
      bytes = 0
    }
  }

  /** Marks partitions of the peer; resolves once the marks are durable. */
  async mark(peer: number, partitions: readonly number[]): Promise<void> {
    const known = this.#dirty.get(peer)
    const added = partitions.filter(partition => known?.has(partition) !== true)
    for (let at = 0; at < added.length; at += RECORDS_PER_BATCH) {
      const part = added.slice(at, at + RECORDS_PER_BATCH)
      await this.#write(
        part.map(partition => recordPut(dirtyKey(peer, partition))),
        'sync',
      )
      for (const partition of part) this.#marked(peer, partition)
    }
  }

  /** Writes marks whose batches may have failed, so that they need not come with each write. */
  async confirmMarks(): Promise<void> {
    for (const [peer, partitions] of [...this.#unsure]) {
      this.#unsure.delete(peer)
      try {
        await this.mark(peer, [...partitions])
      } catch (error) {
        for (const partition of partitions) addTo(this.#unsure, peer, partition)
        throw error
      }
    }
  }

  /**
   * Partitions with marks are about to be compared with the peer: resolves to those, once all that
   * went without a hint for their sake is visible.
   */
  async beginCompare(peer: number): Promise<number[]> {
    this.#relied.delete(peer)
    const partitions = this.dirtyPartitions(peer)
    // Comes behind all that was submitted before.
    if (partitions.length > 0) await this.#write([BARRIER], 'none')
    return partitions
  }

  /** Takes a mark away, unless it is needed again: the peer was found to have the partition. */
  async unmark(peer: number, partition: number): Promise<void> {
    if (this.#relied.get(peer)?.has(partition) === true) return
    const wasUnsure = this.#unsure.get(peer)?.delete(partition) === true
    if (this.#dirty.get(peer)?.delete(partition) !== true && !wasUnsure) return
    await this.#store.write([{ type: 'del', key: dirtyKey(peer, partition) }], {
      durability: 'interval',
    })
  }

  /** Whether marks are being made of what should be hints. */
  isFull(peer: number): boolean {
    return this.bytesOf(peer) + HINT_HEADER_SIZE >= this.#bytesMax
  }

  /** The next hint records of the peer, behind the record `after`. */
  page(
    peer: number,
    after: Uint8Array | undefined,
    countMax: number,
  ): StoreChunk | Promise<StoreChunk> {
    const { gte, lt } = hintRange(peer)
    const lower = after === undefined ? { gte } : { gt: after }
    const limits = { countMax, bytesMax: PAGE_BYTES }
    return this.#store.readRange({ ...lower, lt, reverse: false, keysOnly: true, ...limits })
  }

  /**
   * These keys of the peer are about to be read and sent: resolves once they may be, as all that
   * was hinted before is visible. Requires that no others are.
   */
  async begin(peer: number, engineKeys: readonly Uint8Array[]): Promise<void> {
    this.#replayed.set(peer, new Map(engineKeys.map(key => [keyName(key), false])))
    await this.reveal(peer)
  }

  /**
   * Whether there were hints of the peer that a reader may not have seen yet; resolves once they
   * are visible, or their batches have failed.
   */
  async reveal(peer: number): Promise<boolean> {
    if (!this.#unseen.delete(peer)) return false
    try {
      // Comes behind all that was submitted before.
      await this.#write([BARRIER], 'none')
      return true
    } catch (error) {
      this.#unseen.add(peer)
      throw error
    }
  }

  /**
   * Removes the hints for these keys, of those that were begun, unless they are needed again; with
   * `puts` in the same batch. `durability` may be little: a hint that returns does no harm.
   */
  async settle(
    peer: number,
    engineKeys: readonly Uint8Array[],
    puts: readonly StorePut[] = [],
    durability: Durability = 'interval',
  ): Promise<void> {
    const replayed = this.#replayed.get(peer)
    const removed = engineKeys.filter(key => replayed?.get(keyName(key)) === false)
    const dels = removed.map((key): StoreDelete => ({ type: 'del', key: hintKey(peer, key) }))
    let { count, bytes, isExact } = this.#heldFor(peer)
    for (const { length } of removed) bytes -= HINT_HEADER_SIZE + length
    count -= removed.length
    this.#held.set(peer, { count: Math.max(0, count), bytes: Math.max(0, bytes), isExact })
    if (puts.length + dels.length > 0) {
      await this.#store.write([...puts, ...dels], { durability })
    }
  }

  /** Nothing of the peer is being replayed any more. `isEmpty`: no hint of it was found. */
  end(peer: number, isEmpty: boolean): void {
    this.#replayed.delete(peer)
    // One may have been made since.
    if (isEmpty && !this.#unseen.has(peer)) this.#held.set(peer, NONE)
  }

  /**
   * Replaces the estimate by a count of the hints that are there, which reads them all: in turns,
   * as there may be millions.
   */
  async recount(peer: number): Promise<void> {
    if (this.#counting.has(peer)) return
    this.#counting.add(peer)
    const slice = this.#turns && new TimeSlice(this.#turns, this.#counter)
    try {
      let count = 0
      let bytes = 0
      const before = this.#heldFor(peer)
      for (let after: Uint8Array | undefined, done = false; !done; ) {
        if (slice?.isOver === true) await slice.pause()
        const chunk: StoreChunk = await this.page(peer, after, RECOUNT_PAGE)
        count += chunk.keys.length
        for (const { length } of chunk.keys) bytes += length
        after = chunk.keys.at(-1)
        done = chunk.done
      }
      // What was hinted meanwhile may have been counted or not: better twice.
      const now = this.#heldFor(peer)
      this.#held.set(peer, {
        count: count + Math.max(0, now.count - before.count),
        bytes: bytes + Math.max(0, now.bytes - before.bytes),
        isExact: now === before,
      })
    } finally {
      this.#counting.delete(peer)
    }
  }

  async #write(puts: readonly StorePut[], durability: Durability): Promise<void> {
    if (puts.length > 0) await this.#store.write(puts, { durability })
  }

  #marked(peer: number, partition: number): void {
    addTo(this.#dirty, peer, partition)
  }
}

function addTo(sets: Map<number, Set<number>>, peer: number, partition: number): void {
  const partitions = sets.get(peer)
  if (partitions === undefined) sets.set(peer, new Set([partition]))
  else partitions.add(partition)
}

function recordPut(key: Uint8Array): StorePut {
  return { type: 'put', key, value: NOTHING, expiryMs: 0 }
}
