// Goal: whatever is done to a database in whatever order, it answers as a sorted map would; under
// tiny and normal memory, at any durability, across flush, compaction, reopen and kill -9.
// Method: random operations from a printed seed against a map that keeps every state a snapshot
// needs; after each read the answers are compared. Options are drawn per seed too. 20 seeds in the
// usual run; `npm run test:model -- --seeds 2000` for more, DURAMEN_SEED=<n> to begin at one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { addCounts, liveModel, MODEL_DEEDS, showCounts } from '../support/model-lives.ts'
import { printSeed } from '../support/seed.ts'

const SEED_COUNT = 20

describe('the database against a sorted map', () => {
  test(`${SEED_COUNT} random lives`, async t => {
    const first = printSeed(t)
    const totals = new Map<string, number>()
    for (let seed = first; seed < first + SEED_COUNT; seed++) {
      addCounts(totals, await liveModel(seed))
    }
    t.diagnostic(showCounts(totals))
    // The lives were worth living.
    for (const name of MODEL_DEEDS) assert.ok((totals.get(name) ?? 0) > 0, `no ${name} happened`)
  })
})
