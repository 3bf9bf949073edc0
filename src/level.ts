/**
 * `duramen/level`: the embedded engine as an abstract-level database, a drop-in for classic-level.
 * Needs the package abstract-level beside this one.
 *
 * Differs from classic-level where it must or should: a write is on the disk when its promise
 * resolves unless it asks for less, keys have at most 65,535 bytes, and files are Duramen's own.
 */

import {
  type Db,
  type DbOptions,
  destroy,
  open,
  type RangeChunk,
  repairDirectory,
} from './engine/index.ts'
import { EventLoopBudget } from './event-loop-budget.ts'
import { AbstractLevel } from './level-base.ts'
import { LevelError, levelError } from './level-error.ts'
import {
  getValue,
  getValueSync,
  getValues,
  hasKeys,
  type LevelReadOptions,
  sourceFor,
} from './level-gets.ts'
import {
  LevelEntryIterator,
  type LevelIteratorOptions,
  LevelKeyIterator,
  LevelValueIterator,
} from './level-iterator.ts'
import { dataBytes, type LevelData, storedKey } from './level-key.ts'
import {
  type BatchOperation,
  type BatchOptions,
  type ChainedBatch,
  type DatabaseOptions,
  type DelOptions,
  engineOptions,
  type GetManyOptions,
  type GetOptions,
  type HasManyOptions,
  type HasOptions,
  type Iterator,
  type IteratorOptions,
  type KeyIterator,
  type KeyIteratorOptions,
  type OpenOptions,
  type PutOptions,
  type Snapshot,
  type StartEndOptions,
  type ValueIterator,
  type ValueIteratorOptions,
} from './level-options.ts'
import { levelProperty } from './level-property.ts'
import { deletedRange, type LevelRange, LevelReader } from './level-reader.ts'
import { LevelSnapshot } from './level-snapshot.ts'
import {
  batchOptions,
  engineOperation,
  type LevelOperation,
  type LevelWriteOptions,
  putOptions,
} from './level-write.ts'

/** What it can do, in the words of level-supports: all that classic-level can. */
const MANIFEST = {
  encodings: { buffer: true, utf8: true, view: true },
  has: true,
  createIfMissing: true,
  errorIfExists: true,
  explicitSnapshots: true,
  getSync: true,
  additionalMethods: { approximateSize: true, compactRange: true },
  signals: { iterators: true },
}

/** Deletions that clear() sends at once where it cannot delete the range as one. */
const CLEAR_BATCH_COUNT = 1000

