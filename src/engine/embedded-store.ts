/**
 * The store that an open database is: reads, writes, scans and snapshots. Checks arguments and
 * passes them on. What happens is elsewhere: writes in write-queue.ts, point reads in
 * point-reads.ts, ranges in range-reads.ts. What only an embedded database does besides is in
 * db.ts.
 */
import {
  byteRange,
  checkArray,
  checkConsistency,
  checkFlag,
  checkFunction,
  checkObject,
  checkOrder,
  checkTimeout,
  checkTtl,
  describe,
  isEmptyRange,
  keyBytes,
  knownSignal,
  logDataBytes,
  scanLimit,
  valueBytes,
} from '../arguments.ts'
import { attempt } from '../attempt.ts'
import { ClosedError, InvalidArgumentError } from '../errors.ts'
import { EventLoopBudget } from '../event-loop-budget.ts'
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
  checkCall,
  checkOptions,
  PUT_OPTIONS,
  READ_OPTIONS,
  SCAN_OPTIONS,
  WRITE_OPTIONS,
} from '../option-names.ts'
import {
  checkBatchSize,
  checkBytes,
  type EmbeddedOperation,
  rangeOperation,
  toEngineOperations,
} from './batch-operations.ts'
import {
  BATCH_OPTIONS,
  COMMIT_OPTIONS,
  DURABILITY_OPTIONS,
  SYNC_READ_OPTIONS,
} from './call-options.ts'
import { CallSignals } from './call-signals.ts'
import type { SequenceRange } from './change-batch.ts'
import type { BatchOptions, CommitOptions, DbParts, SyncReadOptions } from './db-parts.ts'
import { sourceOf } from './large-batch.ts'
import { LoopTurns } from './loop-turns.ts'
import { checkDurability } from './options.ts'
import type { CommitFrame, PreparedWrite } from './prepared-write.ts'
import { RangePages } from './range-pages.ts'
import type { LeapRead, RangeChunk, RangeRead } from './range-read.ts'
import { RangeScan, type SeekableScan } from './range-scan.ts'
import { snapshotSequence } from './snapshots.ts'
import type { EngineOperation } from './write-group.ts'

/** Keys that getMany() looks up at a time: about half a millisecond, and enough for the disk. */
const KEYS_PER_SLICE = 128

