/**
 * Point reads: memtables from the newest to the oldest, then level 0 from the newest table, then
 * one table a level.
 *
 * One synchronous lookup serves everybody. When it needs a block that is not in memory it either
 * reads it at once (getSync) or gives up with BlockMiss; then the block is loaded and the lookup
 * starts again from the top, against the state of that later moment. A hot read costs no promise.
 *
 * Invariants:
 *  1. A lookup never mixes two states: it runs in one synchronous slice.
 *  2. A read without a snapshot that starts again reads at the sequence visible then. Reading at
 *     the old one could miss: nothing keeps old versions alive for it.
 *  3. A large value is copied over several turns. What it is copied from does not change: the
 *     memory of a memtable is held, and of a block that large no buffer is ever used again.
 */
import { compareRanges, copyBytes } from '../bytes.ts'
import { xxh32 } from '../hash.ts'
import { BlockMiss, type BlockSource } from './block-source.ts'
import { CopyPool } from './copy-pool.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { EntryKind, EXPIRY_SIZE, readExpiry } from './internal-key.ts'
import type { LargeBlockHold } from './large-blocks.ts'
import { LookupResult } from './lookup-result.ts'
import type { Memtable } from './memtable.ts'
import { coveringSequence } from './range-fragment.ts'
import type { ReadGate } from './read-gate.ts'
import { copyInSlices, LARGE_SIZE_MIN, uninitialized } from './slices.ts'
import type { TableCache } from './table-cache.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { TreeState } from './tree-state.ts'
import { LEVEL_COUNT } from './version.ts'

/** What one memtable or table says of a key: an entry, a range tombstone, or ask an older one. */
const UNDECIDED = 0
const FOUND = 1
const HIDDEN = 2
type Answer = typeof UNDECIDED | typeof FOUND | typeof HIDDEN

/**
 * After so many lookups in a row that found their key in the last level its filter is not asked:
 * it would say yes, and a line of it is a wait for memory of its own, a tenth of a read. The first
 * key that is absent ends it, so of so many reads at most one searches a block in vain for it.
 */
const HITS_WITHOUT_FILTER = 64

/** After so many loads for one read the cache is too small to make progress: read at once. */
const ATTEMPTS_MAX = 32
const NOTHING: Uint8Array = new Uint8Array(0)

export interface PointReadStats {
  readonly reads: number
  readonly memtableHits: number
  /** Loads that reads had to wait for. */
  readonly waits: number
  /** Tables that were asked for a key: tableProbes = filterNegatives + tableHits + tableMisses. */
  readonly tableProbes: number
  /** Those that the filter answered, without a block. */
  readonly filterNegatives: number
  /** Those that had the key. */
  readonly tableHits: number
  /** Those in which a block was searched in vain: the filter erred, or was not asked. */
  readonly tableMisses: number
}

export class PointReads {
  readonly #state: TreeState
  readonly #tables: TableCache
  readonly #expiry: ExpiryClock
  readonly #gate: ReadGate
  readonly #result = new LookupResult()
  /** The memtable that #result is of; undefined for a table. */
  #foundIn: Memtable | undefined
  readonly #copies = new CopyPool()
  #reads = 0
  #memtableHits = 0
  #waits = 0
  #filterNegatives = 0
  #tableHits = 0
  #tableMisses = 0
  /** The same of the lookup at hand, which may have to start again. */
  #negatives = 0
  #hits = 0
  #misses = 0
  /** So many lookups in the last level, up to the bound, have found their key since one did not. */
  #hitsInARow = 0

  /** `gate` is for all that wait for the disk of these tables. */
  constructor(state: TreeState, tables: TableCache, expiry: ExpiryClock, gate: ReadGate) {
    this.#state = state
    this.#tables = tables
    this.#expiry = expiry
    this.#gate = gate
  }

  get stats(): PointReadStats {
    return {
      reads: this.#reads,
      memtableHits: this.#memtableHits,
      waits: this.#waits,
      tableProbes: this.#filterNegatives + this.#tableHits + this.#tableMisses,
      filterNegatives: this.#filterNegatives,
      tableHits: this.#tableHits,
      tableMisses: this.#tableMisses,
    }
  }

