/**
 * The memtable: the newest entries, sorted, in memory. A skiplist for order, and beside it a hash
 * index from user key to the newest node of that key for point reads: a random hit through the
 * list costs about 2.5 us, through the index 0.2 us, and every read asks the memtable first. One
 * bit a slot answers most reads of absent keys from the processor's cache (a third less time for
 * a key that is nowhere, 150 ns).
 *
 * Invariants:
 *  1. Entries of one key are inserted with rising sequences, so the index always names the newest
 *     version, and older ones follow it in the list.
 *  2. The index never grows (rehashing would stop the event loop for milliseconds): it is sized
 *     with the arena, and the memtable is full when either is.
 *  3. A frozen memtable takes no more entries. Its arena may be read by a worker, which sorts
 *     entries of its own accord: a scan may still put them in order here.
 *  4. Range tombstones are in the arena, for the flush, and as fragments beside it, for reads.
 *  5. In a memtable that defers, an entry is found through the index at once, and in the list once
 *     it is linked. Until then its next node is the version before it, wherever that is.
 *
 * The place of an entry in the list is half of what a write costs, and only scans ask for it: the
 * flush sorts what has none, in a quarter of the time and on its own thread. So a memtable defers
 * it until the first scan comes, which waits for the rest to be linked, a slice a turn.
 */
import { assert } from '../assert.ts'
import { copyBytes } from '../bytes.ts'
import type { Random } from '../random.ts'
import { sortNodes } from './arena-sort.ts'
import type { Cursor } from './cursor.ts'
import { EntryKind } from './internal-key.ts'
import type { LookupResult } from './lookup-result.ts'
import { type ArenaOrder, keyOf, MemtableCursor } from './memtable-arena.ts'
import type { MemtableMemory } from './memtable-memory.ts'
import { MemtableRanges } from './memtable-ranges.ts'
import { ARENA_OVERHEAD, NODE_KEY_OFFSET, nodeSizeMax } from './node-arena.ts'
import { END_OF_KEYS, type RangeFragments } from './range-fragment.ts'
import { Skiplist } from './skiplist.ts'
import { copyInSlices } from './slices.ts'

/** The index is full at this share of its slots; probes stay short below it. */
const INDEX_LOAD_MAX = 0.75
const NO_BYTES = new Uint8Array(0)
/**
 * A memtable with so many range tombstones takes no more writes: bringing their fragments up to
 * date must stay cheap, and the fragments of its table fit memory.
 */
export const RANGE_COUNT_MAX = 4096

/** Entries that are linked at once: about a quarter of a millisecond. */
export const LINKED_AT_ONCE = 512
/** The same beside writers, who are overtaken by twice what they bring in a turn. */
const LINKED_AT_ONCE_MAX = 4096

export class Memtable {
  /** The WAL segment that holds the same entries. */
  readonly walNumber: number
  /** Bytes of that segment, once nothing is appended to it any more. Set by rotation. */
  walSize = 0
  /** Nobody else's until this memtable is over. */
  readonly memory: MemtableMemory
  readonly #list: Skiplist
  /**
   * Nodes by hash, open addressing with linear probing; 0 is an empty slot. The low bits are the
   * node's address in words, the others those of the hash: another key's node is seldom looked at.
   */
  readonly #slots: Uint32Array
  readonly #slotMask: number
  /** The bits of a slot that come from the hash. */
  readonly #hashMask: number
  /** A bit for each slot that some key would rather be in: most absent keys need nothing else. */
  readonly #wanted: Uint8Array
  readonly #keyCountMax: number
  readonly #ranges = new MemtableRanges()
  #defers: boolean
  #wasScanned = false
  /** Of those that came while it deferred, in the order of arrival: entries in their place. */
  #linkedCount = 0
  /** Entries there were when some were linked last. */
  #seenCount = 0
  #keyCount = 0
  #tombstoneCount = 0
  #frozen = false

  /** An empty one, whatever is in `memory`. `defers` until the first scan: see the head. */
  constructor(memory: MemtableMemory, walNumber: number, random: Random, defers = false) {
    const { arena, slots } = memory
    this.#defers = defers && memory.arrivals.length > 0
    memory.clear()
    this.walNumber = walNumber
    this.memory = memory
    this.#list = Skiplist.create(arena, random)
    this.#slots = slots
    this.#slotMask = slots.length - 1
    this.#hashMask = -1 << (32 - Math.clz32(arena.byteLength >>> 2))
    this.#wanted = memory.wanted
    this.#keyCountMax = Math.floor(slots.length * INDEX_LOAD_MAX)
  }

