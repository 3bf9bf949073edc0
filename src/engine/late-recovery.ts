/**
 * The end of a recovery that met a full disk: what the log holds is in memtables meanwhile, from
 * which it is read. Once there is room it is put into tables and the log is begun, as recovery.ts
 * would have done at once; only then is anything written, compacted or removed.
 *
 * Invariants:
 *  1. One try at a time, all or nothing: until the MANIFEST edit nothing that was on the disk is
 *     changed, and what a try could not bring to its end it takes back. So a crash at any moment
 *     leaves what recovery can begin with anew.
 *  2. The memtables leave TreeState.frozen in the same synchronous step in which their tables enter
 *     the version.
 *  3. A try that came as far as the tables is not followed by another at once, however many writers
 *     ask for it: it costs a write of all that there was room for.
 *  4. No try begins when this process no longer holds the directory, or is about to let go of it;
 *     the one under way has ended before that.
 */
import { ClosedError, KvError } from '../errors.ts'
import { formatFileName } from './file-names.ts'
import type { FileSystem } from './file-system.ts'
import { ioFailure, isShortage } from './io-failure.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import { beginLog, type LogStart, logEdit } from './log-start.ts'
import type { Memtable } from './memtable.ts'
import { largerKey } from './range-fragment.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'
import type { WalWriter } from './wal-writer.ts'
import { refusalReason, type WriteRefusal } from './write-refusal.ts'

/** Milliseconds between two tries that come as far as the tables, at least, */
const PAUSE_MS_MIN = 500
/** in multiples of what the last one took, */
const PAUSE_FACTOR = 10
/** and at most: by then whoever made room expects that writes are taken. */
const PAUSE_MS_MAX = 5000

export interface LateRecoveryParts {
  readonly host: BackgroundHost
  readonly runner: JobRunner
  readonly fileSystem: FileSystem
  readonly start: LogStart
  /** Removes what is not needed any more, once the log is begun. Rejects as the system does. */
  readonly tidy: () => Promise<void>
  /** Called at the end, with the segment that takes the writes. */
  readonly onFinished: (wal: WalWriter) => void
}

/** A try that may not be repeated at once. */
interface CostlyFailure {
  readonly error: unknown
  readonly untilMs: number
}

export class LateRecovery {
  readonly #parts: LateRecoveryParts
  #trying: Promise<void> | undefined
  #failure: CostlyFailure | undefined
  /** The log is begun, and only tidy() did not come to its end. */
  #wal: WalWriter | undefined
  #isFinished = false
  #refusedFor: WriteRefusal = 'space'
  #isClosing = false

  constructor(parts: LateRecoveryParts) {
    this.#parts = parts
  }

  /** The segment that the log goes on in, for who closes it. */
  get wal(): WalWriter | undefined {
    return this.#wal
  }

  /** Why the last try failed, and before the first one the opening; undefined at the end. */
  get refusedFor(): WriteRefusal | undefined {
    return this.#isFinished ? undefined : this.#refusedFor
  }

  /**
   * Resolves once writing can go on. Rejects with the system's error after a shortage
   * (io-failure.ts), when all is as before, and with a KvError otherwise.
   */
  async finish(): Promise<void> {
    if (this.#isFinished) return
    if (this.#isClosing) throw new ClosedError('the database is closed')
    this.#trying ??= this.#try().finally(() => {
      this.#trying = undefined
    })
    await this.#trying
  }

  /** Waits for the try under way, whoever asked for it; none begins any more. Never rejects. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#trying?.catch(() => undefined)
  }

  async #try(): Promise<void> {
    const { host, runner, tidy, onFinished } = this.#parts
    if (host.state.failure !== undefined) throw host.state.failure
    const failure = this.#failure
    if (failure !== undefined && host.clock.monotonicMs() < failure.untilMs) throw failure.error
    try {
      runner.verifyLock()
      this.#wal ??= await this.#begin()
      await tidy()
    } catch (error) {
      this.#refusedFor = refusalReason(error)
      if (isShortage(error) || error instanceof KvError) throw error
      throw host.fail('the log could not be begun', error)
    }
    this.#isFinished = true
    host.state.isRecovered = true
    onFinished(this.#wal)
  }

  async #begin(): Promise<WalWriter> {
    const { host, runner, fileSystem, start } = this.#parts
    const { state } = host
    let version: Version | undefined
    // The segment first: on a disk that is still full that costs next to nothing.
    const wal = await beginLog({ ...host, fileSystem }, start, async () => {
      const startMs = host.clock.monotonicMs()
      try {
        const tables = await this.#flush(state.frozen)
        version = await runner.install(logEdit(host, start, tables))
      } catch (error) {
        const nowMs = host.clock.monotonicMs()
        const wantedMs = PAUSE_FACTOR * (nowMs - startMs)
        const pauseMs = Math.min(Math.max(PAUSE_MS_MIN, wantedMs), PAUSE_MS_MAX)
        this.#failure = { error, untilMs: nowMs + pauseMs }
        throw error
      }
    })
    state.version = version ?? state.version
    state.frozen = []
    host.walSegments.retireRecovered()
    return wal
  }

  /** Oldest first, each with what the ones before it came to. The tables, newest first. */
  async #flush(memtables: readonly Memtable[]): Promise<readonly TableMetadata[]> {
    const { host, runner } = this.#parts
    let { largestKey } = host.state.version
    const done: TableMetadata[] = []
    try {
      for (const { arena, order } of memtables.toReversed()) {
        const { tables } = await runner.run({ kind: 'flush', arena, order, largestKey }, 1)
        done.push(...tables)
        for (const table of tables) largestKey = largerKey(largestKey, table.largestKey)
      }
      return done.reverse()
    } catch (error) {
      const names = done.map(({ fileNumber }) => formatFileName('table', fileNumber))
      await host.obsoleteFiles.discard(names)
      // Nothing has changed, whatever it was.
      throw isShortage(error) ? error : ioFailure(error, 'the log cannot be put into tables')
    }
  }
}