export class EmbeddedStore implements KeyValueStore {
  readonly #parts: DbParts
  readonly #turns: LoopTurns
  readonly #scanBudget = new EventLoopBudget()
  readonly #signals = new CallSignals()
  #closing: Promise<void> | undefined

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
    checkOptions(options, SYNC_READ_OPTIONS)
    return this.#parts.pointReads.readSync(keyBytes(key), this.#sequence(options?.snapshot))
  }

  get(key: BytesInput, options?: ReadOptions): Promise<Uint8Array | undefined> {
    try {
      checkCall(options, READ_OPTIONS)
      const value = this.#read(keyBytes(key), options?.snapshot)
      const answer = value instanceof Promise ? value : this.#turns.answer(value)
      return this.#signals.until(options?.signal, answer)
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
    checkBytes(key, 'key')
    return this.#read(key, snapshot)
  }

  #read(
    key: Uint8Array,
    snapshot: Snapshot | undefined,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    this.#checkOpen()
    return this.#parts.pointReads.read(key, this.#sequence(snapshot))
  }

  /**
   * The values, in the order of the keys, all of one moment. Many keys are looked up in slices,
   * with turns of the event loop: bytes that are keys must not change until it has resolved.
   */
  async getMany(
    keys: readonly BytesInput[],
    options?: ReadOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    checkCall(options, READ_OPTIONS)
    this.#checkOpen()
    return await this.#signals.until(options?.signal, this.#getMany(keys, options))
  }

  async #getMany(
    keys: readonly BytesInput[],
    options: ReadOptions | undefined,
  ): Promise<(Uint8Array | undefined)[]> {
    // Not map(), which passes over holes.
    const sought = Array.from(checkArray(keys, 'keys'))
    // One moment for all keys, whatever waits meanwhile, and whoever releases the caller's own.
    const { snapshots, visibleSequence } = this.#parts.state
    using snapshot = snapshots.take(this.#sequence(options?.snapshot) ?? visibleSequence)
    const values: (Uint8Array | undefined)[] = []
    for (let from = 0; from < sought.length; from += KEYS_PER_SLICE) {
      const slice = sought.slice(from, from + KEYS_PER_SLICE)
      const reads = slice.map(key => attempt(() => this.#read(keyBytes(key), snapshot)))
      for (const value of await Promise.all(reads)) values.push(value)
      const turn = this.#turns.count(slice.length)
      if (turn !== undefined) await turn
    }
    return values
  }

  /** Whether the key is there. Costs what get() costs, but for the copy of the value. */
  async has(key: BytesInput, options?: ReadOptions): Promise<boolean> {
    checkCall(options, READ_OPTIONS)
    this.#checkOpen()
    const sequence = this.#sequence(options?.snapshot)
    const answer = this.#parts.pointReads.has(keyBytes(key), sequence)
    const isThere = await this.#signals.until(options?.signal, answer)
    const turn = this.#turns.count()
    if (turn !== undefined) await turn
    return isThere
  }

  put(key: BytesInput, value: BytesInput, options?: PutOptions): Promise<void> {
    try {
      this.#checkOpen()
      checkCall(options, PUT_OPTIONS)
      const ttlMs = options?.ttlMs
      const written = this.#parts.writes.put(
        keyBytes(key),
        valueBytes(value),
        ttlMs === undefined ? 0 : this.#expiryMs(ttlMs),
        this.#durability(options),
      )
      return this.#signals.until(options?.signal, written, 'unknown')
    } catch (error) {
      return Promise.reject(error)
    }
  }

  delete(key: BytesInput, options?: WriteOptions): Promise<void> {
    try {
      this.#checkOpen()
      checkCall(options, WRITE_OPTIONS)
      const written = this.#parts.writes.delete(keyBytes(key), this.#durability(options))
      return this.#signals.until(options?.signal, written, 'unknown')
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
    checkOptions(options, WRITE_OPTIONS)
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
      checkCall(options, BATCH_OPTIONS)
      const expiryMs = (ttlMs: number) => this.#expiryMs(ttlMs)
      const source = sourceOf(operations, some => toEngineOperations(some, expiryMs))
      const logData = options?.logData === undefined ? undefined : logDataBytes(options.logData)
      const written = this.#parts.writes.batchOf(source, this.#durability(options), logData)
      return this.#signals.until(options?.signal, written, 'unknown')
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
      checkOptions(options, COMMIT_OPTIONS)
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
      checkOptions(options, COMMIT_OPTIONS)
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
      checkOptions(options, DURABILITY_OPTIONS)
      return this.#parts.writes.put(keyBytes(key), valueBytes(value), 0, this.#durability(options))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** At most countMax entries of the range; holds nothing between calls but the snapshot. */
  readRange(range: RangeRead): RangeChunk | Promise<RangeChunk> {
    this.#checkOpen()
    checkChunk(range)
    return this.#parts.rangeReads.read(range, this.#sequence(range.snapshot))
  }

  /** Looks at entries that lie apart; true at the end, false when `arrive` stopped it. */
  leap(read: LeapRead): boolean | Promise<boolean> {
    this.#checkOpen()
    checkLeap(read)
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

  /** A frozen view of this moment. Release it, or compaction keeps old versions for ever. */
  snapshot(): Snapshot {
    this.#checkOpen()
    return this.#parts.state.snapshots.take(this.sequence)
  }

  /** The last sequence that readers see; what is submitted from now on gets a greater one. */
  get sequence(): number {
    return this.#parts.state.visibleSequence
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
    checkTimeout(options.timeoutMs)
    checkConsistency((options as ReadOptions).consistency)
    checkOrder(options.order)
    const { state } = this.#parts
    const pages = new RangePages({
      range: { ...range, reverse: checkFlag(options.reverse, 'reverse') ?? false, keysOnly },
      // Counted on its own even when the caller brought one: either may be released first.
      snapshot: state.snapshots.take(this.#sequence(options.snapshot) ?? state.visibleSequence),
      read: chunk => this.readRange(chunk),
      budget: this.#scanBudget,
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

/** Throws InvalidArgumentError for what readRange would read wrongly, or without an end. */
function checkChunk(range: RangeRead): void {
  const { gt, gte, lt, lte, countMax, bytesMax } = checkObject(range, 'a range to read')
  for (const bound of [gt, gte, lt, lte]) if (bound !== undefined) checkBytes(bound, 'a bound')
  if (typeof countMax === 'number' && countMax >= 1 && typeof bytesMax === 'number') return
  throw new InvalidArgumentError(
    'a range is read with a countMax of 1 or more and a bytesMax, ' +
      `got ${describe(countMax)} and ${describe(bytesMax)}`,
  )
}

/** Throws InvalidArgumentError for what leap could not begin with. */
function checkLeap(read: LeapRead): void {
  const { from, end, arrive } = checkObject(read, 'a leap')
  checkBytes(from, 'from')
  if (end !== undefined) checkBytes(end, 'end')
  if (arrive === undefined) throw new InvalidArgumentError('a leap has an arrive function')
  checkFunction(arrive, 'arrive')
}
