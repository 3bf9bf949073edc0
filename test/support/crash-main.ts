/**
 * `npm run test:crash`: simulated power loss (power-loss-sweep.ts).
 *
 *   npm run test:crash                              at every call of a script of 300 operations
 *   npm run test:crash -- --seeds 10000             at some calls of so many shorter scripts
 *   npm run test:crash -- --seeds 50 --whole        at every call of 300 operations, of each seed
 *   npm run test:crash -- --seed 12345 --seeds 1    one that failed, again
 *
 * Fails when a promise is broken, and goes on to the other seeds all the same.
 */
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/random.ts'
import { CRASHES, describeSweep, type SweepResult, sweepPowerLoss } from './power-loss-sweep.ts'
import { printLine, seedRun, seedRunHelp, seedRunOptions } from './seed-run.ts'

const OPERATION_COUNT = 300
const DOUBLE_CRASH_EVERY = 40
/** Of a short script: a handful of disks a seed, and in one of ten a second power loss. */
const SHORT_MIN = 10
const SHORT_SPREAD = 50
const CRASH_SHARE = 0.03
const DOUBLE_CRASH_SEEDS = 10
/** In one of four the disk is full now and then. */
const FULL_DISK_SEEDS = 4

function whole(seed: number): Promise<SweepResult> {
  return sweepPowerLoss({
    seed,
    operationCount: OPERATION_COUNT,
    crashes: CRASHES,
    doubleCrashEvery: DOUBLE_CRASH_EVERY,
  })
}

function short(seed: number): Promise<SweepResult> {
  return sweepPowerLoss({
    seed,
    operationCount: SHORT_MIN + seededRandom(seed).below(SHORT_SPREAD),
    crashes: CRASHES,
    crashShare: CRASH_SHARE,
    fillsDisk: seed % FULL_DISK_SEEDS === 0,
    doubleCrashEvery: seed % DOUBLE_CRASH_SEEDS === 0 ? DOUBLE_CRASH_EVERY : 0,
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { ...seedRunOptions, whole: { type: 'boolean', default: false } },
  })
  if (values.help) {
    printLine(seedRunHelp('test:crash'))
    printLine('  --whole              at every call of 300 operations, instead of at some')
    return
  }
  if (values.seeds === undefined && values.duration === undefined) {
    const seed = values.seed ?? '2'
    return await seedRun({ seed, seeds: '1' }, async one =>
      printLine(describeSweep(await whole(one))),
    )
  }
  const total = { calls: 0, losses: 0, recoveries: 0, doubleCrashes: 0 }
  await seedRun(values, async seed => {
    const found = await (values.whole ? whole(seed) : short(seed))
    const { calls, losses, recoveries, doubleCrashes } = found
    total.calls += calls
    total.losses += losses
    total.recoveries += recoveries
    total.doubleCrashes += doubleCrashes
  })
  const { calls, losses, recoveries, doubleCrashes } = total
  printLine(
    `${calls} calls, ${losses} power losses, ${recoveries} different disks recovered, ` +
      `${doubleCrashes} times cut short again`,
  )
}

await main()
