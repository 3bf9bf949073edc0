/**
 * Runs background jobs for the flusher and the compactor: reserves file numbers, removes the
 * outputs of a failed job, waits before the next try, stops everything at close.
 *
 * Invariants:
 *  1. A failed job leaves no file behind and changes nothing; it takes none away that it did not
 *     write. So none runs when this process no longer holds the directory.
 *  2. After stop() no job starts, and the running ones end early.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { AbortedError, toError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { ColdTier } from './cold-tier.ts'
import type { EventStream } from './event-stream.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { formatFileName } from './file-names.ts'
import { systemErrorCode } from './file-system.ts'
import { isShortage } from './io-failure.ts'
import type { Executor, Job, JobResult } from './job.ts'
import { LAST_LEVEL } from './level-shape.ts'
import type { Manifest } from './manifest.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import { type ResolvedDbOptions, tableOptionsAt } from './options.ts'
import type { TreeState } from './tree-state.ts'
import type { Version } from './version.ts'
import type { VersionEdit } from './version-edit.ts'
import type { WalSegments } from './wal-segments.ts'

/** Milliseconds before failed work is tried again; doubled up to the maximum. */
const RETRY_DELAY_MS_MIN = 500
const RETRY_DELAY_MS_MAX = 30_000
/**
 * The maximum after a shortage, which is over when somebody makes room: then writers are refused
 * for nothing. Trying takes milliseconds where nothing fits, but where almost enough does, a table
 * is written each time: so at most one part of the time in so many is spent on it.
 */
const SHORTAGE_DELAY_MS_MAX = 1000
const SHORTAGE_PAUSE_SHARE = 20

/** What background work needs of the database around it. */
export interface BackgroundHost {
  readonly directory: string
  /** The second directory, if there is one. */
  readonly tier: ColdTier | undefined
  readonly options: ResolvedDbOptions
  readonly state: TreeState
  readonly manifest: Manifest
  readonly executor: Executor
  readonly obsoleteFiles: ObsoleteFiles
  readonly walSegments: WalSegments
  readonly clock: Clock
  readonly expiry: ExpiryClock
  readonly logger: Logger
  readonly events: EventStream
  /** Throws when this process no longer holds the directory: asked before each new file. */
  readonly verifyLock: () => void
  /** Refuses all writes from now on: the MANIFEST could not be written. Returns the error. */
  fail(what: string, cause: unknown): Error
}

/** The parts of a job that the runner fills in. */
type JobCommonFields =
  | 'directory'
  | 'coldDirectory'
  | 'outputDirectory'
  | 'firstFileNumber'
  | 'fileNumberCount'
  | 'tableOptions'
  | 'snapshots'
  | 'wallMs'
  | 'cancel'
type WithoutCommon<T> = T extends Job ? Omit<T, JobCommonFields> : never
export type JobBody = WithoutCommon<Job>

type Work = 'flush' | 'compaction'

/** Failed work that waits for its next try. */
interface Retry {
  readonly name: Work
  readonly work: () => Promise<void>
  readonly cancel: CancelTimer
}

/** What became of one kind of work since it succeeded last. */
class Failures {
  count = 0
  /** By the system's code of a shortage: it is told again from then on. */
  readonly #tellMs = new Map<string | undefined, number>()

