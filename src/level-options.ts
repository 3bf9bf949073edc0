/**
 * The options of the abstract-level adapter: those of classic-level by the same names, and a few
 * of Duramen's own; and what they mean to the engine.
 */
import type {
  AbstractBatchDelOperation,
  AbstractBatchOptions,
  AbstractBatchPutOperation,
  AbstractChainedBatch,
  AbstractChainedBatchWriteOptions,
  AbstractDatabaseOptions,
  AbstractDelOptions,
  AbstractGetManyOptions,
  AbstractGetOptions,
  AbstractHasManyOptions,
  AbstractHasOptions,
  AbstractIterator,
  AbstractIteratorOptions,
  AbstractKeyIterator,
  AbstractKeyIteratorOptions,
  AbstractOpenOptions,
  AbstractPutOptions,
  AbstractSnapshot,
  AbstractValueIterator,
  AbstractValueIteratorOptions,
  Transcoder,
} from 'abstract-level'
import { checkFlag, describe } from './arguments.ts'
import { closestWord } from './edit-distance.ts'
import type { DbOptions } from './engine/index.ts'
import { InvalidArgumentError } from './errors.ts'
import type { Durability } from './key-value-store.ts'
import { LevelError } from './level-error.ts'
import type { Logger } from './logger.ts'

/** Options of the constructor. */
export interface DatabaseOptions<K, V>
  extends AbstractDatabaseOptions<K, V>,
    Omit<OpenOptions, 'passive'> {}

/** Options of open(), and of the constructor, which passes them on. */
export interface OpenOptions extends AbstractOpenOptions {
  /**
   * What a write has survived when its promise resolves, unless the write says otherwise.
   * classic-level behaves like `'interval'`, and loses more to a power cut.
   *
   * @defaultValue 'sync'
   */
  durability?: Durability | undefined

  /** Milliseconds between fsyncs at durability `'interval'`. @defaultValue 100 */
  syncIntervalMs?: number | undefined

  /**
   * Bytes of memory for everything the database holds.
   *
   * @defaultValue 256 MiB; `cacheSize + 4 * writeBufferSize` when one of these is given
   */
  memoryBudget?: number | undefined

  /** Compactions that may run at once. @defaultValue 1 */
  compactionThreads?: number | undefined

  /** @defaultValue silent */
  logger?: Logger | undefined

  /** Bytes of cached blocks: see memoryBudget. @defaultValue 8 MiB once writeBufferSize is given */
  cacheSize?: number | undefined

  /** Bytes of a memtable: see memoryBudget. @defaultValue 4 MiB once cacheSize is given */
  writeBufferSize?: number | undefined

  /** Accepted for classic-level's sake; without effect. */
  compression?: boolean | undefined
  /** Accepted for classic-level's sake; without effect. */
  blockSize?: number | undefined
  /** Accepted for classic-level's sake; without effect. */
  maxOpenFiles?: number | undefined
  /** Accepted for classic-level's sake; without effect. */
  blockRestartInterval?: number | undefined
  /** Accepted for classic-level's sake; without effect. */
  maxFileSize?: number | undefined

  /** Refused when true: one thread opens a directory. Share it through a server instead. */
  multithreading?: boolean | undefined
}

interface ReadOptions {
  /** Accepted for classic-level's sake; without effect: the cache resists scans by itself. */
  fillCache?: boolean | undefined
}

export interface GetOptions<K, V> extends AbstractGetOptions<K, V>, ReadOptions {}
export interface GetManyOptions<K, V> extends AbstractGetManyOptions<K, V>, ReadOptions {}
export interface HasOptions<K> extends AbstractHasOptions<K>, ReadOptions {}
export interface HasManyOptions<K> extends AbstractHasManyOptions<K>, ReadOptions {}

export interface AdditionalIteratorOptions extends ReadOptions {
  /**
   * Bytes of keys and values after which one read ends, so that nextv() may give fewer entries
   * than asked for. Larger means fewer, longer reads. @defaultValue 64 KiB
   */
  highWaterMarkBytes?: number | undefined
}

export interface WriteOptions {
  /**
   * True: the promise resolves after an fsync. False: once the operating system has the write,
   * which a power cut may take back for `syncIntervalMs`.
   *
   * @defaultValue as the database's `durability`
   */
  sync?: boolean | undefined

  /** Says the same as `sync` with all three of Duramen's choices, and goes before it. */
  durability?: Durability | undefined
}

interface ExpiryOptions {
  /**
   * Milliseconds from now after which the key reads as absent. What a prewrite hook of a sublevel
   * adds to a put takes this over from it, unless it has a `ttlMs` of its own: undefined for ever.
   */
  ttlMs?: number | undefined
}

export interface PutOptions<K, V> extends AbstractPutOptions<K, V>, WriteOptions, ExpiryOptions {}
export interface DelOptions<K> extends AbstractDelOptions<K>, WriteOptions {}
export interface BatchOptions<K, V> extends AbstractBatchOptions<K, V>, WriteOptions {}
export interface ChainedBatchWriteOptions extends AbstractChainedBatchWriteOptions, WriteOptions {}

