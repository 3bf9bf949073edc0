/**
 * Room for writes: rotates the memtable and its WAL segment when they are full, waits for a flush
 * when too many memtables are frozen, and holds writers to the rate that is granted while flushes
 * or compactions are behind.
 *
 * Invariants:
 *  1. A memtable and its segment are changed together, between two group commits.
 *  2. The old segment is synced to its end before the new one takes its first frame, so whatever
 *     the new one acknowledges, nothing before it can be missing.
 *  3. Whenever writers wait, a flush or compaction that will end the wait is running or scheduled.
 */
import { assert } from '../assert.ts'
import { type CancelTimer, delay } from '../clock.ts'
import { ClosedError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { Compactor } from './compactor.ts'
import type { FileSystem } from './file-system.ts'
import type { Flusher } from './flusher.ts'
import { ioFailure, isDiskFull, isShortage } from './io-failure.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import type { LateRecovery } from './late-recovery.ts'
import { Memtable } from './memtable.ts'
import { NextSegment } from './next-segment.ts'
import type { RepeatedFailure } from './repeated-failure.ts'
import { type StallStats, Stalls } from './stalls.ts'
import type { Version } from './version.ts'
import { paddingFor, type WalWriter } from './wal-writer.ts'
import { WritePacer } from './write-pacer.ts'
import { RATE_MAX, type WritePressure, writePressure } from './write-pressure.ts'

/** Milliseconds after which a writer who waits looks whether more is granted by now. */
const SLICE_MS = 50
/** Log data is in the segment only, so it may fill long before its memtable: this bounds it. */
const LOG_SIZE_SHARE = 2

const NO_PRESSURE: WritePressure = {
  rate: Number.POSITIVE_INFINITY,
  stop: false,
  reason: undefined,
}

export interface WriteRoomParts {
  readonly host: BackgroundHost
  readonly fileSystem: FileSystem
  readonly random: Random
  readonly flusher: Flusher
  readonly compactor: Compactor
  readonly runner: JobRunner
  readonly databaseId: Uint8Array
  /** Throws when this process no longer holds the directory. */
  readonly verifyLock: () => void
  /** The segment that belongs to the active memtable; undefined until `late` has ended. */
  readonly wal: WalWriter | undefined
  readonly late: LateRecovery | undefined
}

/**
 * Why writes are refused while reads go on: no room on the disk, no file to be had, or a failure of
 * the disk or of the work in the background.
 */
export type WriteRefusal = 'space' | 'files' | 'failure'

/** A memtable that was scanned is followed by so many that spare the next scan the wait. */
const ORDERING_AFTER_SCAN = 16

export class WriteRoom {
  readonly #parts: WriteRoomParts
  readonly #stalls: Stalls
  readonly #next: NextSegment
  readonly #pacer: WritePacer
  #wal: WalWriter | undefined
  #pressureVersion: Version | undefined
  #pressureFrozen = 0
  #isClosing = false
  #lastPressure = NO_PRESSURE
  /** Writes are refused, as the log cannot be continued for want of this. */
  #shortOf: 'space' | 'files' | undefined
  /** So many of the next memtables are kept in order. */
  #ordering = 0
  /** Of the look at whether the rate has come back. */
  #cancelLook: CancelTimer | undefined

  constructor(parts: WriteRoomParts) {
    this.#parts = parts
    this.#stalls = new Stalls(parts.host.clock, parts.host.events)
    this.#next = new NextSegment(parts)
    this.#pacer = new WritePacer(parts.host.clock, RATE_MAX)
    this.#wal = parts.wal
    // Only a full disk keeps an opening from beginning the log; see recovery.ts.
    this.#shortOf = parts.wal === undefined ? 'space' : undefined
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
    this.#look()
    const { rate } = this.#pacer
    return { ...this.#stalls.stats, grantedRate: Number.isFinite(rate) ? rate : undefined }
  }

  /** What the next writer would be refused for, as far as the last ones tell. */
  get refusedFor(): WriteRefusal | undefined {
    const { host, flusher, compactor } = this.#parts
    const { failure, frozen } = host.state
    if (failure !== undefined) return 'failure'
    if (this.#shortOf !== undefined) return this.#shortOf
    const mustFlush = frozen.length >= host.options.frozenMemtablesMax
    const waited = mustFlush ? flusher.failures.refusal(false) : undefined
    const refusal = waited ?? (this.#look().stop ? compactor.failures.refusal(false) : undefined)
    if (refusal === undefined) return undefined
    return isDiskFull(refusal.cause) ? 'space' : 'failure'
  }

  /** Whoever waits for work that fails is refused from now on, so that closing comes to its end. */
  beginClosing(): void {
    this.#isClosing = true
    this.#cancelLook?.()
    this.#parts.flusher.wakeAll()
    this.#parts.compactor.wakeAll()
  }

  /** Once nothing is written any more: removes what was made ahead. */
  close(): Promise<void> {
    return this.#next.close()
  }

  /** Called after each flush and compaction: a stall may be over though nobody writes. */
  relieved(): void {
    this.#look()
    if (!this.#pacer.isLimited) this.#stalls.end()
    else if (this.#lastPressure.reason === undefined) this.#lookLater()
  }

  /** Whether so many bytes may be written without a wait; then they are counted. */
  admits(bytes: number): boolean {
    const { stop } = this.#look()
    if (stop || this.#pacer.waitMs > 0) return false
    this.#pacer.charge(bytes)
    return true
  }

  /** The segment that what could not be done at opening (late-recovery.ts) ended with. */
  begun(wal: WalWriter): void {
    this.#wal = wal
    this.#continued()
  }

  /** Resolves once there is a segment to write to. Rejects as makeRoom does. */
  async begin(): Promise<void> {
    if (this.#wal !== undefined) return
    try {
      await this.#parts.late?.finish()
    } catch (error) {
      throw this.#refusalFor(error)
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
    await this.begin()
    await this.#makeRoomInMemory(entryCount, dataSize)
    if (!this.wal.hasReserved(dataSize)) await this.#reserve(dataSize)
  }

  async #makeRoomInMemory(entryCount: number, dataSize: number): Promise<void> {
    await this.#holdBack(dataSize)
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

  /** The pressure of the moment, of which the pacer takes note. */
  #look(): WritePressure {
    const pressure = this.#pressure()
    this.#pacer.update(pressure)
    return pressure
  }

  /** Asked for with every write, so it is computed only when what it depends on has changed. */
  #pressure(): WritePressure {
    const { host, compactor } = this.#parts
    const { version, frozen, memtable } = host.state
    const isKnown = this.#pressureVersion === version && this.#pressureFrozen === frozen.length
    // Only then does it depend on how full the active memtable is.
    if (!isKnown || frozen.length >= host.options.frozenMemtablesMax) {
      this.#pressureVersion = version
      this.#pressureFrozen = frozen.length
      this.#lastPressure = writePressure(
        {
          level0Count: version.levels[0]!.length,
          frozenCount: frozen.length,
          memtableFill: memtable.fill,
          debt: compactor.debt,
        },
        host.options,
      )
    }
    return this.#lastPressure
  }

  /** Waits until so many bytes may be written, and counts them. */
  async #holdBack(bytes: number): Promise<void> {
    if (!this.admits(bytes)) {
      const reason = this.#pacer.reason ?? this.#lastPressure.reason
      assert(reason !== undefined, 'nobody is held back without a reason')
      await this.#stalls.hold(reason, () => this.#waitForTurn())
      this.#pacer.charge(bytes)
    }
    this.relieved()
  }

  /** Returns when what was written before has been paid for, and writing is not stopped. */
  async #waitForTurn(): Promise<void> {
    const { host, compactor } = this.#parts
    for (;;) {
      const { stop } = this.#look()
      const { waitMs } = this.#pacer
      if (stop) {
        this.#checkUsable(compactor.failures)
        await compactor.waitForCompaction()
      } else if (waitMs > 0 && !this.#isClosing) {
        await delay(host.clock, Math.min(waitMs, SLICE_MS))
      } else return
    }
  }

  /** Looks again when the rate has come back, in case that nobody writes until then. */
  #lookLater(): void {
    if (this.#isClosing) return
    this.#cancelLook ??= this.#parts.host.clock.setTimer(
      this.#pacer.recoveryMs,
      () => {
        this.#cancelLook = undefined
        this.relieved()
      },
      { background: true },
    )
  }

  async #waitForFrozenSlot(): Promise<void> {
    const { host, flusher } = this.#parts
    if (host.state.frozen.length < host.options.frozenMemtablesMax) return
    await this.#stalls.hold('memtables', async () => {
      while (host.state.frozen.length >= host.options.frozenMemtablesMax) {
        this.#checkUsable(flusher.failures)
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
    this.#continued()
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
      throw this.#refusalFor(error)
    }
  }

  async #reserve(size: number): Promise<void> {
    try {
      await this.wal.reserve(size)
      this.#continued()
    } catch (error) {
      throw this.#refusalFor(error)
    }
  }

  /**
   * What a writer gets when the log cannot be continued for want of something: the log is whole,
   * and his write is not in it, so whoever writes next tries again.
   */
  #refusalFor(error: unknown): unknown {
    if (!isShortage(error)) return error
    const what = 'the log cannot be continued, so writes are refused and reads go on'
    const refusal = ioFailure(error, what)
    if (this.#shortOf === undefined) {
      this.#parts.host.logger.error('writes are refused', { error: refusal })
    }
    this.#shortOf = isDiskFull(error) ? 'space' : 'files'
    return refusal
  }

  #continued(): void {
    if (this.#shortOf === undefined) return
    this.#shortOf = undefined
    this.#parts.host.logger.info('writes are taken again: the log could be continued')
  }

  #verifyLock(): void {
    try {
      this.#parts.verifyLock()
    } catch (error) {
      throw this.#refusalFor(error)
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

  /** Throws when it makes no sense to wait for the work that `failures` belongs to. */
  #checkUsable(failures: RepeatedFailure): void {
    const { host, runner } = this.#parts
    if (host.state.failure !== undefined) throw host.state.failure
    if (runner.stopped) throw new ClosedError('the database is closed')
    const refusal = failures.refusal(this.#isClosing)
    if (refusal !== undefined) throw refusal
  }
}
