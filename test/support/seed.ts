/**
 * The seed of a random test: a new one each run, so that over time the runs cover more, printed so
 * that a failure can be replayed, and set by DURAMEN_SEED to replay it.
 */
import { systemRandom } from '../../src/random.ts'

/** Where the seed is told: a test's context. */
export interface SeedPrinter {
  diagnostic(message: string): void
}

/**
 * `usual` is for what explores by a script of its own, and in the default suite shall not turn red
 * for somebody who changed nothing: the seed unless DURAMEN_SEED says another.
 */
export function printSeed(printer: SeedPrinter, usual?: number): number {
  const given = process.env['DURAMEN_SEED']
  const seed = given === undefined ? (usual ?? systemRandom().below(2 ** 31)) : Number(given)
  if (!Number.isSafeInteger(seed)) throw new Error(`DURAMEN_SEED must be an integer, got ${given}`)
  printer.diagnostic(`replay with DURAMEN_SEED=${seed}`)
  return seed
}