  get arena(): SharedArrayBuffer {
    return this.#list.arena
  }

  /** Entries and range tombstones. */
  get entryCount(): number {
    return this.#list.entryCount + this.#ranges.count
  }

  /** Entries of kind delete. */
  get tombstoneCount(): number {
    return this.#tombstoneCount
  }

  /** Range tombstones. Reads that find 0 here need not look at `ranges`. */
  get rangeCount(): number {
    return this.#ranges.count
  }

  /** The range tombstones as readers see them. A list that was returned never changes. */
  get ranges(): RangeFragments {
    return this.#ranges.fragments
  }

  /**
   * Whether somebody scanned it who had to wait for that, so that the next one is better not to
   * defer. Of few entries, as when a database is opened, a scan costs nobody anything.
   */
  get wasScanned(): boolean {
    return this.#wasScanned
  }

  /** What a flush needs to know of the arena. */
  get order(): ArenaOrder {
    if (!this.#defers) return 'sorted'
    return this.memory.arrivals.subarray(0, this.#list.entryCount)
  }

  /**
   * The largest key of all entries, in a buffer of its own; undefined when there are none. Requires
   * that it does not defer.
   */
  get largestKey(): Uint8Array | undefined {
    assert(!this.#defers, 'the order is known')
    return keyOf(this.#list, this.#list.last())
  }

  /** Bytes of keys and values. */
  get dataSize(): number {
    return this.#list.dataSize
  }

  /** Bytes of memory it holds, whether filled or not. */
  get memorySize(): number {
    return this.memory.size + this.#ranges.memorySize
  }

  /** How much of the arena is taken, 0 to 1. */
  get fill(): number {
    const list = this.#list
    return 1 - list.freeSize / list.arena.byteLength
  }

  get frozen(): boolean {
    return this.#frozen
  }

  freeze(): void {
    this.#frozen = true
  }

  /** Whether `count` entries with `dataSize` bytes of keys and values surely fit. */
  hasRoom(count: number, dataSize: number): boolean {
    return (
      count * nodeSizeMax(0, 0) + dataSize <= this.#list.freeSize &&
      this.#ranges.count < RANGE_COUNT_MAX &&
      this.#keyCount + count <= this.#keyCountMax
    )
  }

  /** Bytes of arena in which `count` entries with `dataSize` bytes surely fit. */
  static arenaSizeFor(count: number, dataSize: number): number {
    // The index has a slot for every 32 bytes and fills to three quarters of them.
    return Math.max(ARENA_OVERHEAD + count * nodeSizeMax(0, 0) + dataSize, count * 64)
  }

  /**
   * Requires room, and a sequence above that of any entry with the same key. Returns where the
   * value stands in the arena, for who fills it in later (insertInSlices).
   */
  insert(
    hash: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): number {
    assert(!this.#frozen, 'a frozen memtable never changes')
    if (kind === EntryKind.delete) this.#tombstoneCount++
    const list = this.#list
    const slots = this.#slots
    const slot = this.#slotOf(hash, key, keyStart, keyEnd)
    const entry = slots[slot]!
    const older = entry === 0 ? 0 : (entry & ~this.#hashMask) << 2
    if (older === 0) this.#keyCount++
    else assert(list.sequence(older) < sequence, 'sequences of a key rise')
    let node: number
    if (this.#defers) {
      const at = list.entryCount
      node = list.insertUnlinked(
        hash,
        key,
        keyStart,
        keyEnd,
        sequence,
        kind,
        value,
        valueStart,
        valueEnd,
        older,
      )
      this.memory.arrivals[at] = node
    } else {
      node = list.insert(hash, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
    }
    slots[slot] = (hash & this.#hashMask) | (node >>> 2)
    return node + NODE_KEY_OFFSET + (keyEnd - keyStart)
  }

  /** The slot that names the newest version of the key, or is free for it. */
  #slotOf(hash: number, key: Uint8Array, keyStart: number, keyEnd: number): number {
    const list = this.#list
    const slots = this.#slots
    const hashMask = this.#hashMask
    const slotMask = this.#slotMask
    let slot = spread(hash) & slotMask
    this.#wanted[slot >>> 3]! |= 1 << (slot & 7)
    for (; ; slot = (slot + 1) & slotMask) {
      const entry = slots[slot]!
      if (entry === 0) return slot
      if (((entry ^ hash) & hashMask) !== 0) continue
      const node = (entry & ~hashMask) << 2
      if (list.hash(node) === hash && list.keyEquals(node, key, keyStart, keyEnd)) return slot
    }
  }

  /**
   * insert() of an entry with a large value, `bytes[keyEnd, valueEnd)`, with turns of the event
   * loop. Nobody may see its sequence, and nothing may be inserted or frozen, until it resolves.
   */
  async insertInSlices(
    hash: number,
    bytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    kind: number,
    valueEnd: number,
  ): Promise<void> {
    const size = valueEnd - keyEnd
    // Of no bytes none are copied, whatever the length.
    const at = this.insert(hash, bytes, keyStart, keyEnd, sequence, kind, NO_BYTES, 0, size)
    await copyInSlices(bytes, keyEnd, valueEnd, this.#list.bytes, at)
  }

  /**
   * Adds a tombstone over the keys from start on and below end, which is empty when the range has
   * none. Requires room, and a sequence above all others. `readers` as in MemtableRanges.add.
   */
  insertRange(
    start: Uint8Array,
    startFrom: number,
    startTo: number,
    sequence: number,
    end: Uint8Array,
    endFrom: number,
    endTo: number,
    readers: Float64Array,
  ): void {
    assert(!this.#frozen, 'a frozen memtable never changes')
    this.#list.insertRange(start, startFrom, startTo, sequence, end, endFrom, endTo)
    const last = endTo === endFrom ? END_OF_KEYS : copyBytes(end, endFrom, endTo)
    this.#ranges.add(copyBytes(start, startFrom, startTo), last, sequence, readers)
  }

  /** The newest range tombstone over the key that `sequence` knows; 0 when there is none. */
  coveringSequence(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): number {
    return this.#ranges.covering(key, keyStart, keyEnd, sequence)
  }

  /**
   * Finds the newest version of the key at or below `sequence` and describes it in `result`,
   * borrowing the arena. Returns false when there is none here. Range tombstones are not asked.
   * `hash` may be signed or unsigned.
   */
  get(
    hash: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    result: LookupResult,
  ): boolean {
    const slotMask = this.#slotMask
    let slot = spread(hash) & slotMask
    if ((this.#wanted[slot >>> 3]! & (1 << (slot & 7))) === 0) return false
    const list = this.#list
    const slots = this.#slots
    const hashMask = this.#hashMask
    for (; ; slot = (slot + 1) & slotMask) {
      const entry = slots[slot]!
      if (entry === 0) return false
      if (((entry ^ hash) & hashMask) !== 0) continue
      let node = (entry & ~hashMask) << 2
      if ((list.hash(node) ^ hash) === 0 && list.keyEquals(node, key, keyStart, keyEnd)) {
        while (list.sequence(node) > sequence) {
          // What is not linked yet notes the version before as its next.
          node = list.next(node)
          if (node === 0 || !list.keyEquals(node, key, keyStart, keyEnd)) return false
        }
        result.kind = list.kind(node)
        result.sequence = list.sequence(node)
        result.valueBytes = list.bytes
        result.valueStart = node + NODE_KEY_OFFSET + (keyEnd - keyStart)
        result.valueEnd = result.valueStart + list.valueLength(node)
        return true
      }
    }
  }

  /**
   * Called by who is about to ask for a cursor: whether he can. Links some of what was deferred; to
   * be asked again in a later turn of the event loop when that was not all.
   */
  prepareScan(): boolean {
    if (this.#list.entryCount > LINKED_AT_ONCE) this.#wasScanned = true
    if (this.#defers) this.#linkSome()
    return !this.#defers
  }

  /**
   * A cursor over the entries. It sees what is inserted later, at its place in the order. Requires
   * that it does not defer.
   */
  cursor(): Cursor {
    assert(!this.#defers, 'every entry has its place before a scan')
    return new MemtableCursor(this.#list)
  }

  /** Gives the next entries their places; all together, so that every version leads to the next. */
  #linkSome(): void {
    const list = this.#list
    const { entryCount } = list
    const brought = this.#seenCount === 0 ? 0 : entryCount - this.#seenCount
    const count = Math.min(Math.max(LINKED_AT_ONCE, 2 * brought), LINKED_AT_ONCE_MAX)
    const to = Math.min(this.#linkedCount + count, entryCount)
    this.#seenCount = entryCount
    const nodes = this.memory.arrivals.slice(this.#linkedCount, to)
    sortNodes(list, nodes)
    list.link(nodes)
    this.#linkedCount = to
    if (to === entryCount) this.#defers = false
  }
}

/** Mixes the high bits down: bloom filters and partitions use up the low ones. */
function spread(hash: number): number {
  return (hash ^ (hash >>> 15)) >>> 0
}
