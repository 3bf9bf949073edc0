/**
 * What the main thread and a job worker send each other. Errors lose their class on the way
 * through structured cloning, so they travel as plain data and are rebuilt on arrival.
 */
import {
  AbortedError,
  ClosedError,
  CorruptionError,
  InvalidArgumentError,
  IoError,
  KvError,
  type KvErrorCode,
  LockedError,
  NotFoundError,
  OverloadedError,
  VersionMismatchError,
} from '../errors.ts'
import { systemErrorCode } from './file-system.ts'
import type { Job, JobResult } from './job.ts'
import type { MaintenanceJobs, MaintenanceKind } from './maintenance-job.ts'

/** What a thread is asked to do. */
export type JobTask =
  | { readonly type: 'job'; readonly job: Job }
  | {
      readonly type: 'maintenance'
      readonly kind: MaintenanceKind
      readonly job: MaintenanceJobs[MaintenanceKind]['job']
    }

/** What it gives: that of `job` is a JobResult, that of `maintenance` depends on the kind. */
export type TaskResult = JobResult | MaintenanceJobs[MaintenanceKind]['result']

export interface JobRequest {
  readonly id: number
  readonly task: JobTask
}

export type JobReply =
  | { readonly id: number; readonly result: TaskResult }
  | { readonly id: number; readonly failure: JobFailure }

type JobFailure =
  | {
      readonly type: 'corruption'
      readonly path: string
      readonly offset: number
      readonly expected: string | undefined
      readonly actual: string | undefined
      readonly what: string
    }
  | { readonly type: 'known'; readonly code: KvErrorCode; readonly message: string }
  | { readonly type: 'system'; readonly code: string; readonly message: string }
  | { readonly type: 'bug'; readonly message: string; readonly stack: string | undefined }

/** When a job that had no memory may be tried again. */
const RETRY_AFTER_MS = 1000

/** The errors that jobs end with, besides corruption. */
const KNOWN: Readonly<Partial<Record<KvErrorCode, (message: string) => KvError>>> = {
  KV_ABORTED: message => new AbortedError(message),
  KV_CLOSED: message => new ClosedError(message),
  KV_INVALID_ARGUMENT: message => new InvalidArgumentError(message),
  KV_IO: message => new IoError(message),
  KV_LOCKED: message => new LockedError(message),
  KV_OVERLOADED: message => new OverloadedError(message, RETRY_AFTER_MS),
  KV_NOT_FOUND: message => new NotFoundError(message),
  KV_VERSION_MISMATCH: message => new VersionMismatchError(message),
}

export function encodeFailure(error: unknown): JobFailure {
  if (error instanceof CorruptionError) {
    const { path, offset, expected, actual, what } = error
    return { type: 'corruption', path, offset, expected, actual, what }
  }
  if (error instanceof KvError) {
    return { type: 'known', code: error.code, message: error.message }
  }
  const message = error instanceof Error ? error.message : String(error)
  const code = systemErrorCode(error)
  if (code !== undefined) return { type: 'system', code, message }
  return { type: 'bug', message, stack: error instanceof Error ? error.stack : undefined }
}

export function decodeFailure(failure: JobFailure): Error {
  switch (failure.type) {
    case 'corruption':
      return new CorruptionError(failure, failure.what)
    case 'known':
      return KNOWN[failure.code]?.(failure.message) ?? new Error(failure.message)
    case 'system':
      // As the system gave it: whoever gives it to a caller says more (io-failure.ts).
      return Object.assign(new Error(failure.message), { code: failure.code })
    case 'bug':
      return Object.assign(new Error(failure.message), { stack: failure.stack })
  }
}
