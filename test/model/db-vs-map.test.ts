// Goal: whatever is done to a database in whatever order, it answers as a sorted map would; under
// tiny and normal memory, at any durability, across flush, compaction, reopen and kill -9.
// Method: random operations from a printed seed against a map that keeps every state a snapshot
// needs; after each read the answers are compared. Options are drawn per seed too. 20 seeds in the
// usual run, DURAMEN_SEEDS=500 for more, DURAMEN_SEED=<n> to begin at a seed that failed.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DbModel, drawOptions } from '../support/db-model.ts'
import { printSeed } from '../support/seed.ts'

const SEED_COUNT = Number(process.env['DURAMEN_SEEDS'] ?? 20)
const STEPS = 250

describe('the database against a sorted map', () => {
  test(`${SEED_COUNT} random lives`, async t => {
    const first = printSeed(t)
    const totals = new Map<string, number>()
    for (let seed = first; seed < first + SEED_COUNT; seed++) {
      const model = new DbModel(seed)
      try {
        await model.run(STEPS)
      } catch (error) {
        t.diagnostic(`replay with DURAMEN_SEED=${seed} DURAMEN_SEEDS=1`)
        t.diagnostic(`options ${JSON.stringify(drawOptions(seed))}`)
        t.diagnostic(model.log.slice(-12).join('\n'))
        throw error
      }
      for (const [name, count] of model.counts) totals.set(name, (totals.get(name) ?? 0) + count)
    }
    t.diagnostic([...totals].map(([name, count]) => `${count} ${name}`).join(', '))
    if (SEED_COUNT < 20) return
    // The lives were worth living.
    for (const name of [
      'flushes',
      'compactions',
      'reopen',
      'kill',
      'snapshotRead',
      'expired',
      'logData',
      'jumpWall',
      'deleteRange',
    ]) {
      assert.ok((totals.get(name) ?? 0) > 0, `no ${name} happened`)
    }
  })
})
