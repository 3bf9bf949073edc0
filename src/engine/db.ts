/**
 * An open database: checks arguments and passes them on. What happens is elsewhere: writes in
 * write-queue.ts, point reads in point-reads.ts, ranges in range-reads.ts, flush and compaction in
 * flusher.ts and compactor.ts, opening in open.ts.
 */
import {
  byteRange,
  checkArray,
  checkObject,
  checkSignal,
  checkTtl,
  isEmptyRange,
  keyBytes,
  knownSignal,
  logDataBytes,
  scanLimit,
  valueBytes,
} from '../arguments.ts'
import { attempt } from '../attempt.ts'
import { ClosedError, InvalidArgumentError } from '../errors.ts'
import type {
  BytesInput,
  Durability,
  Entry,
  KeyRange,
  KeyValueStore,
  PutOptions,
  ReadOptions,
  ScanOptions,
  Snapshot,
  WriteOptions,
} from '../key-value-store.ts'
import {
  checkOptions,
  PUT_OPTIONS,
  RANGE_MEMBERS,
  READ_OPTIONS,
  SCAN_OPTIONS,
  WRITE_OPTIONS,
} from '../option-names.ts'
import type { BackupResult } from './backup-job.ts'
import {
  checkBatchSize,
  type EmbeddedOperation,
  rangeOperation,
  toEngineOperations,
} from './batch-operations.ts'
import type { SequenceRange } from './change-batch.ts'
import type { ChangeFeed, ChangesOptions } from './change-feed.ts'
import type { CheckpointResult } from './checkpoint-job.ts'
import type { BatchOptions, CommitOptions, DbParts, SyncReadOptions } from './db-parts.ts'
import type { DbStats } from './db-stats.ts'
import type { DbEventListener } from './event-stream.ts'
import { sourceOf } from './large-batch.ts'
import { LoopTurns } from './loop-turns.ts'
import type { BackupOptions, CheckpointOptions, CompactOptions } from './maintenance.ts'
import type { MaintenanceOptions } from './maintenance-operation.ts'
import { checkDurability, checkPurgeBound } from './options.ts'
import type { CommitFrame, PreparedWrite } from './prepared-write.ts'
import { RangePages } from './range-pages.ts'
import type { LeapRead, RangeChunk, RangeRead } from './range-read.ts'
import { RangeScan, type SeekableScan } from './range-scan.ts'
import { snapshotSequence } from './snapshots.ts'
import type { VerifyReport } from './verify-job.ts'
import { checkSequence, type WalHold } from './wal-hold.ts'
import type { EngineOperation } from './write-group.ts'

const BATCH_OPTIONS: ReadonlySet<string> = new Set([...WRITE_OPTIONS, 'logData'])
const COMPACT_OPTIONS: ReadonlySet<string> = new Set([
  ...RANGE_MEMBERS,
  ...['signal', 'onProgress', 'rewrite'],
])

export class Db implements KeyValueStore {
  readonly #parts: DbParts
  readonly #turns: LoopTurns
  #closing: Promise<void> | undefined

  /** Use open() instead: it recovers the directory and builds the parts. */
  constructor(parts: DbParts) {
    this.#parts = parts
    this.#turns = new LoopTurns(parts.clock)
  }

  /** Whether the database takes calls. */
  get status(): 'open' | 'closed' {
    return this.#closing === undefined ? 'open' : 'closed'
  }

  /** The value, or undefined. Blocks the event loop while a block is read from disk. */
  getSync(key: BytesInput, options?: SyncReadOptions): Uint8Array | undefined {
    this.#checkOpen()
    checkOptions(options, READ_OPTIONS)
    return this.#parts.pointReads.readSync(keyBytes(key), this.#sequence(options?.snapshot))
  }

