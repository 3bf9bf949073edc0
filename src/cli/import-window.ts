/**
 * The batches of an import that are on their way: several at once, so that neither the network nor
 * the disk is ever waited for alone.
 *
 * Where a key occurs twice in the input, the later record must win. Batches overtake each other:
 * the client itself sends a batch again that the server had no room for, and may use several
 * servers. So no two batches on their way share a key; a batch that would waits for the other one.
 * (Keys are told apart by a hash: that two of them collide costs a wait, never a record.)
 *
 * A batch that fails for a reason that may pass is sent again; puts may be repeated. One that the
 * server refuses is cut in halves until the refused records stand alone.
 *
 * Invariants:
 *  1. At most `countMax` batches are held, and no two of those on their way share a key.
 *  2. onAcknowledged is called once for each batch, in the order of the input: when it is called,
 *     every record up to the batch's mark is stored, or onRefused has resolved for it.
 *  3. Once a batch has failed for good nothing more is taken, and `push` and `drain` reject with
 *     the error of the first one that failed, as soon as nothing is on its way any more.
 *  4. Without any success nothing is on its way for longer than `patienceMs`, however long an
 *     attempt may take by itself.
 */
import { setMaxListeners } from 'node:events'
import { assert } from '../assert.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { AbortedError, KvError, OverloadedError, UnavailableError } from '../errors.ts'
import { xxh32 } from '../hash.ts'
import type { ImportBatch, ImportPut } from './import-batch.ts'
import { formatDuration } from './render.ts'

export interface ImportWindowOptions {
  /** Stores the records. `signal` fires when their answer is no longer waited for. */
  readonly send: (operations: readonly ImportPut[], signal: AbortSignal) => Promise<void>
  readonly countMax: number
  /**
   * How long the import goes without a success: from the last one on, or from when something was
   * sent again after a rest. Then it is given up, whatever is still on its way.
   */
  readonly patienceMs: number
  readonly clock: Clock
  /** Stops further attempts; those under way have STOP_GRACE_MS to be answered. */
  readonly signal: AbortSignal
  /** `refused` are the places in the batch of the records that are not stored. */
  readonly onAcknowledged: (batch: ImportBatch, refused: readonly number[]) => void
  /** The server refuses this record for what it is. Rejects to end the import. */
  readonly onRefused: (batch: ImportBatch, index: number, error: KvError) => Promise<void>
  /** Nothing is on its way any more, and everything was acknowledged. */
  readonly onIdle: () => void
  /** Nothing is on its way any more, because a batch failed for good. */
  readonly onFailed: () => void
  /** An attempt failed and another one follows. */
  readonly onRetry: (error: KvError) => void
  /** Told every second in which nothing came back. */
  readonly onSilence: () => void
  /** Why no server is there, when none is. */
  readonly whyAway: () => string | undefined
}

interface Slot {
  readonly batch: ImportBatch
  readonly keyHashes: readonly number[]
  readonly refused: number[]
  state: 'active' | 'done' | 'failed'
  error: unknown
}

/** What may pass: the server restarts, is overloaded, or a connection broke. */
const PASSING_CODES: readonly string[] = [
  'KV_UNAVAILABLE',
  'KV_TIMEOUT',
  'KV_OVERLOADED',
  'KV_CLOSED',
]
const PAUSE_MIN_MS = 50
const PAUSE_MAX_MS = 1000
/** How often the window looks whether the server is still there. */
const SILENCE_STEP_MS = 1000
/** After a stop, answers are waited for no longer than this. */
export const STOP_GRACE_MS = 3000

export class ImportWindow {
  readonly #options: ImportWindowOptions
  /** In the order of the input. The first is never done: it would have been acknowledged. */
  readonly #slots: Slot[] = []
  /** Hashes of the keys of active slots. */
  readonly #keyHashes = new Set<number>()
  #activeCount = 0
  /** Whoever waits in push or drain. */
  #wake: (() => void) | undefined
  /** Ends the pauses of slots that wait for another attempt. */
  readonly #pauses = new Set<() => void>()
  /** Fires when attempts under way are given up. */
  readonly #abandon = new AbortController()
  /** Why they are. */
  #abandonReason: unknown
  /** Runs while something is on its way. */
  #cancelWatch: CancelTimer | undefined
  /** The last success, or the end of the last rest. */
  #aliveMs = 0
  /** Of those since then. */
  #lastFailure: KvError | undefined
  #cancelGrace: CancelTimer | undefined

