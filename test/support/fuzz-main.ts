/**
 * The long form of test/net/fuzz.test.ts, over the handler that `kvd` has.
 *
 *   npm run test:fuzz -- [--frames 100000] [--seed random] [--handler engine | memory]
 *   npm run test:fuzz -- --door resp | http [--frames 10000] [--seed random]     (conversations)
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemRandom } from '../../src/random.ts'
import { fuzzServer } from './frame-fuzz.ts'
import { engineTarget, memoryTarget } from './fuzz-target.ts'
import { fuzzHttp } from './http-fuzz.ts'
import { fuzzResp } from './resp-fuzz.ts'
import { newDirectory } from './temp-directory.ts'

const FRAMES_DEFAULT = 100_000
const CONVERSATIONS_DEFAULT = 10_000

const { values } = parseArgs({
  options: {
    frames: { type: 'string' },
    seed: { type: 'string' },
    handler: { type: 'string', default: 'engine' },
    door: { type: 'string', default: 'binary' },
  },
})

function integerOf(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`--${name} must be a whole number, got ${given}`)
}

if (values.handler !== 'engine' && values.handler !== 'memory') {
  throw new Error(`--handler is engine or memory, got ${values.handler}`)
}
const FUZZERS = new Map<string, typeof fuzzServer | typeof fuzzResp | typeof fuzzHttp>([
  ['binary', fuzzServer],
  ['resp', fuzzResp],
  ['http', fuzzHttp],
])
const fuzz = FUZZERS.get(values.door)
if (fuzz === undefined) {
  throw new Error(`--door is ${[...FUZZERS.keys()].join(', ')}, got ${values.door}`)
}
const standard = values.door === 'binary' ? FRAMES_DEFAULT : CONVERSATIONS_DEFAULT
const frames = integerOf('frames', values.frames, standard)
const seed = integerOf('seed', values.seed, systemRandom().below(2 ** 31))
process.stdout.write(`${frames} frames; replay with --seed ${seed} --handler ${values.handler}\n`)
const directory = newDirectory('fuzz')
try {
  const target =
    values.handler === 'engine' ? await engineTarget(join(directory, 'data')) : memoryTarget()
  const report = await fuzz(seed, frames, target)
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