/**
 * An abstract-level database in a directory.
 *
 * @template KDefault The type of keys, unless an operation brings an encoding of its own.
 * @template VDefault The type of values, likewise.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: AbstractLevel implements the methods
export class DuramenLevel<KDefault = string, VDefault = string> extends AbstractLevel<
  string | Buffer | Uint8Array,
  KDefault,
  VDefault
> {
  readonly #location: string
  /** Of all iterators. */
  readonly #budget = new EventLoopBudget()
  #db: Db | undefined

  /**
   * Opens the database in a directory, made when missing, in the background: every operation waits
   * for it.
   */
  constructor(location: string, options?: DatabaseOptions<KDefault, VDefault>) {
    checkLocation(location)
    super(MANIFEST, options)
    this.#location = location
  }

  /** The directory, as given to the constructor. */
  get location(): string {
    return this.#location
  }

  /**
   * Removes the database in a directory, and the directory unless it holds other files. Close it
   * first. Does nothing when there is none.
   */
  static async destroy(location: string): Promise<void> {
    checkLocation(location)
    try {
      await destroy(location)
    } catch (error) {
      throw levelError(error)
    }
  }

  /**
   * Makes a database that opens out of one that does not, as far as it is readable; what is damaged
   * is moved to `lost/` in the directory. Close it first. `repairDirectory` of duramen/engine does
   * the same and tells what was lost.
   */
  static async repair(location: string): Promise<void> {
    checkLocation(location)
    try {
      await repairDirectory(location)
    } catch (error) {
      throw levelError(error)
    }
  }

  protected async _open(options: OpenOptions): Promise<void> {
    try {
      this.#db = await this._openEngine(this.#location, engineOptions(options))
    } catch (error) {
      throw levelError(error)
    }
  }

  /** Opens the database below, for subclasses that want another one than `open` gives. */
  protected _openEngine(location: string, options: DbOptions): Promise<Db> {
    return open(location, options)
  }

  protected async _close(): Promise<void> {
    const db = this.#db
    // Gone also when closing failed: everything was released all the same.
    this.#db = undefined
    try {
      await db?.close()
    } catch (error) {
      throw levelError(error)
    }
  }

  protected async _get(key: LevelData, options: LevelReadOptions): Promise<LevelData | undefined> {
    return await getValue(this.#open(), key, options)
  }

  protected _getSync(key: LevelData, options: LevelReadOptions): LevelData | undefined {
    return getValueSync(this.#open(), key, options)
  }

  protected async _getMany(
    keys: LevelData[],
    options: LevelReadOptions,
  ): Promise<(LevelData | undefined)[]> {
    return await getValues(this.#open(), keys, options)
  }

  protected async _has(key: LevelData, options: LevelReadOptions): Promise<boolean> {
    const [present] = await hasKeys(this.#open(), [key], options)
    return present === true
  }

  protected async _hasMany(keys: LevelData[], options: LevelReadOptions): Promise<boolean[]> {
    return await hasKeys(this.#open(), keys, options)
  }

  protected async _put(
    key: LevelData,
    value: LevelData,
    options: LevelWriteOptions,
  ): Promise<void> {
    try {
      await this.#open().put(storedKey(key), dataBytes(value), putOptions(options))
    } catch (error) {
      throw levelError(error)
    }
  }

  protected async _del(key: LevelData, options: LevelWriteOptions): Promise<void> {
    try {
      await this.#open().delete(storedKey(key), putOptions(options))
    } catch (error) {
      throw levelError(error)
    }
  }

  protected async _batch(operations: LevelOperation[], options: LevelWriteOptions): Promise<void> {
    try {
      await this.#open().batch(operations.map(engineOperation), batchOptions(operations, options))
    } catch (error) {
      throw levelError(error)
    }
  }

  protected async _clear(
    options: LevelRange & { limit: number; snapshot?: LevelSnapshot } & LevelWriteOptions,
  ): Promise<void> {
    if (options.limit < 0 && !options.snapshot) return this.#clearRange(options)
    const wanted = putOptions(options)
    const source = sourceFor(this.#open(), options, this.#budget)
    const reader = new LevelReader(source, { ...options, values: false }, storedKeyAt)
    try {
      let left = options.limit < 0 ? Number.POSITIVE_INFINITY : options.limit
      while (left > 0) {
        const keys = await reader.nextv(Math.min(left, CLEAR_BATCH_COUNT))
        if (keys.length === 0) break
        left -= keys.length
        const deletions = keys.map(key => ({ type: 'del' as const, key }))
        await source.db.write(deletions, wanted)
      }
    } catch (error) {
      throw levelError(error)
    } finally {
      reader.close()
    }
  }

  /** All of the range in one write, whatever it holds. */
  async #clearRange(options: LevelRange & LevelWriteOptions): Promise<void> {
    try {
      await this.#open().deleteRange(deletedRange(options), putOptions(options))
    } catch (error) {
      throw levelError(error)
    }
  }

  protected _iterator(options: LevelIteratorOptions & LevelReadOptions): object {
    return new LevelEntryIterator(this, sourceFor(this.#open(), options, this.#budget), options)
  }

  protected _keys(options: LevelIteratorOptions & LevelReadOptions): object {
    return new LevelKeyIterator(this, sourceFor(this.#open(), options, this.#budget), options)
  }

  protected _values(options: LevelIteratorOptions & LevelReadOptions): object {
    return new LevelValueIterator(this, sourceFor(this.#open(), options, this.#budget), options)
  }

  protected _snapshot(options: { owner: object }): LevelSnapshot {
    return new LevelSnapshot(this.#open().snapshot(), options)
  }

  /**
   * Bytes of files that the keys from `start` up to `end` take, to within a few blocks. What was
   * written since the last flush does not count yet.
   */
  approximateSize<K = KDefault>(start: K, end: K, options?: StartEndOptions<K>): Promise<number> {
    return this.#onRange('approximateSize', start, end, options, (db, gte, lt) =>
      db.approximateSize({ gte, lt }),
    )
  }

  /**
   * Merges all that the keys from `start` to `end` hold down to the last level, so that what was
   * deleted and overwritten gives its space back. Nobody has to: compaction runs by itself.
   */
  compactRange<K = KDefault>(start: K, end: K, options?: StartEndOptions<K>): Promise<void> {
    return this.#onRange('compactRange', start, end, options, (db, gte, lte) =>
      db.compact({ gte, lte }),
    )
  }

  /**
   * Inner figures as text: `leveldb.stats`, `leveldb.num-files-at-levelN`,
   * `leveldb.approximate-memory-usage`, and as JSON everything counted, `duramen.stats`. Empty for
   * any other name.
   */
  getProperty(property: string): string {
    if (typeof property !== 'string') {
      throw new TypeError("The first argument 'property' must be a string")
    }
    return levelProperty(property, this.#open().stats())
  }

  /** Calls `body` with `start` and `end` as stored, once the database is open. */
  async #onRange<K, R>(
    name: string,
    start: K,
    end: K,
    options: StartEndOptions<K> | undefined,
    body: (db: Db, start: Uint8Array, end: Uint8Array) => Promise<R>,
  ): Promise<R> {
    if (start === undefined || end === undefined) {
      throw new TypeError("The arguments 'start' and 'end' are required")
    }
    if (this.status === 'opening') {
      return this.deferAsync(() => this.#onRange(name, start, end, options, body))
    }
    if (this.status !== 'open') {
      const message = `Database is not open: cannot call ${name}()`
      throw new LevelError('LEVEL_DATABASE_NOT_OPEN', message)
    }
    try {
      // One encoding is as good as the other here: it says how to encode, and gets what it takes.
      const encoding = this.keyEncoding(options?.keyEncoding as 'utf8')
      const [first, last] = [start, end].map(key => storedKey(encoding.encode(key as string)))
      return await body(this.#open(), first!, last!)
    } catch (error) {
      throw levelError(error)
    }
  }

  #open(): Db {
    if (this.#db !== undefined) return this.#db
    throw new LevelError('LEVEL_DATABASE_NOT_OPEN', 'Database is not open')
  }
}

/** The methods of AbstractLevel, with the options that this database takes. */
export interface DuramenLevel<KDefault, VDefault> {
  open(): Promise<void>
  open(options: OpenOptions): Promise<void>

  get(key: KDefault): Promise<VDefault | undefined>
  get<K = KDefault, V = VDefault>(key: K, options: GetOptions<K, V>): Promise<V | undefined>

  getSync(key: KDefault): VDefault | undefined
  getSync<K = KDefault, V = VDefault>(key: K, options: GetOptions<K, V>): V | undefined

  getMany(keys: KDefault[]): Promise<(VDefault | undefined)[]>
  getMany<K = KDefault, V = VDefault>(
    keys: K[],
    options: GetManyOptions<K, V>,
  ): Promise<(V | undefined)[]>

  has(key: KDefault): Promise<boolean>
  has<K = KDefault>(key: K, options: HasOptions<K>): Promise<boolean>

  hasMany(keys: KDefault[]): Promise<boolean[]>
  hasMany<K = KDefault>(keys: K[], options: HasManyOptions<K>): Promise<boolean[]>

  put(key: KDefault, value: VDefault): Promise<void>
  put<K = KDefault, V = VDefault>(key: K, value: V, options: PutOptions<K, V>): Promise<void>

  del(key: KDefault): Promise<void>
  del<K = KDefault>(key: K, options: DelOptions<K>): Promise<void>

  batch(operations: BatchOperation<this, KDefault, VDefault>[]): Promise<void>
  batch<K = KDefault, V = VDefault>(
    operations: BatchOperation<this, K, V>[],
    options: BatchOptions<K, V>,
  ): Promise<void>
  batch(): ChainedBatch<this, KDefault, VDefault>

  iterator(): Iterator<this, KDefault, VDefault>
  iterator<K = KDefault, V = VDefault>(options: IteratorOptions<K, V>): Iterator<this, K, V>

  keys(): KeyIterator<this, KDefault>
  keys<K = KDefault>(options: KeyIteratorOptions<K>): KeyIterator<this, K>

  values(): ValueIterator<this, KDefault, VDefault>
  values<K = KDefault, V = VDefault>(options: ValueIteratorOptions<K, V>): ValueIterator<this, K, V>

  snapshot(): Snapshot
}

function checkLocation(location: string): void {
  if (typeof location === 'string' && location !== '') return
  throw new TypeError("The first argument 'location' must be a non-empty string")
}

function storedKeyAt(chunk: RangeChunk, index: number): Uint8Array {
  return chunk.keys[index]!
}

export { LevelError, type LevelErrorCode } from './level-error.ts'
export type {
  AdditionalIteratorOptions,
  BatchOperation,
  BatchOptions,
  ChainedBatch,
  ChainedBatchWriteOptions,
  DatabaseOptions,
  DelOptions,
  GetManyOptions,
  GetOptions,
  HasManyOptions,
  HasOptions,
  Iterator,
  IteratorOptions,
  KeyIterator,
  KeyIteratorOptions,
  OpenOptions,
  PutOptions,
  Snapshot,
  StartEndOptions,
  ValueIterator,
  ValueIteratorOptions,
  WriteOptions,
} from './level-options.ts'