  constructor(options: ImportWindowOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => this.#stop(), { once: true })
    // Each batch on its way listens; more than ten would seem a leak.
    setMaxListeners(options.countMax, this.#abandon.signal)
  }

  /** True when everything that was pushed is acknowledged. */
  get isIdle(): boolean {
    return this.#slots.length === 0
  }

  /** Sends the batch, as soon as there is room. Rejects after a stop or a failure for good. */
  async push(batch: ImportBatch): Promise<void> {
    const keyHashes = hashKeys(batch)
    for (;;) {
      this.#throwFailure()
      if (this.#options.signal.aborted) throw stopped(undefined)
      const hasRoom = this.#slots.length < this.#options.countMax
      if (hasRoom && !this.#hasFailed && !this.#holdsAny(keyHashes)) break
      await this.#change()
    }
    this.#add(batch, keyHashes)
  }

  /** Sends the batch at once. Requires that nothing is on its way. */
  pushIdle(batch: ImportBatch): void {
    assert(this.isIdle, 'nothing is on its way')
    this.#add(batch, hashKeys(batch))
  }

  /** Resolves when everything is acknowledged. Rejects when a batch failed for good. */
  async drain(): Promise<void> {
    for (;;) {
      this.#throwFailure()
      if (this.isIdle) return
      await this.#change()
    }
  }

  get #hasFailed(): boolean {
    return this.#slots.some(slot => slot.state === 'failed')
  }

  #throwFailure(): void {
    if (this.#activeCount > 0) return
    const failed = this.#slots.find(slot => slot.state === 'failed')
    if (failed !== undefined) throw failed.error
  }

  #holdsAny(keyHashes: readonly number[]): boolean {
    return keyHashes.some(hash => this.#keyHashes.has(hash))
  }

  /** Resolves when a batch is done or has failed. */
  #change(): Promise<void> {
    assert(this.#wake === undefined, 'one at a time waits')
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }

  #add(batch: ImportBatch, keyHashes: readonly number[]): void {
    const slot: Slot = { batch, keyHashes, refused: [], state: 'active', error: undefined }
    this.#slots.push(slot)
    if (this.#activeCount++ === 0) this.#beginWatch()
    for (const hash of keyHashes) this.#keyHashes.add(hash)
    this.#store(slot, 0, batch.operations.length).then(
      () => this.#settled(slot, 'done', undefined),
      (error: unknown) => this.#settled(slot, 'failed', error),
    )
  }

  #settled(slot: Slot, state: 'done' | 'failed', error: unknown): void {
    slot.state = state
    slot.error = error
    this.#activeCount--
    for (const hash of slot.keyHashes) this.#keyHashes.delete(hash)
    while (this.#slots[0]?.state === 'done') {
      const { batch, refused } = this.#slots.shift()!
      this.#options.onAcknowledged(batch, refused)
    }
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
    if (this.#activeCount > 0) return
    this.#cancelGrace?.()
    this.#cancelWatch?.()
    if (this.isIdle) this.#options.onIdle()
    else this.#options.onFailed()
  }

  /** Stores the records [from, to) of a batch; those that the server refuses are sifted out. */
  async #store(slot: Slot, from: number, to: number): Promise<void> {
    const { operations } = slot.batch
    const whole = to - from === operations.length
    const refusal = await this.#sendPatiently(slot, whole ? operations : operations.slice(from, to))
    if (refusal === undefined) return
    if (to - from === 1) {
      await this.#options.onRefused(slot.batch, from, refusal)
      slot.refused.push(from)
      return
    }
    const middle = from + Math.floor((to - from) / 2)
    await this.#store(slot, from, middle)
    await this.#store(slot, middle, to)
  }

