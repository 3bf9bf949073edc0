/**
 * Runs jobs as InlineExecutor does, but some of them so late that writes are acknowledged, and the
 * log is continued, before a flush has synced the directory for its own purpose.
 *
 * It waits in steps of time that are too short for anything else: simulated time runs while
 * somebody waits (engine-on-disk.ts), and must not run to a timer that is a day away.
 */
import { type Clock, delay } from '../../src/clock.ts'
import { InlineExecutor } from '../../src/engine/index.ts'
import type { Job, JobResult } from '../../src/engine/job.ts'
import type { JobEnvironment } from '../../src/engine/run-job.ts'
import type { Random } from '../../src/random.ts'

const STEP_MS = 0.001
/** The longest wait, in steps: more than it takes to fill a memtable of the tests. */
const STEPS_MAX = 150

/** A class of executors that draw from `random`. */
export function lateExecutor(random: Random): typeof InlineExecutor {
  return class LateExecutor extends InlineExecutor {
    readonly #clock: Clock

    constructor(environment: JobEnvironment) {
      super(environment)
      this.#clock = environment.clock
    }

    override async run(job: Job): Promise<JobResult> {
      const steps = random.below(3) > 0 ? 0 : random.below(STEPS_MAX)
      for (let step = 0; step < steps; step++) await delay(this.#clock, STEP_MS)
      return super.run(job)
    }
  }
}
