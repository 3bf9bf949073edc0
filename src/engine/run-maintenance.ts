/** Executes a maintenance job on the current thread, whichever that is. */
import { runBackupJob } from './backup-job.ts'
import { runCheckpointJob } from './checkpoint-job.ts'
import { readColdPointerSync } from './cold-files.ts'
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

/** With the tables of the second directory, if the database has one. */
function withColdTables(directory: string, environment: JobEnvironment): JobEnvironment {
  const { fileSystem } = environment
  const cold = readColdPointerSync(fileSystem, directory)?.path
  return { ...environment, fileSystem: tieredFileSystem(fileSystem, directory, cold) }
}

/** Rejects with the job's error; AbortedError when the job was cancelled. */
export async function runMaintenance<Kind extends MaintenanceKind>(
  kind: Kind,
  job: MaintenanceJobs[Kind]['job'],
  environment: JobEnvironment,
): Promise<MaintenanceJobs[Kind]['result']> {
  return await RUNNERS[kind](job, withColdTables(job.directory, environment))
}
