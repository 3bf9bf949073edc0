/**
 * Simulations in which nothing heals what writes and hints left undone: no anti-entropy, no purge,
 * and no read repair, as all is read and written at `one`. What they leave undone is seen.
 */
import { seededRandom } from '../../../src/random.ts'
import { withoutRepair } from './plants.ts'
import type { SimulationOptions } from './simulation.ts'
import { drawWorkload } from './workload.ts'

/** So many that what is lost is not written again. */
const KEYS = 200

/** The same, from its seed, without repair. */
export function unrepaired(options: SimulationOptions): SimulationOptions {
  const drawn = drawWorkload(seededRandom(options.seed), (options.callPercent ?? 100) / 100)
  const workload = { ...drawn, quorums: 0, alls: 0, scans: 0, keys: KEYS }
  return { ...options, plant: withoutRepair, workload, forming: 'formed', mayDiffer: true }
}
