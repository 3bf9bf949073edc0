/**
 * An open database: the store (embedded-store.ts), and the long work, figures, events and changes
 * that only an embedded one has. What happens is elsewhere: long work in maintenance.ts, flush and
 * compaction in flusher.ts and compactor.ts, the change feed in change-feed.ts, opening in open.ts.
 */
import {
  byteRange,
  checkFlag,
  checkFunction,
  checkMembers,
  checkPath,
  checkSignal,
  isEmptyRange,
} from '../arguments.ts'
import { ClosedError, InvalidArgumentError } from '../errors.ts'
import type { KeyRange } from '../key-value-store.ts'
import { refuseMethods } from '../not-offered.ts'
import { checkOptions, RANGE_MEMBERS } from '../option-names.ts'
import type { BackupResult } from './backup-job.ts'
import {
  BACKUP_OPTIONS,
  CHANGES_OPTIONS,
  CHECKPOINT_OPTIONS,
  COMPACT_OPTIONS,
  MAINTENANCE_OPTIONS,
} from './call-options.ts'
import type { ChangeFeed, ChangesOptions } from './change-feed.ts'
import type { CheckpointResult } from './checkpoint-job.ts'
import type { DbParts } from './db-parts.ts'
import type { DbStats } from './db-stats.ts'
import { EmbeddedStore } from './embedded-store.ts'
import type { DbEventListener } from './event-stream.ts'
import { LoopTurns } from './loop-turns.ts'
import type { BackupOptions, CheckpointOptions, CompactOptions } from './maintenance.ts'
import type { MaintenanceOptions } from './maintenance-operation.ts'
import { checkPurgeBound } from './options.ts'
import type { VerifyReport } from './verify-job.ts'
import { checkSequence, type WalHold } from './wal-hold.ts'
import type { WriteRefusal } from './write-refusal.ts'

/** What approximateSize() takes of the event loop, in reads of memory: about 13 us. */
const SIZE_OPERATIONS = 8

export class Db extends EmbeddedStore {
  readonly #parts: DbParts
  readonly #turns: LoopTurns

  /** Use open() instead: it recovers the directory and builds the parts. */
  constructor(parts: DbParts) {
    super(parts)
    this.#parts = parts
    this.#turns = new LoopTurns(parts.clock)
  }

  /**
   * Bytes of files that the keys of the range take (without one: all), to within a few blocks.
   * What was written since the last flush does not count yet.
   */
  async approximateSize(range: KeyRange = {}): Promise<number> {
    this.#checkOpen()
    checkMembers(range, 'a range', RANGE_MEMBERS)
    const size = await this.#parts.rangeSizes.estimate(byteRange(range))
    const turn = this.#turns.count(SIZE_OPERATIONS)
    if (turn !== undefined) await turn
    return size
  }

  /**
   * Makes a database of its own in `directory`, which must not exist, with everything that was
   * written before the call. Its tables are hard links where the file system has them: it costs a
   * flush, and disk space only as the two drift apart. After a crash it is not there, or whole.
   */
  async checkpoint(directory: string, options: CheckpointOptions = {}): Promise<CheckpointResult> {
    this.#checkOpen()
    checkPath(directory, 'directory')
    checkOptions(options, CHECKPOINT_OPTIONS)
    checkFlag(options.copy, 'copy')
    return await this.#parts.maintenance.checkpoint(directory, options)
  }

  /**
   * Adds a backup to `directory`, made when it is not there, with all that was written before the
   * call. Its tables are copies, whose checksums are compared; those of an earlier backup there are
   * not copied again. Writing goes on. After a crash or an error the backup is not there, or whole.
   * Older ones that could not be removed then are no error: `findings` of the result tells of them.
   */
  async backup(directory: string, options: BackupOptions = {}): Promise<BackupResult> {
    this.#checkOpen()
    checkPath(directory, 'directory')
    checkOptions(options, BACKUP_OPTIONS)
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
    checkFlag(options.rewrite, 'rewrite')
    if (options.onLost !== undefined) checkFunction(options.onLost, 'onLost')
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
    checkOptions(options, MAINTENANCE_OPTIONS)
    return await this.#parts.maintenance.verify(options)
  }

  /** Counters and sizes, as a plain object that JSON can carry. */
  stats(): DbStats {
    this.#checkOpen()
    return this.#parts.stats()
  }

  /** That of `stats()` alone, for who asks often: it costs nothing. Throws ClosedError. */
  get writesRefusedFor(): WriteRefusal | undefined {
    this.#checkOpen()
    return this.#parts.refusedFor()
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
    if (listener === undefined) throw new InvalidArgumentError('a listener must be a function')
    checkFunction(listener, 'a listener')
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
    const { signal, after = this.sequence } = checkMembers(options, 'options', CHANGES_OPTIONS)
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

  /** The hold that the option `holdWalFrom` asked for, to advance and to release. */
  get openingHold(): WalHold | undefined {
    return this.#parts.openingHold
  }

  #checkOpen(): void {
    if (this.status === 'closed') throw new ClosedError('the database is closed')
  }
}

/** What a remote client has, and a database that is embedded has not. */
export const NOT_EMBEDDED: readonly string[] = ['admin', 'count', 'ping', 'ringMap']

refuseMethods(Db, {
  kind: 'an embedded database',
  throwing: [],
  rejecting: NOT_EMBEDDED,
  advice: 'only a remote client has it, kv://host:port; to count, go through keys()',
})