  /** Resolves when stored, or with the refusal of what is in it. Rejects when it is given up. */
  async #sendPatiently(slot: Slot, operations: readonly ImportPut[]): Promise<KvError | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#options.send(operations, this.#abandon.signal)
        this.#alive()
        return undefined
      } catch (error) {
        if (isRefusal(error)) {
          this.#alive()
          return error
        }
        await this.#pause(slot, error, attempt)
      }
    }
  }

  /** Waits before another attempt. Rejects when there should be none. */
  async #pause(slot: Slot, error: unknown, attempt: number): Promise<void> {
    if (this.#abandonReason !== undefined) throw this.#abandonReason
    if (!(error instanceof KvError) || !PASSING_CODES.includes(error.code)) throw error
    if (this.#isPointless(slot)) throw stopped(error)
    this.#lastFailure = error
    this.#options.onRetry(error)
    const doubled = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(10, attempt - 1))
    await this.#sleep(Math.max(error instanceof OverloadedError ? error.retryAfterMs : 0, doubled))
    if (this.#abandonReason !== undefined) throw this.#abandonReason
    if (this.#isPointless(slot)) throw stopped(error)
  }

  /** True when the import ends before this batch. */
  #isPointless(slot: Slot): boolean {
    if (this.#options.signal.aborted) return true
    const first = this.#slots.find(({ state }) => state === 'failed')
    return first !== undefined && this.#slots.indexOf(first) < this.#slots.indexOf(slot)
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        cancel()
        this.#pauses.delete(wake)
        resolve()
      }
      const cancel = this.#options.clock.setTimer(delayMs, wake)
      this.#pauses.add(wake)
    })
  }

  #wakeAll(): void {
    for (const wake of this.#pauses) wake()
  }

  /** The server does what it is asked to: patience is as long as ever. */
  #alive(): void {
    this.#aliveMs = this.#options.clock.monotonicMs()
    this.#lastFailure = undefined
  }

  #beginWatch(): void {
    this.#alive()
    this.#cancelWatch?.()
    this.#watchFor(Math.min(SILENCE_STEP_MS, this.#options.patienceMs))
  }

  #watchFor(delayMs: number): void {
    const { clock, patienceMs, onSilence } = this.#options
    this.#cancelWatch = clock.setTimer(delayMs, () => {
      const silentMs = clock.monotonicMs() - this.#aliveMs
      if (silentMs >= patienceMs) {
        this.#giveUp(this.#impatience())
        return
      }
      if (silentMs >= SILENCE_STEP_MS) onSilence()
      this.#watchFor(Math.min(SILENCE_STEP_MS, patienceMs - silentMs))
    })
  }

  /** Why nothing more is tried. A server that only says that it has too much to do is there. */
  #impatience(): KvError {
    const failure = this.#lastFailure
    if (failure instanceof OverloadedError || failure instanceof UnavailableError) return failure
    const why = this.#options.whyAway() ?? failure?.message
    const time = formatDuration(this.#options.patienceMs)
    const message = `no answer for ${time}${why === undefined ? '' : `: ${why}`}`
    return new UnavailableError(message, { cause: failure, outcome: 'unknown' })
  }

  #stop(): void {
    if (this.#activeCount === 0) return
    const { clock } = this.#options
    this.#cancelGrace = clock.setTimer(STOP_GRACE_MS, () => this.#giveUp(stopped(undefined)))
    this.#wakeAll()
  }

  /** Ends all attempts, those under way included. */
  #giveUp(reason: unknown): void {
    this.#abandonReason ??= reason
    this.#abandon.abort(reason)
    this.#wakeAll()
  }
}

function hashKeys(batch: ImportBatch): number[] {
  return batch.operations.map(({ key }) => xxh32(key, 0, key.length, 0))
}

function stopped(cause: unknown): AbortedError {
  return new AbortedError('the import stops here', { cause })
}

function isRefusal(error: unknown): error is KvError {
  return error instanceof KvError && error.code === 'KV_INVALID_ARGUMENT'
}
