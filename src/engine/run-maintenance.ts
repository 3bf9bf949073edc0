/** Executes a maintenance job on the current thread, whichever that is. */
import { runBackupJob } from './backup-job.ts'
import { runCheckpointJob } from './checkpoint-job.ts'
import type { MaintenanceJobs, MaintenanceKind } from './maintenance-job.ts'
import { runRepairJob } from './repair-job.ts'
import { runRestoreJob } from './restore-job.ts'
import type { JobEnvironment } from './run-job.ts'
import { runVerifyJob } from './verify-job.ts'

type Runners = {
  readonly [Kind in MaintenanceKind]: (
    job: MaintenanceJobs[Kind]['job'],
    environment: JobEnvironment,
  ) => MaintenanceJobs[Kind]['result'] | Promise<MaintenanceJobs[Kind]['result']>
}

const RUNNERS: Runners = {
  checkpoint: runCheckpointJob,
  verify: runVerifyJob,
  repair: runRepairJob,
  backup: runBackupJob,
  restore: runRestoreJob,
}

/** Rejects with the job's error; AbortedError when the job was cancelled. */
export async function runMaintenance<Kind extends MaintenanceKind>(
  kind: Kind,
  job: MaintenanceJobs[Kind]['job'],
  environment: JobEnvironment,
): Promise<MaintenanceJobs[Kind]['result']> {
  return await RUNNERS[kind](job, environment)
}
