// Goal: a cluster keeps its promises while everything around it fails: no acknowledged write is
// lost, no deleted key returns, strong reads do not go back, and once all is well again the
// replicas are equal within a minute.
// Method: whole clusters and their clients in simulated time, seed after seed for some seconds; the
// long form is `npm run test:sim`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printSeed } from '../support/seed.ts'
import { simulate } from '../support/simulation/simulation.ts'

const BUDGET_MS = 15_000
const SEEDS_MAX = 60
const USUAL_SEED = 1

test('clusters survive what a seed brings', async t => {
  const first = printSeed(t, USUAL_SEED)
  const endMs = performance.now() + BUDGET_MS
  let count = 0
  for (; count < SEEDS_MAX && performance.now() < endMs; count++) {
    const { violations, nodes } = await simulate({ seed: first + count })
    const again = `npm run test:sim -- --seeds 1 --from ${first + count} --nodes ${nodes} --trace`
    assert.deepEqual(violations, [], again)
  }
  t.diagnostic(`${count} seeds`)
})