  /** Reads within the call, from disk if it must. `sequence` undefined reads the newest state. */
  readSync(key: Uint8Array, sequence: number | undefined): Uint8Array | undefined {
    this.#reads++
    const { points } = this.#tables
    try {
      if (!this.#lookup(key, sequence ?? this.#state.visibleSequence, points)) return undefined
      return this.#copyNow()
    } finally {
      this.#letGo(points)
    }
  }

  /** Whether the key is there: a read that copies no value. */
  async has(key: Uint8Array, sequence: number | undefined): Promise<boolean> {
    return (await this.read(key, sequence, false)) !== undefined
  }

  /** Answers directly from memory, with a promise when the disk is needed. */
  read(
    key: Uint8Array,
    sequence: number | undefined,
    wantsValue = true,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    this.#reads++
    const at = sequence ?? this.#state.visibleSequence
    try {
      return this.#lookup(key, at, this.#tables.deferred) ? this.#value(wantsValue) : undefined
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      // The caller may reuse its buffer once this call returns.
      return this.#readLater(copyBytes(key), sequence, wantsValue, error)
    }
  }

  async #readLater(
    key: Uint8Array,
    sequence: number | undefined,
    wantsValue: boolean,
    miss: BlockMiss,
  ): Promise<Uint8Array | undefined> {
    // Whoever releases the caller's own meanwhile does not change the answer.
    using _snapshot = sequence === undefined ? undefined : this.#state.snapshots.take(sequence)
    const entered = this.#gate.enter()
    if (entered !== undefined) await entered
    try {
      const first = entered === undefined ? miss : undefined
      return await this.#readFromDisk(key, sequence, wantsValue, first)
    } finally {
      this.#gate.leave()
    }
  }

