/** What a user may set on an embedded database: few knobs, the rest is derived from them. */

import { checkFlag, checkFunction, checkMembers, checkPath, describe } from '../arguments.ts'
import { type Clock, systemClock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { DURABILITIES, type Durability } from '../key-value-store.ts'
import { checkLogger, type Logger, silentLogger } from '../logger.ts'
import { type Random, systemRandom } from '../random.ts'
import type { BlockCodec } from './block-codec.ts'
import { type Compression, codecOf } from './block-compression.ts'
import type { ChangeBatch } from './change-batch.ts'
import type { DbEventListener } from './event-stream.ts'
import type { FileSystem } from './file-system.ts'
import type { Executor, TableOptions } from './job.ts'
import { LEVEL_COUNT } from './version.ts'
import { checkSequence } from './wal-hold.ts'

const MIB = 1024 * 1024
/** Tables that a database keeps open, at most, unless it is told otherwise. */
export const OPEN_FILES_MAX_DEFAULT = 512

export interface DbOptions {
  /**
   * What an acknowledged write has survived, unless the call says otherwise.
   *
   * @defaultValue 'sync'
   */
  readonly durability?: Durability

  /**
   * Milliseconds between fsyncs at durability `'interval'`: the most that a power loss can cost.
   *
   * @defaultValue 100
   */
  readonly syncIntervalMs?: number

  /**
   * Bytes of memory for memtables, cached blocks, filters, indices, writes that wait and the work
   * of flushes and compactions. Strict: what does not fit is evicted or flushed, and writes beyond
   * half of it (8 MiB at least, and always one batch) are refused. Below 16 MiB it is no bound: the
   * memtables, three of a MiB and more, and those writes take what they take. More memory means
   * fewer disk reads and fewer flushes.
   *
   * @defaultValue 256 MiB
   */
  readonly memoryBudget?: number

  /**
   * Compactions that may run at once, each on a thread of its own, beside the one flush.
   *
   * @defaultValue 1
   */
  readonly compactionThreads?: number

  /**
   * Reads what flushes and compactions write into the cache, as far as it has free room, so that
   * reads after them are as quick as before. For many small reads at a time, as in a server: who
   * reads with `getSync` gains little, and each kilobyte written costs a microsecond more.
   *
   * @defaultValue false
   */
  readonly warmTables?: boolean

  /**
   * How data blocks are stored: one setting for all levels, or one a level from level 0 on, of
   * which the last stands for all deeper ones. Level 0 is rewritten soon, and the last level holds
   * nine tenths of the data. `'deflate'` is read everywhere; `'zstd'` needs Node.js 22.15 or later
   * to write and to read. Blocks that do not shrink by an eighth are stored as they are.
   *
   * @defaultValue 'none': see bench/README.md, "Compression", for what it saves and costs
   */
  readonly compression?: Compression | readonly Compression[]

  /**
   * A second directory for the tables of the last level, nine tenths of the data, so that the rest
   * can be on a faster and smaller disk. It is made when it is missing, belongs to this database
   * alone, and is remembered: later openings need not name it. Tables move there by compaction, in
   * the background. With `null` they come back likewise, and a later opening with `null` lets go of
   * the directory. To move it, move it with all its files while the database is closed, and give
   * the new place.
   *
   * @defaultValue undefined: as it was; one directory for a new database
   */
  readonly coldDirectory?: string | null

  /** Makes the directory and an empty database when there is none. @defaultValue true */
  readonly createIfMissing?: boolean

  /** Fails when the directory already holds a database. @defaultValue false */
  readonly errorIfExists?: boolean

  /** @defaultValue silent */
  readonly logger?: Logger

  /** Listens as `Db.onEvent` does, and to what happens during the opening as well. */
  readonly onEvent?: DbEventListener

  /**
   * Deletions and expired entries with this sequence or a later one stay on disk, hidden from
   * reads, until `Db.setPurgeBound` says that they may go. A replicating layer begins with 0 and
   * raises it as its replicas confirm what they have.
   *
   * @defaultValue Infinity: compaction drops them as soon as nothing older is below them
   */
  readonly purgeBound?: number

  /**
   * Keeps the log from this sequence on, beginning with what an earlier process left of it, for
   * `Db.changes` and `Db.openingHold`: without it, opening removes what recovery needs no more.
   * Whoever follows the changes over restarts gives the sequence after the last that he has.
   * Opening does not fail when the log begins later: `openingHold.broken` is true then. Writes of
   * less than `sync` durability that a kill left in the log, and recovery put into tables, may be
   * missing from the log after a power loss: the change feed then fails at that place.
   * `'oldest'` is all that is there: what holds of the last process kept, and what recovery needs.
   *
   * @defaultValue undefined: nothing is kept
   */
  readonly holdWalFrom?: number | 'oldest'

  /**
   * Bytes of log that holds and change feeds may keep beyond what recovery needs. Above it those
   * that hold the oldest segment are broken, so that a reader that died does not fill the disk.
   *
   * @defaultValue 1 GiB
   */
  readonly heldWalSizeMax?: number

  /**
   * Called while the database is being opened, with each batch that the log still holds and that
   * was written with `logData`, in the order of their sequences; see `Db.batch`. A promise is
   * awaited before the next call, so no more than one batch is held in memory. When it throws or
   * rejects, so does `open`, and nothing has changed. What it was told counts once `open` resolves.
   * Of what only `holdWalFrom` keeps it is not told: `Db.changes` is.
   */
  readonly onLogData?: (batch: ChangeBatch) => Promise<void> | void
}

/** The outside world, replaced by tests and by the simulation. */
export interface DbEnvironment {
  readonly fileSystem: FileSystem
  readonly executor: Executor
  readonly clock: Clock
  readonly random: Random
  /** Shared by those who open many databases on one thread. @defaultValue one of its own */
  readonly hasher?: Hasher
}

/** Sizes that nobody should tune by hand; tests make them small to reach deep trees quickly. */
export interface DbTuning {
  /**
   * Bytes of a memtable's arena. Three of them bound what a restart replays.
   * @defaultValue a sixteenth of memoryBudget, 1 to 64 MiB
   */
  readonly memtableSize?: number
  /** Frozen memtables waiting for their flush before writers wait. @defaultValue 2 */
  readonly frozenMemtablesMax?: number
  /** @defaultValue 4096: one slot of the block cache */
  readonly blockSize?: number
  /** @defaultValue 10, about 1 % false positives */
  readonly filterBitsPerKey?: number
  /**
   * Bytes of a table before compaction begins the next.
   * @defaultValue four times memtableSize, 8 to 32 MiB
   */
  readonly tableSizeTarget?: number
  /** Level-0 tables that start a compaction. @defaultValue 4 */
  readonly level0CompactionTrigger?: number
  /**
   * Target size of the first sorted level that is used. With small memtables a large one would be
   * rewritten for little.
   * @defaultValue 16 times memtableSize, 16 to 256 MiB
   */
  readonly baseLevelSize?: number
  /** Each level's size over that of the one above. @defaultValue 10 */
  readonly levelSizeRatio?: number
  /** Tables held open. @defaultValue 512 */
  readonly openFilesMax?: number
  /**
   * Reads that may wait for those before them; each takes up to 2 KiB, its promise included.
   * @defaultValue one for each 2 KiB of memoryBudget, at most 100,000
   */
  readonly waitingReadsMax?: number
  /** Bytes of a MANIFEST below which it is not replaced by a fresh one. @defaultValue 1 MiB */
  readonly manifestSizeMin?: number
}

export interface ResolvedDbOptions {
  readonly durability: Durability
  readonly syncIntervalMs: number
  readonly memoryBudget: number
  readonly compactionThreads: number
  readonly warmTables: boolean
  readonly coldDirectory: string | null | undefined
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly logger: Logger
  readonly onEvent: DbOptions['onEvent']
  readonly purgeBound: number
  readonly holdWalFrom: number | 'oldest' | undefined
  readonly heldWalSizeMax: number
  readonly onLogData: DbOptions['onLogData']
  readonly memtableSize: number
  readonly frozenMemtablesMax: number
  readonly tableOptions: Omit<TableOptions, 'codec'>
  /** By level. */
  readonly codecs: readonly BlockCodec[]
  readonly tableSizeTarget: number
  readonly level0CompactionTrigger: number
  readonly baseLevelSize: number
  readonly levelSizeRatio: number
  readonly manifestSizeMin: number
  readonly openFilesMax: number
  readonly waitingReadsMax: number
}

/** Throws InvalidArgumentError unless `value` is one of the three durabilities. */
export function checkDurability(value: Durability): Durability {
  if (DURABILITIES.includes(value)) return value
  throw new InvalidArgumentError(
    `durability must be 'sync', 'interval' or 'none', got ${describe(value)}`,
  )
}

/** Throws InvalidArgumentError unless `bound` is a sequence or Infinity. */
export function checkPurgeBound(bound: number): number {
  if (
    typeof bound === 'number' &&
    bound >= 0 &&
    (Number.isSafeInteger(bound) || bound === Number.POSITIVE_INFINITY)
  )
    return bound
  throw new InvalidArgumentError(
    `purgeBound must be a sequence (0 or more), got ${describe(bound)}`,
  )
}

function levelCodecs(compression: Compression | readonly Compression[]): readonly BlockCodec[] {
  const list = typeof compression === 'string' ? [compression] : compression
  if (!Array.isArray(list) || list.length < 1 || list.length > LEVEL_COUNT) {
    throw new InvalidArgumentError(
      `compression must be one setting or a list of 1 to ${LEVEL_COUNT}, one a level`,
    )
  }
  const codecs = list.map(codecOf)
  return Array.from({ length: LEVEL_COUNT }, (_, level) => codecs[level] ?? codecs.at(-1)!)
}

function checkColdDirectory(value: DbOptions['coldDirectory']): string | null | undefined {
  return value === null || value === undefined ? value : checkPath(value, 'coldDirectory')
}

/** How the tables of a level are written. */
export function tableOptionsAt(options: ResolvedDbOptions, level: number): TableOptions {
  return { ...options.tableOptions, codec: options.codecs[level]! }
}

function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw new InvalidArgumentError(
    `${name} must be an integer from ${least} to ${most}, got ${describe(value)}`,
  )
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most)
}

