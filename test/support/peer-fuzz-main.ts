/**
 * The long form of test/cluster/peer-fuzz.test.ts.
 *
 *   npm run test:peers -- [--seeds 100] [--seed random] [--duration 10m]
 */
import { parseArgs } from 'node:util'
import { fuzzPeers } from './peer-fuzz.ts'
import { printLine, seedRun, seedRunHelp, seedRunOptions } from './seed-run.ts'

const CONVERSATIONS = 300

const { values } = parseArgs({ options: seedRunOptions })
if (values.help) printLine(seedRunHelp('test:peers'))
else {
  await seedRun(values, async seed => {
    await fuzzPeers(seed, CONVERSATIONS)
  })
}
