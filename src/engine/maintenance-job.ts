/**
 * Work that takes long and is nobody's hurry: checkpoints, checks, repair. Unlike the jobs of
 * job.ts it reads and writes outside of the tree's own business, with synchronous file calls, on a
 * thread that is started for it, so that neither the event loop nor a flush ever waits for it.
 *
 * Jobs and results are plain data, so that they cross to the thread and back.
 */
import { AbortedError } from '../errors.ts'
import type { BackupJob, BackupResult } from './backup-job.ts'
import type { CheckpointJob, CheckpointResult } from './checkpoint-job.ts'
import type { RepairJob, RepairReport } from './repair-job.ts'
import type { RestoreJob, RestoreResult } from './restore-job.ts'
import type { VerifyJob, VerifyReport } from './verify-job.ts'

/** By name: what a job takes and gives. */
export interface MaintenanceJobs {
  readonly checkpoint: { readonly job: CheckpointJob; readonly result: CheckpointResult }
  readonly verify: { readonly job: VerifyJob; readonly result: VerifyReport }
  readonly backup: { readonly job: BackupJob; readonly result: BackupResult }
  readonly restore: { readonly job: RestoreJob; readonly result: RestoreResult }
  readonly repair: { readonly job: RepairJob; readonly result: RepairReport }
}

export type MaintenanceKind = keyof MaintenanceJobs

/** Memory shared with the thread that runs the job. */
export interface JobControl {
  /** Word 0 becomes non-zero when the job should stop early. */
  readonly cancel: Int32Array
  /** Bytes done, and bytes in all. Read while they change: to be shown, not to be relied on. */
  readonly progress: Float64Array
}

/** A thread for long work. Its jobs run one after another. */
export interface MaintenanceThread {
  /** Rejects with the job's own error, or with AbortedError after `cancel`. */
  run<Kind extends MaintenanceKind>(
    kind: Kind,
    job: MaintenanceJobs[Kind]['job'],
  ): Promise<MaintenanceJobs[Kind]['result']>
  /** Ends the thread, also in the middle of a job. Idempotent. */
  close(): Promise<void>
}

export function createJobControl(): JobControl {
  return {
    cancel: new Int32Array(new SharedArrayBuffer(4)),
    progress: new Float64Array(new SharedArrayBuffer(16)),
  }
}

/** Throws AbortedError once the job was cancelled. */
export function throwIfCancelled({ cancel }: JobControl): void {
  if (Atomics.load(cancel, 0) !== 0) throw new AbortedError('the job was cancelled')
}

/** Says how many bytes there are to be done. */
export function beginProgress({ progress }: JobControl, totalBytes: number): void {
  progress[0] = 0
  progress[1] = totalBytes
}

/** Says that so many bytes more are done. */
export function addProgress({ progress }: JobControl, bytes: number): void {
  progress[0] = progress[0]! + bytes
}
