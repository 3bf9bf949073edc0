/** Executes a background job on the current thread, whichever that is. */
import type { Clock } from '../clock.ts'
import type { Hasher } from '../hash.ts'
import type { BufferPool } from './buffer-pool.ts'
import { runCompactionJob } from './compaction.ts'
import type { FileSystem } from './file-system.ts'
import { runFlushJob } from './flush-job.ts'
import type { Job, JobResult } from './job.ts'

export interface JobEnvironment {
  readonly fileSystem: FileSystem
  readonly hasher: Hasher
  readonly clock: Clock
  /** Buffers that one job after another uses. @defaultValue each makes its own */
  readonly buffers?: BufferPool | undefined
}

/** Throws the job's error; AbortedError when the job was cancelled. */
export function runJob(job: Job, environment: JobEnvironment): JobResult {
  switch (job.kind) {
    case 'flush':
      return runFlushJob(job, environment)
    case 'compaction':
      return runCompactionJob(job, environment)
  }
}