/** Of DbOptions and DbTuning: the compiler sees to it that none is missing. */
const OPTION_NAMES: ReadonlySet<string> = new Set(
  Object.keys({
    durability: 0,
    syncIntervalMs: 0,
    memoryBudget: 0,
    compactionThreads: 0,
    warmTables: 0,
    compression: 0,
    coldDirectory: 0,
    createIfMissing: 0,
    errorIfExists: 0,
    logger: 0,
    onEvent: 0,
    purgeBound: 0,
    holdWalFrom: 0,
    heldWalSizeMax: 0,
    onLogData: 0,
    memtableSize: 0,
    frozenMemtablesMax: 0,
    blockSize: 0,
    filterBitsPerKey: 0,
    tableSizeTarget: 0,
    level0CompactionTrigger: 0,
    baseLevelSize: 0,
    levelSizeRatio: 0,
    manifestSizeMin: 0,
    openFilesMax: 0,
    waitingReadsMax: 0,
  } satisfies Record<keyof (DbOptions & DbTuning), 0>),
)

/** Only of the second directory does null say something: that there is none. */
function checkNotNull(options: DbOptions & DbTuning): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== null || name === 'coldDirectory') continue
    throw new InvalidArgumentError(`${name} must not be null: leave it out for its default`)
  }
}