  /**
   * Whether a shortage is to be told now, and not again within `pauseMs`: as often as it would be
   * tried if it were none, for a disk may be full for days.
   */
  tells(shortage: unknown, nowMs: number, pauseMs: number): boolean {
    const code = systemErrorCode(shortage)
    if (nowMs < (this.#tellMs.get(code) ?? Number.NEGATIVE_INFINITY)) return false
    this.#tellMs.set(code, nowMs + pauseMs)
    return true
  }

  clear(): void {
    this.count = 0
    this.#tellMs.clear()
  }
}

export class JobRunner {
  readonly #host: BackgroundHost
  /** One word shared with every job: non-zero stops them. */
  readonly #cancel = new Int32Array(new SharedArrayBuffer(4))
  readonly #retries = new Set<Retry>()
  readonly #running = new Set<Promise<unknown>>()
  readonly #failures: Readonly<Record<Work, Failures>> = {
    flush: new Failures(),
    compaction: new Failures(),
  }
  #stopped = false

  constructor(host: BackgroundHost) {
    this.#host = host
  }

  /** The time that expiry goes by, in whole milliseconds. */
  get wallMs(): number {
    return Math.floor(this.#host.expiry.nowMs)
  }

  get stopped(): boolean {
    return this.#stopped || this.#host.state.failure !== undefined
  }

  /**
   * Throws when this process no longer holds the directory, and then refuses all writes from now
   * on; also after a shortage (io-failure.ts), which may pass.
   */
  verifyLock(): void {
    const { verifyLock, fail } = this.#host
    try {
      verifyLock()
    } catch (error) {
      throw isShortage(error) ? error : fail('the directory is no longer held', error)
    }
  }

  /** Runs a job whose outputs take at most `fileNumberCount` files. */
  async run(body: JobBody, fileNumberCount: number): Promise<JobResult> {
    this.verifyLock()
    const { manifest, state, options, directory, tier, executor } = this.#host
    const firstFileNumber = manifest.reserveFileNumbers(fileNumberCount)
    const isLast = body.kind === 'compaction' && body.outputLevel === LAST_LEVEL
    const isCold = isLast && tier?.isWanted === true
    const common = {
      directory,
      coldDirectory: tier?.path,
      outputDirectory: isCold ? tier?.path : undefined,
      firstFileNumber,
      fileNumberCount,
      tableOptions: tableOptionsAt(options, body.kind === 'flush' ? 0 : body.outputLevel),
      snapshots: state.snapshots.sequences,
      wallMs: this.wallMs,
      cancel: this.#cancel,
    }
    try {
      const result = await executor.run({ ...body, ...common })
      if (isCold) tier?.added(result.tables)
      return result
    } catch (error) {
      // A name that is taken is another process's, and so may all of these names be.
      if (systemErrorCode(error) !== 'EEXIST') {
        await this.#host.obsoleteFiles.discard(tableNames(firstFileNumber, fileNumberCount))
      }
      throw error
    }
  }

  /**
   * Appends the edit to the MANIFEST. After a shortage (io-failure.ts) nothing has changed and the
   * work can be done again; any other failure refuses all writes from now on.
   */
  async install(edit: VersionEdit): Promise<Version> {
    const { manifest, fail } = this.#host
    try {
      return await manifest.append(edit)
    } catch (error) {
      if (isShortage(error) && manifest.failure === undefined) throw error
      throw fail('the MANIFEST could not be written', error)
    }
  }

  /**
   * Runs `work` now, and again after a growing delay for as long as it fails. Work ends silently
   * when the runner is stopped or the database poisoned.
   */
  supervise(name: Work, work: () => Promise<void>): void {
    const running = this.#attempt(name, work)
    this.#running.add(running)
    running.finally(() => this.#running.delete(running)).catch(rethrowAsBug)
  }

  /** Work of this name came to its end, its outputs installed: what failed before is past. */
  succeeded(name: Work): void {
    this.#failures[name].clear()
  }

  /** What made work of this name fail is over: what waits for its next try begins at once. */
  retryNow(name: Work): void {
    this.succeeded(name)
    for (const retry of this.#retries) {
      if (retry.name !== name) continue
      retry.cancel()
      this.#retries.delete(retry)
      this.supervise(name, retry.work)
    }
  }

  async #attempt(name: Work, work: () => Promise<void>): Promise<void> {
    if (this.stopped) return
    const { clock } = this.#host
    const startMs = clock.monotonicMs()
    try {
      await work()
    } catch (error) {
      if (this.stopped || error instanceof AbortedError) return
      const delayMs = this.#failed(name, error, clock.monotonicMs() - startMs)
      const cancel = clock.setTimer(delayMs, () => {
        this.#retries.delete(retry)
        this.supervise(name, work)
      })
      const retry = { name, work, cancel }
      this.#retries.add(retry)
    }
  }

  /**
   * Tells of it, unless it is a shortage that this work told of lately. Returns after how many
   * milliseconds the work is tried again.
   */
  #failed(name: Work, error: unknown, elapsedMs: number): number {
    const failures = this.#failures[name]
    failures.count++
    const { logger, events, clock } = this.#host
    const usualMs = Math.min(RETRY_DELAY_MS_MIN * 2 ** (failures.count - 1), RETRY_DELAY_MS_MAX)
    const shortMs = Math.max(SHORTAGE_DELAY_MS_MAX, elapsedMs * SHORTAGE_PAUSE_SHARE)
    const delayMs = isShortage(error) ? Math.min(usualMs, shortMs) : usualMs
    if (isShortage(error) && !failures.tells(error, clock.monotonicMs(), usualMs)) return delayMs
    logger.error(`${name} failed; trying again`, { error, delayMs })
    if (events.active) {
      const failure = { what: name, error: toError(error), retryMs: delayMs }
      events.emit({ type: 'backgroundError', ...failure })
    }
    return delayMs
  }

  /** Stops running jobs and waits for them. */
  async stop(): Promise<void> {
    this.#stopped = true
    Atomics.store(this.#cancel, 0, 1)
    for (const { cancel } of this.#retries) cancel()
    this.#retries.clear()
    await Promise.all(this.#running)
  }
}

/** Of so many tables, with numbers from the first one on. */
function tableNames(firstFileNumber: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    formatFileName('table', firstFileNumber + index),
  )
}

/** #attempt handles what can fail; anything that still comes through must end the process. */
function rethrowAsBug(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
