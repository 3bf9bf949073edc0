/**
 * Turns frozen memtables into level-0 tables, oldest first, one at a time, and retires the WAL
 * segments that held the same entries.
 *
 * Invariants:
 *  1. A memtable leaves TreeState.frozen in the same synchronous step in which its table enters
 *     the version.
 *  2. A WAL segment is retired only after the edit that raises logNumber past it is durable.
 *  3. Whoever waits for room is woken after every flush, also a failed one, and when flushing has
 *     ended for good.
 */
import { assert } from '../assert.ts'
import { ClosedError, toError } from '../errors.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import type { LateRecovery } from './late-recovery.ts'
import type { Memtable } from './memtable.ts'
import { MemtableMemory } from './memtable-memory.ts'
import { RepeatedFailure } from './repeated-failure.ts'

export interface FlushStats {
  readonly flushes: number
  readonly bytesWritten: number
  /** Bytes of keys and values, and of the log that held them, that went into the tables. */
  readonly userBytes: number
  readonly walBytes: number
}

/** Memory of flushed memtables that is kept: as much as can be frozen while one is filled. */
const SPARE_MAX = 2

export class Flusher {
  readonly #host: BackgroundHost
  readonly #runner: JobRunner
  readonly #late: LateRecovery | undefined
  readonly #onFlushed: () => void
  #running = false
  #waiting: (() => void)[] = []
  #flushes = 0
  #bytesWritten = 0
  #userBytes = 0
  #walBytes = 0
  /** Why the last flush failed; undefined once one has succeeded. */
  #failure: Error | undefined
  readonly failures = new RepeatedFailure('writing a table')
  /** Memory of flushed memtables. */
  readonly #spare: MemtableMemory[] = []

  /** `late` is what remains to be done before anything else is. */
  constructor(
    host: BackgroundHost,
    runner: JobRunner,
    late: LateRecovery | undefined,
    onFlushed: () => void,
  ) {
    this.#host = host
    this.#runner = runner
    this.#late = late
    this.#onFlushed = onFlushed
  }

  get stats(): FlushStats {
    return {
      flushes: this.#flushes,
      bytesWritten: this.#bytesWritten,
      userBytes: this.#userBytes,
      walBytes: this.#walBytes,
    }
  }

  /** Bytes of memory that waits to be used again. */
  get spareBytes(): number {
    return this.#spare.reduce((sum, memory) => sum + memory.size, 0)
  }

  /** Memory with an arena of exactly `size` bytes, used before or new. */
  takeMemory(size: number): MemtableMemory {
    const index = this.#spare.findIndex(({ arena }) => arena.byteLength === size)
    return index < 0 ? new MemtableMemory(size) : this.#spare.splice(index, 1)[0]!
  }

  /** Flushes what is frozen, if it is not being done already. */
  schedule(): void {
    const { frozen, isRecovered } = this.#host.state
    if (this.#running || (frozen.length === 0 && isRecovered)) return
    this.#running = true
    this.#runner.supervise('flush', () => this.#flushAll())
  }

  /** Resolves after the next flush. Rejects when none will come. */
  async waitForFlush(): Promise<void> {
    const { state } = this.#host
    if (state.failure !== undefined) throw state.failure
    if (this.#runner.stopped) throw new ClosedError('the database is closed')
    this.schedule()
    await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /**
   * Resolves once nothing of what is frozen now is left. Rejects when a flush fails, though it will
   * be tried again, or when none will come.
   */
  async drain(): Promise<void> {
    const { state } = this.#host
    const awaited = state.frozen
    while (state.frozen.some(memtable => awaited.includes(memtable))) {
      await this.waitForFlush()
      if (this.#failure !== undefined) throw this.#failure
    }
  }

  /** What remained of recovery is done, whoever did it: nothing of why it failed holds any more. */
  recovered(): void {
    this.#succeeded()
    this.#runner.retryNow('flush')
  }

  /** Called when no flush will come any more. */
  wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #flushAll(): Promise<void> {
    await this.#recover()
    for (;;) {
      const oldest = this.#host.state.frozen.at(-1)
      if (oldest === undefined) break
      const { events, clock } = this.#host
      const startMs = clock.monotonicMs()
      const { entryCount: entries, dataSize: bytesIn } = oldest
      const end = (bytesOut: number, error: Error | undefined) => {
        if (!events.active) return
        const durationMs = clock.monotonicMs() - startMs
        events.emit({ type: 'flushEnd', entries, bytesIn, bytesOut, durationMs, error })
      }
      if (events.active) events.emit({ type: 'flushBegin', entries, bytesIn })
      try {
        end(await this.#flush(oldest), undefined)
      } catch (error) {
        end(0, this.#failed(error))
        throw error
      }
    }
    this.#running = false
  }

  async #recover(): Promise<void> {
    try {
      await this.#late?.finish()
    } catch (error) {
      this.#failed(error)
      throw error
    }
  }

  #succeeded(): void {
    this.#failure = undefined
    this.failures.succeeded()
    this.#runner.succeeded('flush')
    this.wakeAll()
  }

  #failed(error: unknown): Error {
    this.#failure = toError(error)
    this.failures.failed(error)
    this.wakeAll()
    return this.#failure
  }

  /** Returns the bytes written. */
  async #flush(memtable: Memtable): Promise<number> {
    const { state, walSegments, options } = this.#host
    assert(memtable.frozen, 'only a frozen memtable is flushed')
    const { tables, bytesWritten } = await this.#runner.run(
      {
        kind: 'flush',
        arena: memtable.arena,
        order: memtable.order,
        largestKey: state.version.largestKey,
      },
      1,
    )
    const remaining = state.frozen.slice(0, -1)
    const logNumber = (remaining.at(-1) ?? state.memtable).walNumber
    const added = tables.map(table => ({ level: 0, table }))
    const edit = { logNumber, added, wallMsMax: this.#runner.wallMs }
    state.version = await this.#runner.install(edit)
    state.frozen = state.frozen.slice(0, -1)
    walSegments.retire(memtable.walNumber)
    const { memory } = memtable
    const isUsual = memory.arena.byteLength === options.memtableSize
    if (isUsual && !memory.isHeld && this.#spare.length < SPARE_MAX) this.#spare.push(memory)
    this.#flushes++
    this.#bytesWritten += bytesWritten
    this.#userBytes += memtable.dataSize
    this.#walBytes += memtable.walSize
    this.#succeeded()
    this.#onFlushed()
    return bytesWritten
  }
}
