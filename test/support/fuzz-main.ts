/**
 * The long form of test/net/fuzz.test.ts.
 *
 *   npm run test:fuzz -- [--frames 100000] [--seed random]
 */
import { parseArgs } from 'node:util'
import { systemRandom } from '../../src/random.ts'
import { fuzzServer } from './frame-fuzz.ts'

const FRAMES_DEFAULT = 100_000

const { values } = parseArgs({ options: { frames: { type: 'string' }, seed: { type: 'string' } } })

function integerOf(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`--${name} must be a whole number, got ${given}`)
}

const frames = integerOf('frames', values.frames, FRAMES_DEFAULT)
const seed = integerOf('seed', values.seed, systemRandom().below(2 ** 31))
process.stdout.write(`${frames} frames; replay with --seed ${seed}\n`)
const report = await fuzzServer(seed, frames)
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
