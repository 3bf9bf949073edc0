/**
 * A process that simulates the seeds it is sent, one after another, and answers each with what came
 * of it. Started by simulation-main.ts.
 */
import { type SimulationOptions, simulate } from './simulation/simulation.ts'

process.on('message', (message: unknown) => {
  simulate(message as SimulationOptions).then(
    result => process.send?.(result),
    error => {
      throw error
    },
  )
})
