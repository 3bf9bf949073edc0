/** Executes a maintenance job on the current thread, whichever that is. */
import { runBackupJob } from './backup-job.ts'
import { runCheckpointJob } from './checkpoint-job.ts'
import { readColdPointerSync } from './cold-files.ts'
import type { ColdLocation } from './cold-location.ts'
import type { MaintenanceJobs, MaintenanceKind } from './maintenance-job.ts'
import { runRepairJob } from './repair-job.ts'
import { runRestoreJob } from './restore-job.ts'
import type { JobEnvironment } from './run-job.ts'
import { tieredFileSystem } from './tiered-file-system.ts'
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

interface TieredJob {
  readonly directory: string
  /** There when the caller has found out, also that there is none; else COLD says it. */
  readonly cold?: ColdLocation | undefined
}

/** With the tables of the second directory, if the database has one. */
function withColdTables(job: TieredJob, environment: JobEnvironment): JobEnvironment {
  const { fileSystem } = environment
  const { directory } = job
  const cold = 'cold' in job ? job.cold : readColdPointerSync(fileSystem, directory)
  return { ...environment, fileSystem: tieredFileSystem(fileSystem, directory, cold?.path) }
}

/** Rejects with the job's error; AbortedError when the job was cancelled. */
export async function runMaintenance<Kind extends MaintenanceKind>(
  kind: Kind,
  job: MaintenanceJobs[Kind]['job'],
  environment: JobEnvironment,
): Promise<MaintenanceJobs[Kind]['result']> {
  return await RUNNERS[kind](job, withColdTables(job, environment))
}
