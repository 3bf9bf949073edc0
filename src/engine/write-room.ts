/**
 * Room for writes: rotates the memtable and its WAL segment when they are full, and waits for a
 * flush when too many memtables are frozen. To what rate writers are held is for write-throttle.ts,
 * what they are refused for in write-refusal.ts.
 *
 * Invariants:
 *  1. A memtable and its segment are changed together, between two group commits.
 *  2. The old segment is synced to its end before the new one takes its first frame, so whatever
 *     the new one acknowledges, nothing before it can be missing.
 *  3. Whenever writers wait, a flush or compaction that will end the wait is running or scheduled;
 *     but the first ones after an opening on a full disk end the recovery themselves.
 */
import { assert } from '../assert.ts'
import type { Random } from '../random.ts'
import type { Compactor } from './compactor.ts'
import type { FileSystem } from './file-system.ts'
import type { Flusher } from './flusher.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import type { LateRecovery } from './late-recovery.ts'
import { Memtable } from './memtable.ts'
import { NextSegment } from './next-segment.ts'
import type { StallStats } from './stalls.ts'
import { paddingFor, type WalWriter } from './wal-writer.ts'
import { LogRefusal, refusalReason, type WriteRefusal } from './write-refusal.ts'
import { WriteThrottle } from './write-throttle.ts'

/** Log data is in the segment only, so it may fill long before its memtable: this bounds it. */
const LOG_SIZE_SHARE = 2

export interface WriteRoomParts {
  readonly host: BackgroundHost
  readonly fileSystem: FileSystem
  readonly random: Random
  readonly flusher: Flusher
  readonly compactor: Compactor
  readonly runner: JobRunner
  readonly databaseId: Uint8Array
  /** The segment that belongs to the active memtable; undefined until `late` has ended. */
  readonly wal: WalWriter | undefined
  readonly late: LateRecovery | undefined
}

/** A memtable that was scanned is followed by so many that spare the next scan the wait. */
const ORDERING_AFTER_SCAN = 16

export class WriteRoom {
  readonly #parts: WriteRoomParts
  readonly #next: NextSegment
  readonly #throttle: WriteThrottle
  readonly #refusal: LogRefusal
  #wal: WalWriter | undefined
  /** So many of the next memtables are kept in order. */
  #ordering = 0

  constructor(parts: WriteRoomParts) {
    this.#parts = parts
    this.#next = new NextSegment(parts)
    this.#throttle = new WriteThrottle(parts)
    this.#wal = parts.wal
    // Only a full disk keeps an opening from beginning the log; see recovery.ts.
    this.#refusal = new LogRefusal(parts.host.logger, parts.wal === undefined ? 'space' : undefined)
  }

  /** Whether there is a segment to write to. */
  get isBegun(): boolean {
    return this.#wal !== undefined
  }

