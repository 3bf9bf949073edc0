/**
 * Long work as its caller sees it: it can be aborted, tells how far it is, and has a thread of its
 * own if it needs one. For work on an open database (maintenance.ts) and on closed ones.
 */
import type { Clock } from '../clock.ts'
import { AbortedError } from '../errors.ts'
import type { Executor } from './job.ts'
import { createJobControl, type JobControl, type MaintenanceThread } from './maintenance-job.ts'

/** Milliseconds between two calls of onProgress. */
const PROGRESS_INTERVAL_MS = 100

/** How far long work is. */
export interface Progress {
  readonly doneBytes: number
  readonly totalBytes: number
}

export interface MaintenanceOptions {
  /** Ends the work early; what it made so far is removed. */
  readonly signal?: AbortSignal
  /** Called about ten times a second, and once at the end. */
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
  const signal = options.signal === undefined ? closing : AbortSignal.any([closing, options.signal])
  if (signal.aborted) throw abortError(closing, options.signal)
  const control = createJobControl()
  const stop = () => Atomics.store(control.cancel, 0, 1)
  signal.addEventListener('abort', stop)
  let started: MaintenanceThread | undefined
  const thread = () => {
    started ??= executor.startMaintenance()
    return started
  }
  const endReports = report(clock, control, options)
  try {
    return await work({ signal, control, thread })
  } catch (error) {
    if (error instanceof AbortedError && signal.aborted) throw abortError(closing, options.signal)
    throw error
  } finally {
    endReports()
    signal.removeEventListener('abort', stop)
    await started?.close()
  }
}

/** Tells the caller how far the job is until the returned function is called, and then again. */
function report(
  clock: Clock,
  { progress }: JobControl,
  { onProgress }: MaintenanceOptions,
): () => void {
  if (onProgress === undefined) return () => undefined
  const tell = () => onProgress({ doneBytes: progress[0]!, totalBytes: progress[1]! })
  const schedule = () =>
    clock.setTimer(PROGRESS_INTERVAL_MS, () => {
      tell()
      cancel = schedule()
    })
  let cancel = schedule()
  return () => {
    cancel()
    tell()
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
