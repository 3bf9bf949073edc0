// Goal: a seed that failed once fails again: the same seed is the same life, to the last byte.
// Method: the hash of everything that happened, of one seed twice, and of another.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printSeed } from '../support/seed.ts'
import { simulate } from '../support/simulation/simulation.ts'

test('one seed is one life', async t => {
  const seed = printSeed(t)
  const options = { seed, seconds: 30 }
  const once = await simulate(options)
  const again = await simulate(options)
  assert.deepEqual(again, once)
  const other = await simulate({ seed: seed + 1, seconds: 30 })
  assert.notEqual(other.traceHash, once.traceHash)
})