/** Fills in defaults, validates, freezes. The rest of the engine only sees resolved options. */
export function resolveDbOptions(options: DbOptions & DbTuning): ResolvedDbOptions {
  checkMembers(options, 'options', OPTION_NAMES)
  checkNotNull(options)
  const memoryBudget = integer('memoryBudget', options.memoryBudget ?? 256 * MIB, MIB, 2 ** 40)
  const sixteenth = Math.floor(clamp(memoryBudget / 16, MIB, 64 * MIB))
  const memtableSize = integer('memtableSize', options.memtableSize ?? sixteenth, 4096, 1024 * MIB)
  return Object.freeze({
    durability: checkDurability(options.durability ?? 'sync'),
    syncIntervalMs: integer('syncIntervalMs', options.syncIntervalMs ?? 100, 1, 60_000),
    memoryBudget,
    compactionThreads: integer('compactionThreads', options.compactionThreads ?? 1, 1, 64),
    warmTables: checkFlag(options.warmTables, 'warmTables') ?? false,
    coldDirectory: checkColdDirectory(options.coldDirectory),
    createIfMissing: checkFlag(options.createIfMissing, 'createIfMissing') ?? true,
    errorIfExists: checkFlag(options.errorIfExists, 'errorIfExists') ?? false,
    logger: checkLogger(options.logger ?? silentLogger),
    onEvent: checkFunction(options.onEvent, 'onEvent'),
    purgeBound: checkPurgeBound(options.purgeBound ?? Number.POSITIVE_INFINITY),
    holdWalFrom:
      options.holdWalFrom === undefined || options.holdWalFrom === 'oldest'
        ? options.holdWalFrom
        : checkSequence('holdWalFrom', options.holdWalFrom),
    heldWalSizeMax: integer('heldWalSizeMax', options.heldWalSizeMax ?? 1024 * MIB, 0, 2 ** 50),
    onLogData: checkFunction(options.onLogData, 'onLogData'),
    memtableSize,
    frozenMemtablesMax: integer('frozenMemtablesMax', options.frozenMemtablesMax ?? 2, 1, 16),
    tableOptions: {
      blockSize: integer('blockSize', options.blockSize ?? 4096, 128, 65_535),
      filterBitsPerKey: integer('filterBitsPerKey', options.filterBitsPerKey ?? 10, 0, 32),
    },
    codecs: levelCodecs(options.compression ?? 'none'),
    tableSizeTarget: integer(
      'tableSizeTarget',
      options.tableSizeTarget ?? clamp(4 * memtableSize, 8 * MIB, 32 * MIB),
      1024,
      1024 * MIB,
    ),
    level0CompactionTrigger: integer(
      'level0CompactionTrigger',
      options.level0CompactionTrigger ?? 4,
      1,
      100,
    ),
    baseLevelSize: integer(
      'baseLevelSize',
      options.baseLevelSize ?? clamp(16 * memtableSize, 16 * MIB, 256 * MIB),
      1024,
      2 ** 40,
    ),
    levelSizeRatio: integer('levelSizeRatio', options.levelSizeRatio ?? 10, 2, 100),
    manifestSizeMin: integer('manifestSizeMin', options.manifestSizeMin ?? MIB, 1, 2 ** 40),
    waitingReadsMax: integer(
      'waitingReadsMax',
      options.waitingReadsMax ?? Math.min(Math.floor(memoryBudget / 2048), 100_000),
      0,
      1_000_000,
    ),
    openFilesMax: integer(
      'openFilesMax',
      options.openFilesMax ?? OPEN_FILES_MAX_DEFAULT,
      4,
      1_000_000,
    ),
  })
}

/** The clock and randomness of the machine; the other two need more than a default. */
export function systemTimeAndChance(): Pick<DbEnvironment, 'clock' | 'random'> {
  return { clock: systemClock(), random: systemRandom() }
}
