/**
 * A process that simulates the seeds it is sent, one after another, and answers each with what came
 * of it. Started by simulation-main.ts.
 */
import { type SimulationOptions, simulate } from './simulation/simulation.ts'
import { unrepaired } from './simulation/without-repair.ts'

// Nodes meet errors all the time here, and a stack costs more than the rest of what they do about
// one. Who looks into a seed has the stacks: `--trace` does without this process.
Error.stackTraceLimit = 0

process.on('message', (message: unknown) => {
  const options = message as SimulationOptions
  simulate(options.mayDiffer === true ? unrepaired(options) : options).then(
    result => process.send?.(result),
    error => {
      throw error
    },
  )
})
