// Goal: a power loss on a disk that is full, was full a moment ago or has just got room again costs
// nothing that was acknowledged as synced, and a full disk poisons nothing.
// Method: as power-loss.test.ts, with a disk that takes no more bytes now and then, half of the
// first write that does not fit excepted.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CRASHES, describeSweep, sweepPowerLoss } from '../support/power-loss-sweep.ts'
import { printSeed } from '../support/seed.ts'

test('power loss at every call of a life whose disk is full now and then', async t => {
  const result = await sweepPowerLoss({
    seed: printSeed(t),
    operationCount: 120,
    crashes: CRASHES,
    doubleCrashEvery: 150,
    fillsDisk: true,
  })
  const { errors } = result.script
  t.diagnostic(`${describeSweep(result)}; refused: ${JSON.stringify([...errors])}`)
  const others = [...errors.keys()].filter(code => code !== 'KV_IO')
  assert.deepEqual(others, [], 'writes are refused, and nothing is poisoned')
})
