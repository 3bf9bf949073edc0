/**
 * Holds writers to the rate that is granted while flushes or compactions are behind
 * (write-pressure.ts), and counts what they wait.
 *
 * Invariant: whenever writers wait here, a compaction or a moment that will end the wait is running
 * or scheduled.
 */
import { assert } from '../assert.ts'
import { type CancelTimer, delay } from '../clock.ts'
import { ClosedError } from '../errors.ts'
import type { Compactor } from './compactor.ts'
import type { StallReason } from './db-event.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import type { RepeatedFailure } from './repeated-failure.ts'
import { type StallStats, Stalls } from './stalls.ts'
import type { Version } from './version.ts'
import { WritePacer } from './write-pacer.ts'
import { RATE_MAX, type WritePressure, writePressure } from './write-pressure.ts'

/** Milliseconds after which a writer who waits looks whether more is granted by now. */
const SLICE_MS = 50

const NO_PRESSURE: WritePressure = {
  rate: Number.POSITIVE_INFINITY,
  stop: false,
  reason: undefined,
}

export interface WriteThrottleParts {
  readonly host: BackgroundHost
  readonly compactor: Compactor
  readonly runner: JobRunner
}

export class WriteThrottle {
  readonly #parts: WriteThrottleParts
  readonly #stalls: Stalls
  readonly #pacer: WritePacer
  #pressureVersion: Version | undefined
  #pressureFrozen = 0
  #lastPressure = NO_PRESSURE
  #isClosing = false
  /** Of the look at whether the rate has come back. */
  #cancelLook: CancelTimer | undefined

  constructor(parts: WriteThrottleParts) {
    this.#parts = parts
    this.#stalls = new Stalls(parts.host.clock, parts.host.events)
    this.#pacer = new WritePacer(parts.host.clock, RATE_MAX)
  }

  get stats(): StallStats {
    this.#look()
    const { rate } = this.#pacer
    return { ...this.#stalls.stats, grantedRate: Number.isFinite(rate) ? rate : undefined }
  }

  /** Whether writers wait until a compaction has relieved the pressure. */
  get isStopped(): boolean {
    return this.#look().stop
  }

  /** Nobody is held to a rate any more, nor kept for work that fails. */
  beginClosing(): void {
    this.#isClosing = true
    this.#cancelLook?.()
  }

  /** Called after each flush and compaction: a stall may be over though nobody writes. */
  relieved(): void {
    this.#look()
    if (!this.#pacer.isLimited) this.#stalls.end()
    else if (this.#lastPressure.reason === undefined) this.#lookLater()
  }

  /** Whether so many bytes may be written without a wait; then they are counted. */
  admits(bytes: number): boolean {
    if (this.isStopped || this.#pacer.waitMs > 0) return false
    this.#pacer.charge(bytes)
    return true
  }

  /** Waits until so many bytes may be written, and counts them. */
  async holdBack(bytes: number): Promise<void> {
    if (!this.admits(bytes)) {
      const reason = this.#pacer.reason ?? this.#lastPressure.reason
      assert(reason !== undefined, 'nobody is held back without a reason')
      await this.#stalls.hold(reason, () => this.#waitForTurn())
      this.#pacer.charge(bytes)
    }
    this.relieved()
  }

  /** Counts what a group commit waits for another reason, also when that rejects. */
  async hold(reason: StallReason, wait: () => Promise<void>): Promise<void> {
    await this.#stalls.hold(reason, wait)
  }

  /** Throws when it makes no sense to wait for the work that `failures` belongs to. */
  checkUsable(failures: RepeatedFailure): void {
    const { host, runner } = this.#parts
    if (host.state.failure !== undefined) throw host.state.failure
    if (runner.stopped) throw new ClosedError('the database is closed')
    const refusal = failures.refusal(this.#isClosing)
    if (refusal !== undefined) throw refusal
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

  /** Returns when what was written before has been paid for, and writing is not stopped. */
  async #waitForTurn(): Promise<void> {
    const { host, compactor } = this.#parts
    for (;;) {
      const { stop } = this.#look()
      const { waitMs } = this.#pacer
      if (stop) {
        this.checkUsable(compactor.failures)
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
}
