/**
 * The mutable heart of an open database: what a read looks through, newest first, and whether
 * writing is still allowed. Shared by the write queue, the reads and the background work; each
 * field says who changes it.
 *
 * Invariants:
 *  1. Every entry at or below visibleSequence is in memtable, frozen or version; what is moved
 *     from one to the next is added there before it is taken from here, in one synchronous step.
 *  2. visibleSequence only rises, and only past entries that are as durable as their writers asked.
 *  3. Once failure is set nothing is written any more, and it never changes again.
 */
import { PoisonedError, type WriteOutcome } from '../errors.ts'
import type { Memtable } from './memtable.ts'
import type { Snapshots } from './snapshots.ts'
import type { Version } from './version.ts'

export class TreeState {
  /** Takes the writes. Changed by rotation (write queue). */
  memtable: Memtable
  /** Frozen memtables that wait for their flush, newest first. Replaced, never changed in place. */
  frozen: readonly Memtable[] = []
  /** The tables. Replaced when the MANIFEST accepted an edit (background work). */
  version: Version
  /** Reads see entries up to here. Raised by the write queue. */
  visibleSequence: number
  /** The last sequence given to an entry; above visibleSequence while a group is being written. */
  lastSequence: number
  readonly snapshots: Snapshots
  /**
   * False while the log is in `frozen` only, for want of room on the disk: nothing is written or
   * compacted before it is true. Set by late-recovery.ts.
   */
  isRecovered = true
  /** Deletions and expired entries from this sequence on are not purged. Changed by the caller. */
  purgeBound: number
  #failure: PoisonedError | undefined

  constructor(
    memtable: Memtable,
    version: Version,
    sequence: number,
    snapshots: Snapshots,
    purgeBound: number,
  ) {
    this.memtable = memtable
    this.version = version
    this.visibleSequence = sequence
    this.lastSequence = sequence
    this.snapshots = snapshots
    this.purgeBound = purgeBound
  }

  /** The error that every further write gets, or undefined while all is well. */
  get failure(): PoisonedError | undefined {
    return this.#failure
  }

  /**
   * The sequences at which somebody reads or may come to read, ascending, besides the newest state:
   * those of the snapshots, and what is visible now, while more is being written.
   */
  get readers(): Float64Array {
    const { sequences } = this.snapshots
    const readers = new Float64Array(sequences.length + 1)
    readers.set(sequences)
    readers[sequences.length] = this.visibleSequence
    return readers
  }

  /**
   * Refuses all writes from now on; the first cause stays. Returns the error for the write at hand,
   * of which `outcome` is known.
   */
  poison(what: string, cause: unknown, outcome: WriteOutcome): PoisonedError {
    const detail = cause instanceof Error ? cause.message : String(cause)
    const message =
      `${what}: ${detail}; writes are refused until the database is closed and opened again, ` +
      'check the disk first'
    this.#failure ??= new PoisonedError(message, { cause, outcome: 'rejected' })
    return new PoisonedError(message, { cause, outcome })
  }
}
