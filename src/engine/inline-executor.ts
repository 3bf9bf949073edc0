/** Runs jobs on the calling thread, each in a later microtask: for tests and for the simulation. */
import { BufferPool } from './buffer-pool.ts'
import type { Executor, Job, JobResult } from './job.ts'
import type { MaintenanceThread } from './maintenance-job.ts'
import { type JobEnvironment, runJob } from './run-job.ts'
import { runMaintenance } from './run-maintenance.ts'

/** Bytes of buffers that lie unused at most: a merge of a few runs into small tables. */
const SPARE_BYTES_MAX = 2 * 1024 * 1024

export class InlineExecutor implements Executor {
  readonly #environment: JobEnvironment
  #last: Promise<unknown> = Promise.resolve()

  constructor(environment: JobEnvironment) {
    const { buffers = new BufferPool(SPARE_BYTES_MAX) } = environment
    this.#environment = { ...environment, buffers }
  }

  prepare(): void {
    // The calling thread is there already.
  }

  run(job: Job): Promise<JobResult> {
    return this.#later(() => runJob(job, this.#environment))
  }

  startMaintenance(): MaintenanceThread {
    return {
      run: (kind, job) => this.#later(() => runMaintenance(kind, job, this.#environment)),
      close: async () => {},
    }
  }

  async close(): Promise<void> {
    await this.#last
  }

  /** The next job waits for this one, whether it succeeded or not; the caller gets the error. */
  #later<Result>(run: () => Result | Promise<Result>): Promise<Result> {
    const result = this.#last.then(run)
    this.#last = result.then(ignore, ignore)
    return result
  }
}

function ignore(): void {}
