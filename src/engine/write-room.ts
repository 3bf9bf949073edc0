/**
 * Room for writes: rotates the memtable and its WAL segment when they are full, waits for a flush
 * when too many memtables are frozen, and holds writers back while compaction is behind.
 *
 * Invariants:
 *  1. A memtable and its segment are changed together, between two group commits.
 *  2. The old segment is synced to its end before the new one takes its first frame, so whatever
 *     the new one acknowledges, nothing before it can be missing.
 *  3. Whenever writers wait, a flush or compaction that will end the wait is running or scheduled.
 */
import { delay } from '../clock.ts'
import { ClosedError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { Compactor } from './compactor.ts'
import type { FileSystem } from './file-system.ts'
import type { Flusher } from './flusher.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import { Memtable } from './memtable.ts'
import { NextSegment } from './next-segment.ts'
import type { RepeatedFailure } from './repeated-failure.ts'
import { type StallStats, Stalls } from './stalls.ts'
import type { Version } from './version.ts'
import { paddingFor, WalWriter } from './wal-writer.ts'
import { type WritePressure, writePressure } from './write-pressure.ts'

/** Reported while writers are stopped; they wait for an event, not for this long. */
const STOPPED_DELAY_MS = 1
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
  /** Throws when this process no longer holds the directory. */
  readonly verifyLock: () => void
  /** The segment that belongs to the active memtable. */
  readonly wal: WalWriter
}

export class WriteRoom {
  readonly #parts: WriteRoomParts
  readonly #stalls: Stalls
  readonly #next: NextSegment
  #wal: WalWriter
  #pressureVersion: Version | undefined
  #pressureFrozen = 0
  #isClosing = false
  #lastPressure: WritePressure = { delayMs: 0, stop: false, reason: undefined }

  constructor(parts: WriteRoomParts) {
    this.#parts = parts
    this.#stalls = new Stalls(parts.host.clock, parts.host.events)
    this.#next = new NextSegment(parts)
    this.#wal = parts.wal
  }

  /** The segment that takes the next frame. */
  get wal(): WalWriter {
    return this.#wal
  }

  get stalls(): StallStats {
    return this.#stalls.stats
  }

  /** Whoever waits for work that fails is refused from now on, so that closing comes to its end. */
  beginClosing(): void {
    this.#isClosing = true
    this.#parts.flusher.wakeAll()
    this.#parts.compactor.wakeAll()
  }

  /** Once nothing is written any more: removes what was made ahead. */
  close(): Promise<void> {
    return this.#next.close()
  }

  /** Called after each flush and compaction: a stall may be over though nobody writes. */
  relieved(): void {
    if (this.slowDownMs() === 0) this.#stalls.end()
  }

  /** Milliseconds to hold back the next group commit; 0 for full speed. */
  slowDownMs(): number {
    const { stop, delayMs } = this.#pressure()
    return stop ? STOPPED_DELAY_MS : delayMs
  }

  /** Whether the active memtable and its segment take so many entries and bytes as they are. */
  hasRoom(entryCount: number, dataSize: number): boolean {
    const { state, options } = this.#parts.host
    const isLogFull = this.#wal.size >= LOG_SIZE_SHARE * options.memtableSize
    return !isLogFull && state.memtable.hasRoom(entryCount, dataSize)
  }

  /**
   * Returns once the active memtable surely takes so many entries with so many bytes of keys and
   * values. Called between group commits. Rejects when the database is poisoned or closed.
   */
  async makeRoom(entryCount: number, dataSize: number): Promise<void> {
    await this.#holdBack()
    const { state } = this.#parts.host
    if (this.hasRoom(entryCount, dataSize)) return
    if (state.memtable.entryCount === 0) {
      if (state.memtable.hasRoom(entryCount, dataSize)) return
      // A larger one for the same segment: there is nothing to freeze, and nothing to flush.
      state.memtable = this.#newMemtable(entryCount, dataSize, this.#wal.fileNumber)
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
    if (this.#parts.host.state.memtable.entryCount === 0) return
    await this.#waitForFrozenSlot()
    await this.#rotate(1, 0)
  }

  /** Asked for with every write, so it is computed only when what it depends on has changed. */
  #pressure(): WritePressure {
    const { host, compactor } = this.#parts
    const { version, frozen } = host.state
    if (this.#pressureVersion !== version || this.#pressureFrozen !== frozen.length) {
      this.#pressureVersion = version
      this.#pressureFrozen = frozen.length
      this.#lastPressure = writePressure(
        {
          level0Count: version.levels[0]!.length,
          frozenCount: frozen.length,
          debt: compactor.debt,
        },
        host.options,
      )
    }
    return this.#lastPressure
  }

  /** Slows the writers smoothly, or stops them until a compaction has caught up. */
  async #holdBack(): Promise<void> {
    const { reason, delayMs, stop } = this.#pressure()
    if (reason === undefined) {
      this.#stalls.end()
      return
    }
    await this.#stalls.hold(reason, async () => {
      if (!stop) await delay(this.#parts.host.clock, delayMs)
      while (stop && this.#pressure().stop) {
        this.#checkUsable(this.#parts.compactor.failures)
        await this.#parts.compactor.waitForCompaction()
      }
    })
    this.relieved()
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
    this.#parts.verifyLock()
    const { state, events } = host
    const previous = this.#wal
    this.#wal = await this.#continueAfter(previous)
    const { fileNumber } = this.#wal
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

  /** The segment that follows, with `previous` durable to its end, as its header says. */
  async #continueAfter(previous: WalWriter): Promise<WalWriter> {
    const { host, databaseId } = this.#parts
    await previous.sync()
    return WalWriter.begin(await this.#next.take(), {
      databaseId,
      firstSequence: host.state.lastSequence + 1,
      previous,
      paddingSize: paddingFor(host.options.memtableSize),
    })
  }

  #newMemtable(entryCount: number, dataSize: number, walNumber: number): Memtable {
    const { host, flusher, random } = this.#parts
    const needed = Memtable.arenaSizeFor(entryCount, dataSize)
    const arena = flusher.takeArena(Math.max(host.options.memtableSize, needed))
    return new Memtable(arena, walNumber, random)
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
