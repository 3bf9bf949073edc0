/**
 * `npm run test:model`: random lives of a database beside a sorted map (db-model.ts), as many as
 * one likes.
 *
 *   npm run test:model -- --seeds 2000
 *   npm run test:model -- --duration 10m
 *   npm run test:model -- --seed 12345 --seeds 1       one that failed, again
 *
 * Fails when an answer is wrong, and goes on to the other seeds all the same.
 */
import { parseArgs } from 'node:util'
import { addCounts, liveModel, showCounts } from './model-lives.ts'
import { printLine, seedRun, seedRunHelp, seedRunOptions } from './seed-run.ts'

async function main(): Promise<void> {
  const { values } = parseArgs({ options: seedRunOptions })
  if (values.help) return printLine(seedRunHelp('test:model'))
  const totals = new Map<string, number>()
  await seedRun(values, async seed => addCounts(totals, await liveModel(seed)))
  printLine(showCounts(totals))
}

await main()
