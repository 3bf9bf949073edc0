/**
 * The operations on user keys over the engine: partitions in front of keys, versions in front of
 * values, expiry and tombstones behind the scenes.
 *
 * Deletions. A deletion is a tombstone, a stored form with a version like any other, so that an
 * older put which arrives later (a retry, once the cluster has peers a hint or a repair) loses
 * against it. On a cluster of one nothing else needs it, and no version older than
 * SKEW_BEHIND_MAX_MS is accepted; so a tombstone is written with an engine expiry a little beyond
 * that, and compaction drops it: no sweep, no growth. A value with a time to live counts as a
 * tombstone of its version once expired, and is kept as long. A node with peers writes the same
 * stored forms without that expiry, and purges by what its replicas confirmed; what it finds from
 * before it had peers needs no migration, for no peer can hold anything older.
 *
 * Expiry is the version's time plus the time to live, so every retry, and later every replica,
 * stores the same bytes.
 */

import { assert } from '../assert.ts'
import { copyBytes, DecodeError } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { AbortedError, CorruptionError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import type { Durability } from '../key-value-store.ts'
import { WorkTurns } from '../work-turns.ts'
import { versionCounter, versionTimeMs } from '../write-version.ts'
import { chunkAllocator, slabAllocator } from './byte-slab.ts'
import {
  type HybridLogicalClock,
  REPLICAS_AHEAD_MAX_MS,
  SKEW_AHEAD_MAX_MS,
  SKEW_BEHIND_MAX_MS,
} from './hybrid-logical-clock.ts'
import { keyText } from './key-text.ts'
import type { LargeWrite } from './large-write.ts'
import { keyName } from './last-of-keys.ts'
import { LatestVersions } from './latest-versions.ts'
import { readMany } from './many-reads.ts'
import { engineUserKey, NodeKey, nodeKey, type Partitioner } from './partition.ts'
import type { MaybePromise, Store, StoreEntry, StorePut } from './store.ts'
import { encodeOperation, type StoreWrite, sizeOf } from './store-operation.ts'
import { StoreUpdates } from './store-updates.ts'
import { latestOfKeys } from './stored-entries.ts'
import { TimeSlice } from './time-slice.ts'
import { UnreadableForms } from './unreadable-forms.ts'
import {
  checkStored,
  expiryMs,
  isTombstone,
  liveValue,
  liveValueStart,
  storedTimeMs,
  storedVersion,
} from './versioned-value.ts'
import { VersionedWriter, type VersionedWriterStats } from './versioned-writer.ts'
import { WorkPlaces } from './work-places.ts'
import { WriteCounts } from './write-counts.ts'
import type { LargeDuties, WriteDuties } from './write-duties.ts'

/** How long tombstones outlive their version: longer than any older version is accepted. */
export const TOMBSTONE_RETENTION_MS = SKEW_BEHIND_MAX_MS + 60_000

/** Calls of getMany that read at the same time; the others hold nothing but their keys. */
const GET_MANY_AT_ONCE = 32
/** Operations of one batch up to which it is prepared at once, in about a millisecond. */
export const LARGE_COUNT = 512
/** Larger ones under way at once: one is prepared while the engine has another. */
const LARGE_AT_ONCE = 2
/** For keys and stored forms of a larger one. */
const LARGE_CHUNK_SIZE = 64 * 1024
/** Keys and values of single writes share memory: an array alone takes 0.4 us, a part 0.05. */
const CHUNK_SIZE = 16 * 1024

/** A key and what is stored under it, as replicas exchange them. */
export interface StoredEntry {
  readonly engineKey: Uint8Array
  readonly stored: Uint8Array
}

/** Something to write when only the durability of what was written before it matters. */
const BARRIER: StorePut = {
  type: 'put',
  key: nodeKey(NodeKey.barrier),
  value: new Uint8Array(0),
  expiryMs: 0,
}

export interface WriteTerms {
  readonly durability: Durability | undefined
  /** Assigned by the writer, the same in every retry; undefined leaves it to this node. */
  readonly version: Uint8Array | undefined
  /** Of a write of one key: hears its version; see RequestContext. */
  readonly onVersion?: ((version: Uint8Array) => void) | undefined
  /** Whom the write is for: long work is divided between clients. Absent: a client of its own. */
  readonly client?: ClientIdentity
  /** True once nobody waits for it: a large write that was not submitted yet is given up. */
  readonly cancelled?: boolean
}

export interface PartitionedStoreOptions {
  readonly store: Store
  readonly partitioner: Partitioner
  readonly versions: HybridLogicalClock
  readonly clock: Clock
  /** The directory, for messages. */
  readonly path: string
  /**
   * True from when the node has peers: then the engine forgets nothing by itself. Absent: never.
   */
  readonly isReplicated?: () => boolean
}

/** What other replicas are owed of a write, however it is written. */
export interface BatchDuties extends WriteDuties {
  /** For a batch of more than LARGE_COUNT operations. */
  readonly large: LargeDuties
}

export class PartitionedStore {
  readonly store: Store
  readonly partitioner: Partitioner
  readonly clock: Clock
  /** Kept only with peers. */
  readonly writeCounts: WriteCounts
  /** Shared by everything that takes long: scans, counts, getMany. */
  readonly turns: WorkTurns
  /** Large batches that are not over yet: what is written meanwhile waits behind them. */
  readonly #largePlaces = new WorkPlaces(LARGE_AT_ONCE)
  /** Of those, the one that is prepared; see VersionedWriter. */
  readonly #preparePlaces = new WorkPlaces(1)
  readonly #getManyPlaces = new WorkPlaces(GET_MANY_AT_ONCE)
  readonly #versions: HybridLogicalClock
  readonly #latest: LatestVersions
  readonly #writer: VersionedWriter
  readonly updates: StoreUpdates
  /** With peers: what happens where something comes in the place of what cannot be read. */
  readonly unreadable: UnreadableForms
  readonly #path: string
  /** For what single writes hold until they are in the engine, and reads until they are over. */
  readonly #allocate = chunkAllocator(CHUNK_SIZE)

  constructor(options: PartitionedStoreOptions) {
    this.store = options.store
    this.partitioner = options.partitioner
    this.clock = options.clock
    this.turns = new WorkTurns(options.clock)
    this.#versions = options.versions
    this.#path = options.path
    this.writeCounts = new WriteCounts(options.partitioner.count)
    // An earlier process may have accepted what lay so far ahead, and died before its mark did.
    const isReplicated = options.isReplicated?.() === true
    const aheadMs = isReplicated ? REPLICAS_AHEAD_MAX_MS : SKEW_AHEAD_MAX_MS
    const floorMs = Math.floor(options.clock.wallMs()) + aheadMs
    this.#latest = new LatestVersions(Math.max(options.versions.storedMs, floorMs))
    this.unreadable = new UnreadableForms(options.store)
    this.#writer = new VersionedWriter({
      store: options.store,
      current: key =>
        options.isReplicated?.() === true ? this.unreadable.current(key) : options.store.read(key),
      onOver: names => {
        if (options.isReplicated?.() === true) this.writeCounts.add(names)
      },
      forgetMs: stored => (options.isReplicated?.() === true ? 0 : storeExpiryMs(stored)),
      barrier: durability => this.barrier(durability),
    })
    this.updates = new StoreUpdates({
      store: this,
      writer: this.#writer,
      newest: operations => this.#newest(operations),
      covered: written => this.#covered(written),
    })
  }

  /** The operations as they are stored under the next version, in buffers of their own. */
  #newest(operations: readonly StoreWrite[]): StoredEntry[] {
    const hashes = operations.map(({ key }) => this.partitioner.hash(key))
    const version = this.#ownVersion(hashes)
    this.#raiseLatest(hashes, version)
    return this.entriesOf(operations, version)
  }

  /** Undefined, or resolves once all is over that was asked for and may not be submitted yet. */
  prepared(): Promise<void> | undefined {
    return this.#writer.preparing.over()
  }

  get stats(): VersionedWriterStats {
    return this.#writer.stats
  }

  /** The value in a buffer of the caller's own, or undefined. */
  get(key: Uint8Array): MaybePromise<Uint8Array | undefined> {
    const engineKey = this.partitioner.engineKey(key, this.#allocate)
    const stored = this.store.read(engineKey)
    if (stored instanceof Promise) return stored.then(late => this.#live(engineKey, late))
    return this.#live(engineKey, stored)
  }

  /**
   * One result per key, of one moment. Answers only the first of them, at least one, once the
   * values come to `bytesMax`. `client` is whom it is for; absent: a client of its own.
   */
  getMany(
    keys: readonly Uint8Array[],
    bytesMax: number,
    client: ClientIdentity = {},
  ): Promise<(Uint8Array | undefined)[]> {
    const engineKeys = keys.map(key => this.partitioner.engineKey(key))
    return this.#getManyPlaces.use(client, async () => {
      const slice = new TimeSlice(this.turns, client)
      await slice.begin()
      const snapshot = this.store.snapshot()
      try {
        const { store } = this
        const live = this.#live.bind(this)
        return await readMany({ store, engineKeys, snapshot, slice, bytesMax, live })
      } finally {
        snapshot.release()
      }
    })
  }

  put(key: Uint8Array, value: Uint8Array, ttlMs: number, terms: WriteTerms): Promise<void> {
    return this.batch([{ type: 'put', key, value, ttlMs }], terms)
  }

  delete(key: Uint8Array, terms: WriteTerms): Promise<void> {
    return this.batch([{ type: 'del', key }], terms)
  }

  /**
   * All or none, under one version; of several operations on a key the last one counts. Keys and
   * values of more than LARGE_COUNT operations must not change until it resolves.
   */
  batch(operations: readonly StoreWrite[], terms: WriteTerms, duties?: BatchDuties): Promise<void> {
    if (operations.length === 0) return Promise.resolve()
    if (operations.length > LARGE_COUNT) return this.#batchInTurns(operations, terms, duties)
    const allocate = operations.length === 1 ? this.#allocate : slabAllocator(sizeOf(operations))
    const hashes = operations.map(({ key }) => this.partitioner.hash(key))
    const keys = operations.map(({ key }, index) => {
      return this.partitioner.engineKey(key, allocate, hashes[index])
    })
    const version = terms.version === undefined ? this.#ownVersion(hashes) : this.versionOf(terms)
    terms.onVersion?.(version)
    const stored = operations.map(operation => encodeOperation(operation, version, allocate))
    const write = (): Promise<void> => {
      const isLatest = this.#isLatest(hashes, version)
      this.#raiseLatest(hashes, version)
      const written = this.#writer.write(keys, stored, isLatest, terms.durability, duties)
      return this.#covered(written)
    }
    const noted = this.#versions.noteStored(versionTimeMs(version))
    return noted === undefined ? write() : this.#writer.preparing.track(noted.then(write))
  }

  /** A version of this node that is later than what these keys were given, wherever that was. */
  #ownVersion(hashes: readonly number[]): Uint8Array {
    let version = this.#versions.next()
    for (const hash of hashes) {
      if (this.#isLatest([hash], version)) continue
      const { timeMs, counter } = this.#latest.latest(hash)
      version = this.#versions.nextAbove(timeMs, counter)
    }
    return version
  }

  /** The operations as they are stored under that version, in buffers of their own. */
  entriesOf(operations: readonly StoreWrite[], version: Uint8Array): StoredEntry[] {
    const allocate = slabAllocator(sizeOf(operations))
    return operations.map(operation => ({
      engineKey: this.partitioner.engineKey(operation.key, allocate),
      stored: encodeOperation(operation, version, allocate),
    }))
  }

  /** As applyStored with `sync`, of forms on which a quorum agreed. */
  applyAgreed(entries: readonly StoredEntry[]): Promise<void> {
    return this.unreadable.asAgreed(entries, () => this.applyStored(entries, 'sync'))
  }

  /** Undefined, or resolves, when a restart cannot give any version so far again. */
  covered(): Promise<void> | undefined {
    return this.#versions.covered()
  }

  #covered(written: Promise<void>): Promise<void> {
    const covered = this.covered()
    return covered === undefined ? written : settleBoth(written, covered)
  }

  /** As batch, with the event loop and the log shared with others. */
  #batchInTurns(
    operations: readonly StoreWrite[],
    terms: WriteTerms,
    duties: BatchDuties | undefined,
  ): Promise<void> {
    const client = terms.client ?? {}
    const batching = this.#largePlaces.use(client, async () => {
      const submitted = await this.#preparePlaces.use(client, async () => {
        const slice = new TimeSlice(this.turns, client)
        await slice.begin()
        const write = this.#largeWrite(operations, terms, slice)
        return await this.#writer.writeLarge({ ...write, duties: duties?.large })
      })
      await this.#covered(submitted.done)
    })
    return this.#writer.preparing.track(batching)
  }

  #largeWrite(operations: readonly StoreWrite[], terms: WriteTerms, slice: TimeSlice): LargeWrite {
    const allocate = chunkAllocator(LARGE_CHUNK_SIZE)
    const keys: Uint8Array[] = []
    let version: Uint8Array | undefined
    return {
      count: operations.length,
      durability: terms.durability,
      keyAt: at => {
        keys[at] ??= this.partitioner.engineKey(operations[at]!.key, allocate)
        return keys[at]
      },
      begin: () => {
        version = this.versionOf(terms)
        return this.#versions.noteStored(versionTimeMs(version))
      },
      isLatestAt: at => {
        assert(version !== undefined, 'a large write has begun before it compares')
        return this.#isLatest([this.#hashAt(operations, at)], version)
      },
      storedAt: at => {
        assert(version !== undefined, 'a large write has begun before it stores')
        // Not before all were compared: keys of one batch share slots.
        this.#raiseLatest([this.#hashAt(operations, at)], version)
        return encodeOperation(operations[at]!, version, allocate)
      },
      pause: () => {
        if (terms.cancelled === true) throw new AbortedError('nobody waits for this batch')
        return slice.isOver ? slice.pause() : undefined
      },
    }
  }

  /** What is stored under an engine key, intact or not, in a buffer of the caller's own. */
  readStored(engineKey: Uint8Array): MaybePromise<Uint8Array | undefined> {
    return this.store.read(engineKey)
  }

  /**
   * Merges what another replica has: of two stored forms of a key the later one stays. Resolves
   * once what stays is visible and as durable as asked. Takes over the buffers. Throws DecodeError,
   * and changes nothing, when one of them is no stored form.
   */
  applyStored(
    entries: readonly StoredEntry[],
    durability?: Durability,
    duties?: WriteDuties,
  ): Promise<void> {
    if (entries.length === 0) return Promise.resolve()
    for (const { stored } of entries) checkStored(stored)
    const latest = latestOfKeys(entries)
    const timesMs = latest.map(({ stored }) => storedTimeMs(stored))
    const noted = this.#versions.noteStored(Math.max(...timesMs))
    const apply = (): Promise<void> => this.#apply(latest, durability, duties)
    return noted === undefined ? apply() : this.#writer.preparing.track(noted.then(apply))
  }

  #apply(
    latest: readonly StoredEntry[],
    durability: Durability | undefined,
    duties: WriteDuties | undefined,
  ): Promise<void> {
    const keys = latest.map(({ engineKey }) => engineKey)
    const stored = latest.map(entry => entry.stored)
    let isLatest = true
    for (const [index, engineKey] of keys.entries()) {
      const hash = this.partitioner.hash(engineUserKey(engineKey))
      const version = storedVersion(stored[index]!)
      isLatest = this.#isLatest([hash], version) && isLatest
      this.#raiseLatest([hash], version)
      this.#versions.follow(version)
    }
    return this.#covered(this.#writer.write(keys, stored, isLatest, durability, duties))
  }

  /** Deletes what still is as it was read, and resolves to how many were; see purge-sweep.ts. */
  purge(entries: readonly StoredEntry[]): Promise<number> {
    const stored = entries.map(entry => entry.stored)
    return this.#writer.purge(
      entries.map(({ engineKey }) => engineKey),
      stored,
    )
  }

  /** The same of what others have, live or not; resolves once the deletions are fsynced. */
  async drop(entries: readonly StoredEntry[]): Promise<number> {
    const count = await this.purge(entries)
    this.writeCounts.add(entries.map(({ engineKey }) => keyName(engineKey)))
    await this.barrier('sync')
    return count
  }

  /** Resolves once everything submitted before it is as durable as asked. */
  barrier(durability: Durability | undefined): Promise<void> {
    return this.store.write([BARRIER], { durability })
  }

  /** A stored form as scans see it: the user's value, borrowed, or undefined when not live. */
  liveAt(engineKey: Uint8Array, stored: Uint8Array, nowMs: number): Uint8Array | undefined {
    try {
      return liveValue(stored, nowMs)
    } catch (error) {
      if (error instanceof DecodeError) throw this.#corruption(engineKey, error)
      throw error
    }
  }

  /**
   * Where the user's value begins in the value of an entry that a scan came to, which it ends with;
   * -1 when not live.
   */
  liveStart(entry: StoreEntry, nowMs: number): number {
    const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = entry
    try {
      return liveValueStart(valueBytes, valueStart, valueEnd, nowMs)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      throw this.#corruption(copyBytes(keyBytes, keyStart, keyEnd), error)
    }
  }

  #live(engineKey: Uint8Array, stored: Uint8Array | undefined): Uint8Array | undefined {
    return stored === undefined ? undefined : this.liveAt(engineKey, stored, this.clock.wallMs())
  }

  /** Whether the version is known to be the greatest so far for each of these keys. */
  #isLatest(hashes: readonly number[], version: Uint8Array): boolean {
    const timeMs = versionTimeMs(version)
    const counter = versionCounter(version)
    return hashes.every(hash => this.#latest.isLatest(hash, timeMs, counter))
  }

  #raiseLatest(hashes: readonly number[], version: Uint8Array): void {
    const timeMs = versionTimeMs(version)
    const counter = versionCounter(version)
    for (const hash of hashes) this.#latest.raise(hash, timeMs, counter)
  }

  #hashAt(operations: readonly StoreWrite[], at: number): number {
    return this.partitioner.hash(operations[at]!.key)
  }

  /** The version of a write; throws ClockSkewError for one that is too far from our time. */
  versionOf(terms: Pick<WriteTerms, 'version'>): Uint8Array {
    if (terms.version === undefined) return this.#versions.next()
    this.#versions.witness(terms.version)
    return terms.version
  }

  /** Of writes that another node versioned or passed on; throws as versionOf, and DecodeError. */
  witness(entries: readonly StoredEntry[]): void {
    for (const { stored } of entries) {
      checkStored(stored)
      this.#versions.witness(storedVersion(stored))
    }
  }

  #corruption(engineKey: Uint8Array, error: DecodeError): CorruptionError {
    const userKey = engineUserKey(engineKey)
    const where = `the stored form of key ${keyText(userKey)}`
    const partition = this.partitioner.partitionOf(userKey)
    return new CorruptionError(
      { path: `${this.#path}/partition ${partition}`, offset: error.offset },
      `${where} cannot be read: ${error.message}`,
      { cause: error },
    )
  }
}

/** When the engine of a cluster of one may forget a stored form; see the head of this file. */
export function storeExpiryMs(stored: Uint8Array): number {
  const expiry = expiryMs(stored)
  if (expiry === 0 && !isTombstone(stored)) return 0
  return Math.max(expiry, storedTimeMs(stored) + TOMBSTONE_RETENTION_MS)
}

/** The failure of the write is the one to report, and at once; the clock's comes second. */
async function settleBoth(written: Promise<void>, covered: Promise<void>): Promise<void> {
  const covering = Promise.allSettled([covered])
  await written
  const [cover] = await covering
  if (cover.status === 'rejected') throw cover.reason
}
