/**
 * The seed of a random test: a new one each run, so that over time the runs cover more, printed so
 * that a failure can be replayed, and set by DURAMEN_SEED to replay it.
 */
import { systemRandom } from '../../src/random.ts'

/** Where the seed is told: a test's context. */
export interface SeedPrinter {
  diagnostic(message: string): void
}

export function printSeed(printer: SeedPrinter): number {
  const given = process.env['DURAMEN_SEED']
  const seed = given === undefined ? systemRandom().below(2 ** 31) : Number(given)
  if (!Number.isSafeInteger(seed)) throw new Error(`DURAMEN_SEED must be an integer, got ${given}`)
  printer.diagnostic(`replay with DURAMEN_SEED=${seed}`)
  return seed
}