  /** `miss` is what the lookup in this very slice ended with. */
  async #readFromDisk(
    key: Uint8Array,
    sequence: number | undefined,
    wantsValue: boolean,
    miss: BlockMiss | undefined,
  ): Promise<Uint8Array | undefined> {
    const { deferred, points } = this.#tables
    using hold = this.#tables.holdLarge()
    let load = miss === undefined ? undefined : this.#load(miss, hold)
    for (let attempt = 1; attempt < ATTEMPTS_MAX; attempt++) {
      await load
      const at = sequence ?? this.#state.visibleSequence
      try {
        if (!this.#lookup(key, at, deferred)) return undefined
        // What it is copied from is held until then.
        return await this.#value(wantsValue)
      } catch (error) {
        if (!(error instanceof BlockMiss)) throw error
        load = this.#load(error, hold)
      } finally {
        this.#letGo(deferred)
      }
    }
    await load
    try {
      const isThere = this.#lookup(key, sequence ?? this.#state.visibleSequence, points)
      if (!isThere) return undefined
      return wantsValue ? this.#copyNow() : NOTHING
    } finally {
      this.#letGo(points)
    }
  }

  async #load(miss: BlockMiss, hold: LargeBlockHold): Promise<void> {
    this.#waits++
    const { version } = this.#state
    try {
      hold.keep(await miss.load())
    } catch (error) {
      // A table that a compaction replaced meanwhile is not needed any more: look again.
      if (version === this.#state.version) throw error
    }
  }

  /** A block that is too large for the cache must not stay in memory for a view that shows it. */
  #letGo({ lookupView }: BlockSource): void {
    if (lookupView.bytes.length <= LARGE_SIZE_MIN) return
    lookupView.bytes = NOTHING
    this.#result.valueBytes = NOTHING
  }

  /** Whether there is a value; then it is described in #result. May throw BlockMiss. */
  #lookup(key: Uint8Array, sequence: number, source: BlockSource): boolean {
    const result = this.#result
    this.#negatives = this.#hits = this.#misses = 0
    const isFound = this.#find(key, sequence, source)
    this.#filterNegatives += this.#negatives
    this.#tableHits += this.#hits
    this.#tableMisses += this.#misses
    if (!isFound) return false
    if (result.kind === EntryKind.put) return true
    if (result.kind !== EntryKind.putExpiring) return false
    if (readExpiry(result.valueBytes, result.valueStart) <= this.#expiry.nowMs) return false
    result.valueStart += EXPIRY_SIZE
    return true
  }

  /** The value in #result in a buffer of its own, or anything when it is not wanted. */
  #value(wantsValue: boolean): Uint8Array | Promise<Uint8Array> {
    if (!wantsValue) return NOTHING
    const { valueStart, valueEnd } = this.#result
    if (valueEnd - valueStart <= LARGE_SIZE_MIN) return this.#copyNow()
    const copy = this.#copyLarge()
    this.#letGo(this.#tables.deferred)
    return copy
  }

  #copyNow(): Uint8Array {
    const { valueBytes, valueStart, valueEnd } = this.#result
    return this.#copies.copy(valueBytes, valueStart, valueEnd)
  }

  async #copyLarge(): Promise<Uint8Array> {
    const { valueBytes, valueStart, valueEnd } = this.#result
    const memory = this.#foundIn?.memory
    memory?.hold()
    try {
      const copy = uninitialized(valueEnd - valueStart)
      await copyInSlices(valueBytes, valueStart, valueEnd, copy, 0)
      return copy
    } finally {
      memory?.letGo()
    }
  }

  /**
   * Describes the newest version at or below `sequence` in #result, whatever its kind. False when
   * there is none, or a range tombstone hides it.
   */
  #find(key: Uint8Array, sequence: number, source: BlockSource): boolean {
    const state = this.#state
    // As a signed number it is a small integer; half of the unsigned ones would be boxed.
    const hash = xxh32(key, 0, key.length, 0) | 0
    this.#foundIn = undefined
    let answer = this.#findInMemtable(state.memtable, hash, key, sequence)
    for (const memtable of state.frozen) {
      if (answer !== UNDECIDED) break
      answer = this.#findInMemtable(memtable, hash, key, sequence)
    }
    if (answer !== UNDECIDED) {
      this.#memtableHits++
      return answer === FOUND
    }
    const { version } = state
    for (const table of version.levels[0]!) {
      if (!isInRange(table, key)) continue
      answer = this.#findInTable(table, hash, key, sequence, source, true)
      if (answer !== UNDECIDED) return answer === FOUND
    }
    for (let level = 1; level < LEVEL_COUNT; level++) {
      if (version.levelSizes[level] === 0) continue
      const table = version.find(level, key, 0, key.length)
      if (table === undefined) continue
      answer =
        level === LEVEL_COUNT - 1
          ? this.#findInLast(table, hash, key, sequence, source)
          : this.#findInTable(table, hash, key, sequence, source, true)
      if (answer !== UNDECIDED) return answer === FOUND
    }
    return false
  }

  #findInMemtable(memtable: Memtable, hash: number, key: Uint8Array, sequence: number): Answer {
    const { length } = key
    const found = memtable.get(hash, key, 0, length, sequence, this.#result)
    if (found) this.#foundIn = memtable
    if (memtable.rangeCount === 0) return found ? FOUND : UNDECIDED
    return this.#judge(found, memtable.coveringSequence(key, 0, length, sequence))
  }

  /** #findInTable of the last level, where the filter is not asked while that seems needless. */
  #findInLast(
    table: TableMetadata,
    hash: number,
    key: Uint8Array,
    sequence: number,
    source: BlockSource,
  ): Answer {
    const asksFilter = this.#hitsInARow < HITS_WITHOUT_FILTER
    const answer = this.#findInTable(table, hash, key, sequence, source, asksFilter)
    if (this.#hits === 0) this.#hitsInARow = 0
    else if (asksFilter) this.#hitsInARow++
    return answer
  }

  #findInTable(
    table: TableMetadata,
    hash: number,
    key: Uint8Array,
    sequence: number,
    source: BlockSource,
    asksFilter: boolean,
  ): Answer {
    const { length } = key
    const reader = source.open(table)
    let found = false
    if (asksFilter && !reader.mayContain(hash)) this.#negatives++
    else if (reader.find(key, 0, length, hash, sequence, source, this.#result)) {
      found = true
      this.#hits++
    } else this.#misses++
    if (table.rangeTombstoneCount === 0) return found ? FOUND : UNDECIDED
    return this.#judge(found, coveringSequence(reader.ranges, key, 0, length, sequence))
  }

  /** `covering` is the newest range tombstone over the key: it hides what is older, anywhere. */
  #judge(found: boolean, covering: number): Answer {
    if (covering === 0) return found ? FOUND : UNDECIDED
    return found && this.#result.sequence > covering ? FOUND : HIDDEN
  }
}

function isInRange(table: TableMetadata, key: Uint8Array): boolean {
  const { smallestKey, largestKey } = table
  const { length } = key
  return (
    compareRanges(key, 0, length, smallestKey, 0, smallestKey.length) >= 0 &&
    compareRanges(key, 0, length, largestKey, 0, largestKey.length) <= 0
  )
}
