// Goal: a cluster keeps its promises while everything around it fails: no acknowledged write is
// lost, no deleted key returns, strong reads do not go back, and once all is well again the
// replicas are equal within a minute.
// Method: 100 whole clusters and their clients in simulated time, a minute of faults each; the long
// form, with more calls, is `npm run test:sim`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { optimizeRarely } from '../support/rare-optimization.ts'
import { printSeed } from '../support/seed.ts'
import { simulate } from '../support/simulation/simulation.ts'
import { unrepaired } from '../support/simulation/without-repair.ts'

const SEEDS = 100
/** A quarter of the calls of the long form, which take most of the time of a seed. */
const CALL_PERCENT = 25
const USUAL_SEED = 1
/** Of those in which nothing heals what writes and hints left undone. */
const SEEDS_WITHOUT_REPAIR = 2

optimizeRarely()

test('clusters survive what a seed brings', async t => {
  const first = printSeed(t, USUAL_SEED)
  for (let seed = first; seed < first + SEEDS; seed++) {
    const { violations, nodes } = await simulate({ seed, callPercent: CALL_PERCENT })
    const which = `--seeds 1 --from ${seed} --nodes ${nodes}`
    const again = `npm run test:sim -- ${which} --calls ${CALL_PERCENT} --trace`
    assert.deepEqual(violations, [], again)
  }
})

test('acknowledged writes reach all their owners without any repair', async t => {
  const first = printSeed(t, USUAL_SEED)
  for (let seed = first; seed < first + SEEDS_WITHOUT_REPAIR; seed++) {
    const { violations, nodes } = await simulate(unrepaired({ seed, seconds: 12 }))
    const again = `--seeds 1 --from ${seed} --nodes ${nodes} --seconds 12 --without-repair --trace`
    assert.deepEqual(violations, [], `npm run test:sim -- ${again}`)
  }
})
