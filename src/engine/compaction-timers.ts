/**
 * When compactions are looked for though nothing was flushed: once the database has been idle for a
 * while, and when the entries of a table have expired. Without these an idle database would keep
 * what is dead until somebody writes.
 *
 * Invariants:
 *  1. At most one timer of each kind is set, and none after stop() until the next start.
 *  2. The timers are background ones: they keep no process alive.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { IDLE_SHARE_MAX } from './compaction-picker.ts'
import type { Version } from './version.ts'

/** Milliseconds without a flush or compaction after which work is done that only saves space. */
export const IDLE_AFTER_MS = 3000

export class CompactionTimers {
  readonly #clock: Clock
  readonly #onIdle: () => void
  readonly #onExpiry: () => void
  #cancelIdle: CancelTimer | undefined
  #cancelExpiry: CancelTimer | undefined
  /** What nextExpiryMs said last, and of which version. */
  #next: { readonly version: Version; readonly atMs: number | undefined } | undefined

  constructor(clock: Clock, onIdle: () => void, onExpiry: () => void) {
    this.#clock = clock
    this.#onIdle = onIdle
    this.#onExpiry = onExpiry
  }

  /** Waits for idleness, unless it is being waited for already. */
  waitForIdle(): void {
    this.#cancelIdle ??= this.#clock.setTimer(
      IDLE_AFTER_MS,
      () => {
        this.#cancelIdle = undefined
        this.#onIdle()
      },
      { background: true },
    )
  }

  /** Waits for the next table of the version to expire, if there is one. `wallMs` is now. */
  waitForExpiry(version: Version, wallMs: number): void {
    const atMs = this.#nextExpiryMs(version, wallMs)
    if (atMs === undefined) return
    this.#cancelExpiry ??= this.#clock.setTimer(
      atMs + 1 - wallMs,
      () => {
        this.#cancelExpiry = undefined
        this.#onExpiry()
      },
      { background: true },
    )
  }

  /**
   * Asked at the end of every scan, so the tables of a version are looked at once, and again when
   * one has expired: a look took 40 us with 1,000 of them. Until then the next one stays the next.
   */
  #nextExpiryMs(version: Version, wallMs: number): number | undefined {
    if (this.#next?.version !== version || (this.#next.atMs ?? wallMs) < wallMs) {
      this.#next = { version, atMs: nextExpiryMs(version, wallMs) }
    }
    return this.#next.atMs
  }

  stop(): void {
    this.#cancelIdle?.()
    this.#cancelIdle = undefined
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
  }
}

/** When the next table that is worth a rewrite then has expired: milliseconds, as `wallMs`. */
function nextExpiryMs(version: Version, wallMs: number): number | undefined {
  let next: number | undefined
  for (const { table } of version.tables()) {
    const { expiryMax, expiringCount, entryCount } = table
    if (expiryMax < wallMs || expiringCount <= IDLE_SHARE_MAX * entryCount) continue
    if (next === undefined || expiryMax < next) next = expiryMax
  }
  return next
}
