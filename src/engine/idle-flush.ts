/**
 * Flushes the memtable of a database that nobody writes to any more, where it keeps much space from
 * being given back: what it deletes and overwrites stays on disk until it is flushed, and so does
 * the log that holds it.
 *
 * Invariants:
 *  1. Nothing is flushed within IDLE_AFTER_MS of a write, so a trickle of writes makes no trickle
 *     of small tables.
 *  2. A timer is set only while something was written that has not been looked at.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { IDLE_SHARE_MAX, meanEntrySize } from './compaction-picker.ts'
import { IDLE_AFTER_MS } from './compaction-timers.ts'
import { LAST_LEVEL } from './level-shape.ts'
import type { Memtable } from './memtable.ts'
import { lastKeyBefore } from './range-fragment.ts'
import type { TreeState } from './tree-state.ts'
import type { Version } from './version.ts'

/** Less than this share of a full memtable is never worth a flush. */
const FILL_MIN = 1 / 16
/** Range tombstones that are looked at: with more it is flushed anyway. */
const RANGES_MAX = 256

export interface IdleFlushParts {
  readonly state: TreeState
  readonly clock: Clock
  readonly logger: Logger
  /** Bytes of a full memtable. */
  readonly memtableSize: number
  /** Freezes the memtable between two group commits, so that it is flushed. */
  readonly freeze: () => Promise<void>
}

export class IdleFlush {
  readonly #parts: IdleFlushParts
  #cancel: CancelTimer | undefined
  /** The last sequence when the timer was set. */
  #sequence = 0
  #closed = false

  constructor(parts: IdleFlushParts) {
    this.#parts = parts
  }

  /** Called after each write; cheap. */
  written(): void {
    if (this.#cancel === undefined && !this.#closed) this.#wait()
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
    this.#cancel = undefined
  }

  #wait(): void {
    const { clock, state } = this.#parts
    this.#sequence = state.lastSequence
    this.#cancel = clock.setTimer(IDLE_AFTER_MS, () => this.#look(), { background: true })
  }

  #look(): void {
    const { state, memtableSize, logger } = this.#parts
    this.#cancel = undefined
    if (state.lastSequence !== this.#sequence) {
      this.#wait()
      return
    }
    const bytes = reclaimableBytes(state.memtable, state.version)
    const isWorth = bytes > IDLE_SHARE_MAX * state.version.size && bytes >= FILL_MIN * memtableSize
    if (!isWorth || state.frozen.length > 0 || state.failure !== undefined) return
    this.#parts.freeze().catch(error => {
      // The database was closed or poisoned meanwhile: whoever did it knows.
      logger.warn('the memtable of an idle database could not be flushed', { error })
    })
  }
}

/** About how many bytes of log and tables go when the memtable is flushed and merged down. */
export function reclaimableBytes(memtable: Memtable, version: Version): number {
  const { tombstoneCount, dataSize, ranges } = memtable
  let bytes = dataSize + tombstoneCount * meanEntrySize(version.levels[LAST_LEVEL]!)
  if (ranges.length > RANGES_MAX) return Number.POSITIVE_INFINITY
  for (const { start, end } of ranges) {
    for (const level of version.levels.keys()) {
      for (const { size } of version.overlapping(level, start, lastKeyBefore(end))) bytes += size
    }
  }
  return bytes
}
