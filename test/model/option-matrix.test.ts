// Goal: options change how fast a database is and what it costs, never what it answers.
// Method: one random script a seed (test/support/matrix-script.ts), the same for two dozen option
// sets from tiny to ordinary, on simulated and real disks, with and without threads; every answer
// is compared with a sorted map's. DURAMEN_MATRIX=<n> runs so many seeds, DURAMEN_SEED=<n> replays.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InlineExecutor, type Job } from '../../src/engine/index.ts'
import { matrixScript } from '../support/matrix-script.ts'
import { MatrixError, OPTION_SETS, runOptionSet } from '../support/option-matrix.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const SEED_COUNT = Number(process.env['DURAMEN_MATRIX'] ?? 1)
const STEPS = 220

/** A planted bug: compactions believe that no snapshot is held. */
class ForgetfulExecutor extends InlineExecutor {
  override run(job: Job) {
    return super.run({ ...job, snapshots: new Float64Array(0) })
  }
}

describe('the same operations', () => {
  for (const set of OPTION_SETS) {
    test(`get the same answers with ${set.name}`, async t => {
      const first = printSeed(t)
      let [flushes, compactions] = [0, 0]
      for (let seed = first; seed < first + SEED_COUNT; seed++) {
        const script = matrixScript(seed, STEPS)
        const done = await runOptionSet(set, script, temporaryDirectory(t)).catch(error => {
          t.diagnostic(`replay with DURAMEN_SEED=${seed}`)
          throw error
        })
        flushes += done.flushes
        compactions += done.compactions
      }
      t.diagnostic(`${flushes} flushes, ${compactions} compactions`)
    })
  }

  test('are asked of at least 16 option sets', () => {
    assert.ok(OPTION_SETS.length >= 16)
  })

  test('get other answers from an engine that forgets snapshots, and that is noticed', async t => {
    const set = OPTION_SETS[0]!
    await assert.rejects(async () => {
      for (let seed = 1; seed < 10; seed++) {
        const script = matrixScript(seed, STEPS)
        await runOptionSet(set, script, temporaryDirectory(t), ForgetfulExecutor)
      }
    }, MatrixError)
  })
})
