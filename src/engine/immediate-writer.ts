/**
 * Writes of durability `interval` and `none` while no group commit is under way: encoded, applied
 * and acknowledged within the call, without a queue or a turn of the event loop.
 *
 * `interval` is given to the operating system before the call returns (one synchronous write to
 * the page cache, a few microseconds); `none` waits in memory until 64 KiB have gathered, the sync
 * interval has passed, or anything else is written. A timer syncs what was written.
 *
 * Invariants:
 *  1. Waiting operations are contiguous: whoever writes to the WAL calls flush() first.
 *  2. An `interval` entry becomes visible only after the operating system took it.
 *  3. The log has room reserved for all that waits. When it has none, the queue refuses the write.
 */
import type { CancelTimer } from '../clock.ts'
import type { Durability } from '../key-value-store.ts'
import { LoopTurns } from './loop-turns.ts'
import type { WalFrameBuilder } from './wal-frame.ts'
import { createWalFrameBuilder, insertEntries, type WriteQueueHost } from './write-group.ts'

/** Waiting operations are written out at this many bytes; larger ones go through the queue. */
const WAITING_SIZE_MAX = 64 * 1024
/** Larger batches go through the queue, which inserts them in slices: this many take 0.5 ms. */
const ENTRIES_MAX = 200

export class ImmediateWriter {
  readonly #host: WriteQueueHost
  /** Operations of durability `none`, visible already, not yet given to the operating system. */
  readonly #waiting: WalFrameBuilder
  #firstSequence = 0
  /** Ops that wait already when another write begins. */
  #opsBefore = 0
  #operationCount = 0
  #cancelTimer: CancelTimer | undefined
  #isBehind = false
  #sync: Promise<void> | undefined
  readonly #done = Promise.resolve()
  readonly #turns: LoopTurns

  constructor(host: WriteQueueHost) {
    this.#host = host
    this.#turns = new LoopTurns(host.clock)
    this.#waiting = createWalFrameBuilder(host.hasher)
  }

  /** Operations written so far. */
  get operationCount(): number {
    return this.#operationCount
  }

  /** Whether writes were acknowledged that no sync has covered yet. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** Whether so many entries and bytes can be written within the call, which then must be. */
  canWrite(entryCount: number, size: number): boolean {
    const { state } = this.#host
    return (
      size <= WAITING_SIZE_MAX &&
      entryCount <= ENTRIES_MAX &&
      state.failure === undefined &&
      this.#host.hasRoom(entryCount, size) &&
      // Also what waits already fits then, whenever it is written.
      this.#host.wal().tryReserveSync(this.#waiting.size + size) &&
      this.#host.admits(size)
    )
  }

  /** The frame to add the operations to, before finish(). Requires canWrite. */
  begin(): WalFrameBuilder {
    this.#opsBefore = this.#waiting.opCount
    if (this.#opsBefore === 0) this.#firstSequence = this.#host.state.lastSequence + 1
    return this.#waiting
  }

  /** Applies what was added since begin(). The promise has its answer, but for LoopTurns. */
  finish(durability: Durability): Promise<void> {
    const { state } = this.#host
    const firstSequence = state.lastSequence + 1
    state.lastSequence = this.#firstSequence + this.#waiting.entryCount - 1
    this.#operationCount += state.lastSequence - firstSequence + 1
    const written = durability === 'interval'
    if (written) {
      try {
        this.#append()
      } catch (error) {
        return Promise.reject(this.#host.fail('the WAL could not be written', error, 'unknown'))
      }
    }
    const { opCount } = this.#waiting
    insertEntries(this.#waiting, this.#opsBefore, opCount, firstSequence, state)
    state.visibleSequence = state.lastSequence
    if (written) this.#waiting.begin()
    else if (this.#waiting.size > WAITING_SIZE_MAX) this.flush()
    this.syncLater()
    this.#host.written()
    return this.#turns.count(state.lastSequence - firstSequence + 1) ?? this.#done
  }

  /** Gives the waiting operations to the operating system. Poisons the state when that fails. */
  flush(): void {
    if (this.#waiting.opCount === 0 || this.#host.state.failure !== undefined) return
    try {
      this.#append()
    } catch (error) {
      this.#host.fail('the WAL could not be written', error, 'unknown')
    }
    this.#waiting.begin()
  }

  #append(): void {
    this.#host.wal().appendSync(this.#waiting, this.#firstSequence)
  }

  /** Makes sure that what was written is synced within the interval. */
  syncLater(): void {
    this.#isBehind = true
    this.#cancelTimer ??= this.#host.clock.setTimer(
      this.#host.syncIntervalMs,
      () => {
        this.#cancelTimer = undefined
        this.#sync = this.syncNow()
      },
      { background: true },
    )
  }

  /** Writes out and syncs. Never rejects: a failure poisons the state. */
  async syncNow(): Promise<void> {
    this.flush()
    if (this.#host.state.failure !== undefined) return
    this.#isBehind = false
    try {
      await this.#host.wal().sync()
      this.#host.durable()
    } catch (error) {
      this.#isBehind = true
      this.#host.fail('the WAL could not be synced', error, 'unknown')
    }
  }

  /** Ends the timer and waits for a sync under way. Nothing may be written after it. */
  async close(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    await this.#sync
    this.flush()
  }
}
