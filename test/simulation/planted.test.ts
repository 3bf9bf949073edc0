// Goal: a cluster with a bug does not survive the simulation: of every bug that matters some seed
// among a few must break the promise that the bug breaks.
// Method: bugs planted in what a node is given. That the same seeds break nothing without them is
// seen by `npm run test:sim -- --controls`.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { optimizeRarely } from '../support/rare-optimization.ts'
import { find, PLANTED } from '../support/simulation/planted-bugs.ts'

optimizeRarely()

describe('planted bugs are found', () => {
  for (const planted of PLANTED) {
    test(planted.what, async t => {
      const { seed, violations } = await find(planted)
      t.diagnostic(`seed ${seed}: ${violations[0]}`)
      assert.notEqual(seed, undefined, violations.join('\n') || 'nothing was found')
    })
  }
})