  /** The segment that takes the next frame. Requires that the log is begun. */
  get wal(): WalWriter {
    assert(this.#wal !== undefined, 'the log is begun before it is written to')
    return this.#wal
  }

  /** Bytes of the segment that were written, and of those the ones that are durable. */
  get size(): number {
    return this.#wal?.size ?? 0
  }

  get syncedSize(): number {
    return this.#wal?.synced.length ?? 0
  }

  get stalls(): StallStats {
    return this.#throttle.stats
  }

  /** What the next writer would be refused for, as far as the last ones tell. */
  get refusedFor(): WriteRefusal | undefined {
    const { host, flusher, compactor, late } = this.#parts
    const { failure, frozen } = host.state
    if (failure !== undefined) return 'failure'
    const log = this.isBegun ? this.#refusal.reason : late?.refusedFor
    if (log !== undefined) return log
    const mustFlush = frozen.length >= host.options.frozenMemtablesMax
    const waited = mustFlush ? flusher.failures.refusal(false) : undefined
    const isStopped = waited === undefined && this.#throttle.isStopped
    const refusal = isStopped ? compactor.failures.refusal(false) : waited
    if (refusal === undefined) return undefined
    return refusalReason(refusal.cause)
  }

  /** Whoever waits for work that fails is refused from now on, so that closing comes to its end. */
  beginClosing(): void {
    this.#throttle.beginClosing()
    this.#parts.flusher.wakeAll()
    this.#parts.compactor.wakeAll()
  }

  /** Once nothing is written any more: removes what was made ahead. */
  close(): Promise<void> {
    return this.#next.close()
  }

  /** Called after each flush and compaction: a stall may be over though nobody writes. */
  relieved(): void {
    this.#throttle.relieved()
  }

  /** Whether so many bytes may be written without a wait; then they are counted. */
  admits(bytes: number): boolean {
    return this.#throttle.admits(bytes)
  }

  /** The segment that what could not be done at opening (late-recovery.ts) ended with. */
  begun(wal: WalWriter): void {
    this.#wal = wal
    this.#refusal.end()
  }

  /** Resolves once there is a segment to write to. Rejects as makeRoom does. */
  async begin(): Promise<void> {
    if (this.#wal !== undefined) return
    try {
      await this.#parts.late?.finish()
    } catch (error) {
      throw this.#refusal.of(error)
    }
  }

  /** Whether the active memtable and its segment take so many entries and bytes as they are. */
  hasRoom(entryCount: number, dataSize: number): boolean {
    const { state, options } = this.#parts.host
    if (this.#wal === undefined) return false
    const isLogFull = this.#wal.size >= LOG_SIZE_SHARE * options.memtableSize
    return !isLogFull && state.memtable.hasRoom(entryCount, dataSize)
  }

  /**
   * Returns once the active memtable surely takes so many entries with so many bytes of keys and
   * values, and its segment a frame of them. Called between group commits. Rejects when the
   * database is poisoned or closed; with IoError, and nothing changed, when the disk is full.
   */
  async makeRoom(entryCount: number, dataSize: number): Promise<void> {
    if (!this.isBegun) await this.#throttle.hold('recovery', () => this.begin())
    await this.#makeRoomInMemory(entryCount, dataSize)
    if (!this.wal.hasReserved(dataSize)) await this.#reserve(dataSize)
  }

  async #makeRoomInMemory(entryCount: number, dataSize: number): Promise<void> {
    await this.#throttle.holdBack(dataSize)
    const { state } = this.#parts.host
    if (this.hasRoom(entryCount, dataSize)) return
    if (state.memtable.entryCount === 0) {
      if (state.memtable.hasRoom(entryCount, dataSize)) return
      // A larger one for the same segment: there is nothing to freeze, and nothing to flush.
      state.memtable = this.#newMemtable(entryCount, dataSize, this.wal.fileNumber)
      return
    }
    await this.#waitForFrozenSlot()
    await this.#rotate(entryCount, dataSize)
  }

  /**
   * Freezes the memtable if it holds anything, so that a flush takes all that was written so far.
   * Called between group commits.
   */
  async freeze(): Promise<void> {
    await this.begin()
    if (this.#parts.host.state.memtable.entryCount === 0) return
    await this.#waitForFrozenSlot()
    await this.#rotate(1, 0)
  }

  async #waitForFrozenSlot(): Promise<void> {
    const { host, flusher } = this.#parts
    if (host.state.frozen.length < host.options.frozenMemtablesMax) return
    await this.#throttle.hold('memtables', async () => {
      while (host.state.frozen.length >= host.options.frozenMemtablesMax) {
        this.#throttle.checkUsable(flusher.failures)
        await flusher.waitForFlush()
      }
    })
    this.relieved()
  }

  async #rotate(entryCount: number, dataSize: number): Promise<void> {
    const { host, flusher } = this.#parts
    this.#verifyLock()
    const { state, events } = host
    const previous = this.wal
    const next = await this.#continueAfter(previous)
    this.#wal = next
    this.#refusal.end()
    const { fileNumber } = next
    // Everything in the old segment is durable and applied: nobody writes or syncs it again.
    previous.close()
    host.walSegments.rotated(previous.size, state.lastSequence, fileNumber)
    state.memtable.freeze()
    state.memtable.walSize = previous.size
    state.frozen = [state.memtable, ...state.frozen]
    state.memtable = this.#newMemtable(entryCount, dataSize, fileNumber)
    if (events.active) {
      const { fileNumber: previousNumber, size: previousBytes } = previous
      events.emit({ type: 'walRotated', fileNumber, previousNumber, previousBytes })
    }
    flusher.schedule()
    this.#next.prepare()
  }

  /**
   * The segment that follows, with `previous` durable to its end, as its header says. Rejects with
   * IoError, and everything as it was, when there is no room for it.
   */
  async #continueAfter(previous: WalWriter): Promise<WalWriter> {
    const { host, databaseId } = this.#parts
    await previous.sync()
    try {
      return await this.#next.begin({
        databaseId,
        firstSequence: host.state.lastSequence + 1,
        previous,
        paddingSize: paddingFor(host.options.memtableSize),
      })
    } catch (error) {
      throw this.#refusal.of(error)
    }
  }

  async #reserve(size: number): Promise<void> {
    try {
      await this.wal.reserve(size)
      this.#refusal.end()
    } catch (error) {
      throw this.#refusal.of(error)
    }
  }

  #verifyLock(): void {
    try {
      this.#parts.host.verifyLock()
    } catch (error) {
      throw this.#refusal.of(error)
    }
  }

  #newMemtable(entryCount: number, dataSize: number, walNumber: number): Memtable {
    const { host, flusher, random } = this.#parts
    const needed = Memtable.arenaSizeFor(entryCount, dataSize)
    const memory = flusher.takeMemory(Math.max(host.options.memtableSize, needed))
    if (host.state.memtable.wasScanned) this.#ordering = ORDERING_AFTER_SCAN
    const defers = this.#ordering === 0
    if (!defers) this.#ordering--
    return new Memtable(memory, walNumber, random, defers)
  }
}