  get(key: BytesInput, options?: ReadOptions): Promise<Uint8Array | undefined> {
    try {
      checkOptions(options, READ_OPTIONS)
      checkSignal(options?.signal)
      const value = this.read(keyBytes(key), options?.snapshot)
      return value instanceof Promise ? value : this.#turns.answer(value)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The hot path of get: answers directly when memory has it, with a promise when the disk is
   * needed. `key` must have 1 to KEY_SIZE_MAX bytes; the result belongs to the caller.
   */
  read(
    key: Uint8Array,
    snapshot?: Snapshot,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    this.#checkOpen()
    return this.#parts.pointReads.read(key, this.#sequence(snapshot))
  }

  async getMany(
    keys: readonly BytesInput[],
    options?: ReadOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    checkOptions(options, READ_OPTIONS)
    checkSignal(options?.signal)
    this.#checkOpen()
    const sought = checkArray(keys, 'keys').map(key => keyBytes(key))
    const snapshot = options?.snapshot
    // One moment for all keys, also when some of them wait for the disk.
    using own = snapshot === undefined ? this.snapshot() : undefined
    return await Promise.all(sought.map(key => attempt(() => this.read(key, snapshot ?? own))))
  }

  /** Whether the key is there. Costs what get() costs, but for the copy of the value. */
  async has(key: BytesInput, options?: ReadOptions): Promise<boolean> {
    checkOptions(options, READ_OPTIONS)
    checkSignal(options?.signal)
    this.#checkOpen()
    return this.#parts.pointReads.has(keyBytes(key), this.#sequence(options?.snapshot))
  }

  put(key: BytesInput, value: BytesInput, options?: PutOptions): Promise<void> {
    try {
      this.#checkOpen()
      checkOptions(options, PUT_OPTIONS)
      checkSignal(options?.signal)
      const ttlMs = options?.ttlMs
      return this.#parts.writes.put(
        keyBytes(key),
        valueBytes(value),
        ttlMs === undefined ? 0 : this.#expiryMs(ttlMs),
        this.#durability(options),
      )
    } catch (error) {
      return Promise.reject(error)
    }
  }

  delete(key: BytesInput, options?: WriteOptions): Promise<void> {
    try {
      this.#checkOpen()
      checkOptions(options, WRITE_OPTIONS)
      checkSignal(options?.signal)
      return this.#parts.writes.delete(keyBytes(key), this.#durability(options))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Deletes every key of the range, at the cost of one small write however many there are: they are
   * hidden at once, and their space is given back in the background. Atomic and as durable as any
   * write; snapshots keep what they see. Bounds are those of `entries`; without any, everything
   * goes. Throws InvalidArgumentError for anything but a plain object of bounds.
   *
   * @example await db.deleteRange({ gte: 'session:', lt: 'session;' })
   */
  async deleteRange(range: KeyRange, options?: WriteOptions): Promise<void> {
    await this.batch([rangeOperation(range)], options)
  }

  /**
   * All operations or none; later ones win over earlier ones on the same key. Keys and values must
   * not change until it has resolved: large batches are encoded in slices. Throws
   * InvalidArgumentError when they are too many or too large together, or when there is `logData`
   * and no operation to go with it.
   */
  batch(operations: readonly EmbeddedOperation[], options?: BatchOptions): Promise<void> {
    try {
      this.#checkOpen()
      checkOptions(options, BATCH_OPTIONS)
      checkSignal(options?.signal)
      const expiryMs = (ttlMs: number) => this.#expiryMs(ttlMs)
      const source = sourceOf(operations, some => toEngineOperations(some, expiryMs))
      const logData = options?.logData === undefined ? undefined : logDataBytes(options.logData)
      return this.#parts.writes.batchOf(source, this.#durability(options), logData)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The hot path of batch: operations whose keys and values are bytes within the limits. Resolves
   * when they are as durable as asked; after a crash all of them are there or none. Rejects with
   * InvalidArgumentError, before anything is written, for what is no such operation.
   */
  write(operations: readonly EngineOperation[], options?: CommitOptions): Promise<void> {
    try {
      this.#checkOpen()
      const logData = options?.logData
      if (checkArray(operations, 'operations').length === 0 && logData === undefined)
        return Promise.resolve()
      checkBatchSize(operations, logData)
      return this.#parts.writes.batch(operations, this.#durability(options), logData)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * write() that tells which sequences the operations got, of which there is at least one: the
   * names of this batch in `onLogData` and in the change feed. Costs a promise more than write().
   */
  commit(operations: readonly EngineOperation[], options?: CommitOptions): Promise<SequenceRange> {
    try {
      this.#checkOpen()
      if (checkArray(operations, 'operations').length === 0)
        throw new InvalidArgumentError('a commit has operations')
      const logData = options?.logData
      checkBatchSize(operations, logData)
      return this.#parts.writes.commit(operations, this.#durability(options), logData)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Begins a batch of so many puts, to be filled over several turns and then committed. */
  prepareWrite(putCount: number, logData?: Uint8Array): PreparedWrite {
    this.#checkOpen()
    const commit: CommitFrame = async (builder, durability) => {
      this.#checkOpen()
      await this.#parts.writes.commitFrame(builder, this.#durability({ durability }))
    }
    return this.#parts.writes.prepare(putCount, commit, logData)
  }

  /** write() for a single put, without an array around it. */
  putBytes(
    key: Uint8Array,
    value: Uint8Array,
    options?: { readonly durability?: Durability | undefined },
  ): Promise<void> {
    try {
      this.#checkOpen()
      return this.#parts.writes.put(keyBytes(key), valueBytes(value), 0, this.#durability(options))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** At most countMax entries of the range; holds nothing between calls but the snapshot. */
  readRange(range: RangeRead): RangeChunk | Promise<RangeChunk> {
    this.#checkOpen()
    return this.#parts.rangeReads.read(range, this.#sequence(range.snapshot))
  }

  /** Looks at entries that lie apart; true at the end, false when `arrive` stopped it. */
  leap(read: LeapRead): boolean | Promise<boolean> {
    this.#checkOpen()
    return this.#parts.rangeReads.leap(read, this.#sequence(read.snapshot))
  }

  entries(options: ScanOptions = {}): SeekableScan<Entry> {
    return this.#scan(options, false, (key, value) => [key, value])
  }

  keys(options: ScanOptions = {}): SeekableScan<Uint8Array> {
    return this.#scan(options, true, key => key)
  }

  values(options: ScanOptions = {}): SeekableScan<Uint8Array> {
    return this.#scan(options, false, (_key, value) => value)
  }

  /**
   * Bytes of files that the keys of the range take (without one: all), to within a few blocks.
   * What was written since the last flush does not count yet.
   */
  async approximateSize(range: KeyRange = {}): Promise<number> {
    this.#checkOpen()
    return await this.#parts.rangeSizes.estimate(byteRange(range))
  }

  /** A frozen view of this moment. Release it, or compaction keeps old versions for ever. */
  snapshot(): Snapshot {
    this.#checkOpen()
    return this.#parts.state.snapshots.take(this.sequence)
  }

  /**
   * Makes a database of its own in `directory`, which must not exist, with everything that was
   * written before the call. Its tables are hard links where the file system has them: it costs a
   * flush, and disk space only as the two drift apart. After a crash it is not there, or whole.
   */
  async checkpoint(directory: string, options: CheckpointOptions = {}): Promise<CheckpointResult> {
    this.#checkOpen()
    return await this.#parts.maintenance.checkpoint(directory, options)
  }

  /**
   * Adds a backup to `directory`, made when it is not there, with all that was written before the
   * call. Its tables are copies, whose checksums are compared; those of an earlier backup there are
   * not copied again. Writing goes on. After a crash or an error the backup is not there, or whole.
   */
  async backup(directory: string, options: BackupOptions = {}): Promise<BackupResult> {
    this.#checkOpen()
    return await this.#parts.maintenance.backup(directory, options)
  }

  /**
   * Merges all that is in the range now down to the last level, so that deleted, overwritten and
   * expired data gives its space back, and reads of the range look into one level. Reads and writes
   * go on meanwhile, and compactions that writers need have precedence. What a snapshot can see
   * stays. Costs about as much reading and writing as the range has bytes, for each level in use.
   */
  async compact(options: CompactOptions = {}): Promise<void> {
    this.#checkOpen()
    checkOptions(options, COMPACT_OPTIONS)
    const range = byteRange(options)
    if (!isEmptyRange(range)) await this.#parts.maintenance.compact(range, options)
  }

  /**
   * Reads every file that the database consists of now and checks all that there is to check: each
   * checksum, that entries, index, filter and counts of a table fit each other, the MANIFEST and
   * the log. Resolves with what it found; damage is no error of the call. Reads and writes go on
   * meanwhile. Costs a read of all files on a thread of its own, and keeps files that compactions
   * replace meanwhile until it ends.
   */
  async verify(options: MaintenanceOptions = {}): Promise<VerifyReport> {
    this.#checkOpen()
    return await this.#parts.maintenance.verify(options)
  }

  /** Counters and sizes, as a plain object that JSON can carry. */
  stats(): DbStats {
    this.#checkOpen()
    return this.#parts.stats()
  }

  /**
   * Calls the listener with each event from now on, in their order: flushes, compactions, stalls,
   * errors and what becomes of files. Returns the function that ends it. Costs nothing while nobody
   * listens. What the listener throws is logged and otherwise ignored; it may call the database.
   *
   *   const stop = db.onEvent(event => {
   *     if (event.type === 'stallEnd') stalledMs.add(event.heldMs, { reason: event.reason })
   *   })
   */
  onEvent(listener: DbEventListener): () => void {
    this.#checkOpen()
    return this.#parts.listen(listener)
  }

  /**
   * Lets deletions and expired entries with sequences below `sequence` leave the disk; those from
   * there on stay, hidden from reads as before. Replaces the bound in force, also by a smaller one,
   * which brings nothing back and does not hold for a compaction that is under way. Not kept over a
   * restart: the option `purgeBound` is the bound of a database that was just opened.
   *
   * Throws InvalidArgumentError unless it is an integer from 0 on, or Infinity for no bound.
   */
  setPurgeBound(sequence: number): void {
    this.#checkOpen()
    this.#parts.setPurgeBound(checkPurgeBound(sequence))
  }

  /**
   * The changes behind a sequence, in their order, each batch as it was written; at their end it
   * waits for more. Only what is durable is given out: a write of less than `sync` durability comes
   * with the next sync. Begins to hold the log at the call. Throws ChangesGoneError, now or later,
   * where the log no longer has what comes next; InvalidArgumentError for a sequence to come.
   */
  changes(options: ChangesOptions = {}): ChangeFeed {
    this.#checkOpen()
    const { signal, after = this.sequence } = checkObject(options, 'options')
    checkSignal(signal)
    if (checkSequence('after', after) > this.#parts.state.lastSequence) {
      throw new InvalidArgumentError(`this database has not come to sequence ${after} yet`)
    }
    return this.#parts.changes.follow(after, signal)
  }

  /**
   * Keeps the log from this sequence on until the hold is advanced or released: segments of it stay
   * on disk beyond what recovery needs, at most `heldWalSizeMax` bytes of them; above that the
   * oldest holds are broken, with the event `walHoldBroken`. Holds end with the process: see the
   * option `holdWalFrom` for what comes after. Throws ChangesGoneError when the log begins later.
   */
  holdWal(fromSequence: number): WalHold {
    this.#checkOpen()
    return this.#parts.holdWal(checkSequence('fromSequence', fromSequence))
  }

  /** The last sequence that readers see; what is submitted from now on gets a greater one. */
  get sequence(): number {
    return this.#parts.state.visibleSequence
  }

  /** The hold that the option `holdWalFrom` asked for, to advance and to release. */
  get openingHold(): WalHold | undefined {
    return this.#parts.openingHold
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#parts.beginClosing()
    await this.#parts.changes.close()
    await this.#parts.maintenance.close()
    await this.#parts.writes.close()
    await this.#parts.close()
  }

  #scan<T>(
    options: ScanOptions,
    keysOnly: boolean,
    item: (key: Uint8Array, value: Uint8Array) => T,
  ): SeekableScan<T> {
    this.#checkOpen()
    checkOptions(options, SCAN_OPTIONS)
    const range = byteRange(options)
    const most = scanLimit(options)
    const signal = knownSignal(options.signal)
    const { state } = this.#parts
    const pages = new RangePages({
      range: { ...range, reverse: options.reverse ?? false, keysOnly },
      // Counted on its own even when the caller brought one: either may be released first.
      snapshot: state.snapshots.take(this.#sequence(options.snapshot) ?? state.visibleSequence),
      read: chunk => this.readRange(chunk),
      item,
    })
    return new RangeScan(pages, isEmptyRange(range) ? 0 : most, signal)
  }

  /** The sequence to read at; undefined for the newest state. */
  #sequence(snapshot: Snapshot | undefined): number | undefined {
    return snapshot === undefined
      ? undefined
      : snapshotSequence(snapshot, this.#parts.state.snapshots)
  }

  #durability(options: { readonly durability?: Durability | undefined } | undefined): Durability {
    const durability = options?.durability
    return durability === undefined ? this.#parts.durability : checkDurability(durability)
  }

  #expiryMs(ttlMs: number): number {
    return Math.ceil(this.#parts.clock.wallMs() + checkTtl(ttlMs))
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError('the database is closed')
  }
}
