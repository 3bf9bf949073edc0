/**
 * Long work as its caller sees it: it can be aborted, tells how far it is, and has a thread of its
 * own if it needs one. For work on an open database (maintenance.ts) and on closed ones.
 */
import { checkFunction, checkObject, knownSignal } from '../arguments.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { AbortedError } from '../errors.ts'
import type { Executor } from './job.ts'
import { createJobControl, type JobControl, type MaintenanceThread } from './maintenance-job.ts'

/** Milliseconds between two calls of onProgress. */
const PROGRESS_INTERVAL_MS = 100

/** How far long work is. */
export interface Progress {
  /** At the end of work that succeeded: as many as `totalBytes`. */
  readonly doneBytes: number
  /** About as many as there are in all, and never 0: their quotient is a part from 0 to 1. */
  readonly totalBytes: number
}

export interface MaintenanceOptions {
  /** Ends the work early; what it made so far is removed. */
  readonly signal?: AbortSignal
  /**
   * Called about ten times a second once it is known how much there is to do, and once when all is
   * done. What it throws ends the work, if that is not done by then, and the call rejects with it.
   */
  readonly onProgress?: (progress: Progress) => void
}

/** One operation under way. */
export interface Operation {
  readonly signal: AbortSignal
  readonly control: JobControl
  /** Starts it at the first call. */
  readonly thread: () => MaintenanceThread
}

export interface OperationHost {
  readonly executor: Pick<Executor, 'startMaintenance'>
  readonly clock: Clock
  /** Ends the work with its reason. */
  readonly closing: AbortSignal
}

/** Runs `work`, and resolves or rejects as it does once its thread has ended. */
export async function operate<Result>(
  { executor, clock, closing }: OperationHost,
  options: MaintenanceOptions,
  work: (operation: Operation) => Promise<Result>,
): Promise<Result> {
  const { onProgress } = checkObject(options, 'options')
  const wanted = knownSignal(options.signal)
  checkFunction(onProgress, 'onProgress')
  const control = createJobControl()
  const reports = new ProgressReports(clock, control, onProgress)
  const signals = [closing, reports.failed, ...(wanted === undefined ? [] : [wanted])]
  const signal = AbortSignal.any(signals)
  if (signal.aborted) throw abortError(closing, wanted)
  const stop = () => Atomics.store(control.cancel, 0, 1)
  signal.addEventListener('abort', stop)
  let started: MaintenanceThread | undefined
  const thread = () => {
    started ??= executor.startMaintenance()
    return started
  }
  reports.begin()
  try {
    const result = await work({ signal, control, thread })
    reports.finish()
    return result
  } catch (error) {
    if (reports.failed.aborted) throw reports.failed.reason
    if (error instanceof AbortedError && signal.aborted) throw abortError(closing, wanted)
    throw error
  } finally {
    reports.end()
    signal.removeEventListener('abort', stop)
    await started?.close()
  }
}

/** Tells the caller how far the job is. What the callback throws is kept, and ends the job. */
class ProgressReports {
  readonly #clock: Clock
  readonly #control: JobControl
  readonly #onProgress: MaintenanceOptions['onProgress']
  readonly #failure = new AbortController()
  #cancel: CancelTimer | undefined

  constructor(
    clock: Clock,
    control: JobControl,
    onProgress: MaintenanceOptions['onProgress'] | undefined,
  ) {
    this.#clock = clock
    this.#control = control
    this.#onProgress = onProgress
  }

  /** Fires with what the callback threw. */
  get failed(): AbortSignal {
    return this.#failure.signal
  }

  /** Tells it from now on, until end(). */
  begin(): void {
    if (this.#onProgress === undefined) return
    this.#cancel = this.#clock.setTimer(PROGRESS_INTERVAL_MS, () => {
      const [doneBytes = 0, totalBytes = 0] = this.#control.progress
      if (totalBytes > 0) this.#tell(Math.min(doneBytes, totalBytes), totalBytes)
      if (!this.failed.aborted) this.begin()
    })
  }

  /** Tells that all is done. Throws what the callback throws. */
  finish(): void {
    const [doneBytes = 0, totalBytes = 0] = this.#control.progress
    const bytes = Math.max(1, doneBytes, totalBytes)
    if (!this.failed.aborted) this.#tell(bytes, bytes)
    this.failed.throwIfAborted()
  }

  end(): void {
    this.#cancel?.()
  }

  #tell(doneBytes: number, totalBytes: number): void {
    const fail = (error: unknown) => this.#failure.abort(error)
    try {
      // Callbacks may be async functions: what those throw comes later.
      const told: unknown = this.#onProgress?.({ doneBytes, totalBytes })
      if (told instanceof Promise) told.catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}

function abortError(closing: AbortSignal, signal: AbortSignal | undefined): Error {
  if (closing.aborted) return closing.reason
  return new AbortedError('the call was aborted by its signal', { cause: signal?.reason })
}

/** As the promise, unless the signal fires first; then nobody waits for it any more. */
export async function unlessAborted<Result>(
  signal: AbortSignal,
  promise: Promise<Result>,
): Promise<Result> {
  if (signal.aborted) {
    // It fired before: nobody waits for the promise.
    promise.catch(() => undefined)
    throw new AbortedError('the work was aborted')
  }
  let stop: () => void = () => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new AbortedError('the work was aborted'))
    signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