export interface BatchPutOperation<TDatabase, K, V>
  extends AbstractBatchPutOperation<TDatabase, K, V>,
    ExpiryOptions {}
export type BatchOperation<TDatabase, K, V> =
  | BatchPutOperation<TDatabase, K, V>
  | AbstractBatchDelOperation<TDatabase, K>

export interface ChainedBatch<TDatabase, KDefault, VDefault>
  extends AbstractChainedBatch<TDatabase, KDefault, VDefault> {
  write(): Promise<void>
  write(options: ChainedBatchWriteOptions): Promise<void>
}

/** Options of approximateSize() and compactRange(). */
export interface StartEndOptions<K> {
  /** Encodes `start` and `end`. */
  keyEncoding?: string | Transcoder.PartialEncoder<K> | undefined
}

export type Iterator<TDatabase, K, V> = AbstractIterator<TDatabase, K, V>
export type KeyIterator<TDatabase, K> = AbstractKeyIterator<TDatabase, K>
export type ValueIterator<TDatabase, K, V> = AbstractValueIterator<TDatabase, K, V>
export type IteratorOptions<K, V> = AbstractIteratorOptions<K, V> & AdditionalIteratorOptions
export type KeyIteratorOptions<K> = AbstractKeyIteratorOptions<K> & AdditionalIteratorOptions
export type ValueIteratorOptions<K, V> = AbstractValueIteratorOptions<K, V> &
  AdditionalIteratorOptions
export type Snapshot = AbstractSnapshot

const CACHE_SIZE = 8 * 1024 * 1024
const WRITE_BUFFER_SIZE = 4 * 1024 * 1024

/** Of the constructor and open(): the compiler sees to it that none is missing. */
const OPTION_NAMES: ReadonlySet<string> = new Set(
  Object.keys({
    createIfMissing: 0,
    errorIfExists: 0,
    passive: 0,
    keyEncoding: 0,
    valueEncoding: 0,
    durability: 0,
    syncIntervalMs: 0,
    memoryBudget: 0,
    compactionThreads: 0,
    logger: 0,
    cacheSize: 0,
    writeBufferSize: 0,
    compression: 0,
    blockSize: 0,
    maxOpenFiles: 0,
    blockRestartInterval: 0,
    maxFileSize: 0,
    multithreading: 0,
  } satisfies Record<keyof (DatabaseOptions<unknown, unknown> & OpenOptions), 0>),
)

/**
 * Options that nobody here knows may be for a hook of the application's, so only what is nearly one
 * of those that are known is refused.
 */
function checkSpelling(options: OpenOptions): void {
  for (const name of Object.keys(options)) {
    const meant = OPTION_NAMES.has(name) ? undefined : closestWord(name, [...OPTION_NAMES])
    if (meant === undefined) continue
    throw new InvalidArgumentError(`there is no option '${name}'; did you mean '${meant}'?`)
  }
}

/** Throws InvalidArgumentError unless it is a number from 0 on, or none. */
export function checkAmount(value: number | undefined, name: string): void {
  if (value === undefined || (typeof value === 'number' && value >= 0)) return
  throw new InvalidArgumentError(`${name} must be a number, 0 or more, got ${describe(value)}`)
}

/** Those that the engine does not see: it checks the others. */
function checkKinds(options: OpenOptions): void {
  for (const name of ['compression', 'multithreading'] as const) checkFlag(options[name], name)
  for (const name of AMOUNTS) checkAmount(options[name], name)
}

const AMOUNTS = [
  'cacheSize',
  'writeBufferSize',
  'blockSize',
  'maxOpenFiles',
  'blockRestartInterval',
  'maxFileSize',
] as const

/**
 * The engine's options for those of open(). Throws LevelError for what it cannot do, and
 * InvalidArgumentError for what is misspelt or of another kind.
 */
export function engineOptions(options: OpenOptions): DbOptions {
  checkSpelling(options)
  checkKinds(options)
  if (options.multithreading === true) {
    throw new LevelError(
      'LEVEL_NOT_SUPPORTED',
      'multithreading: one thread opens a directory; share it through kvd and duramen/net',
    )
  }
  const { createIfMissing, errorIfExists, durability, syncIntervalMs, compactionThreads, logger } =
    options
  const memoryBudget = options.memoryBudget ?? budgetOf(options)
  return {
    ...(createIfMissing !== undefined && { createIfMissing }),
    ...(errorIfExists !== undefined && { errorIfExists }),
    ...(durability !== undefined && { durability }),
    ...(syncIntervalMs !== undefined && { syncIntervalMs }),
    ...(compactionThreads !== undefined && { compactionThreads }),
    ...(logger !== undefined && { logger }),
    ...(memoryBudget !== undefined && { memoryBudget }),
  }
}

/** One memtable takes writes and up to two wait; each has an index beside it. */
function budgetOf({ cacheSize, writeBufferSize }: OpenOptions): number | undefined {
  if (cacheSize === undefined && writeBufferSize === undefined) return undefined
  return (cacheSize ?? CACHE_SIZE) + 4 * (writeBufferSize ?? WRITE_BUFFER_SIZE)
}
