// Goal: kill -9 costs nothing that was promised, and the loop that says so can fail.
// Method: real kills of a process with the engine in it and of a kvd that is loaded over TCP,
// judged by oracles in this process; then stores that cheat, each of which must be caught. A kill
// takes no page cache: that a skipped fsync is caught is shown by planted-bugs.test.ts.
// `npm run test:kill` kills for as long as one likes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import { InlineExecutor, nodeFileSystem, openInEnvironment } from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { OracleError } from '../support/crash-oracle.ts'
import { runEmbeddedKills } from '../support/embedded-kills.ts'
import type { EmbeddedPlant } from '../support/embedded-script.ts'
import { KillLoad, type LoadPlant } from '../support/kill-load.ts'
import { runKillLoop } from '../support/kill-loop.ts'
import { loadRecords } from '../support/kill-records.ts'
import { RecordOracle, ViolationError } from '../support/record-oracle.ts'
import { printSeed } from '../support/seed.ts'
import { checkStore } from '../support/store-check.ts'
import { type Cleanup, temporaryDirectory } from '../support/temp-directory.ts'

/** `npm run test:kill -- --plants` tries the others as well. */
const PLANTS: readonly EmbeddedPlant[] = ['acknowledge-unwritten', 'lose-one-write']
/** Most are caught by the second kill; on a machine that is busy, a process may die idle first. */
const KILLS_MAX = 80

const KVD_KILLS = 2

function killEmbedded(cleanup: Cleanup, seed: number, kills: number, plant?: EmbeddedPlant) {
  return runEmbeddedKills({
    seed,
    kills,
    directory: temporaryDirectory(cleanup),
    form: 'sources',
    meanMs: 30,
    durability: 'sync',
    keyCount: 300,
    threads: false,
    ...(plant && { plant }),
  })
}

describe('kill -9', { concurrency: 2 }, () => {
  test('of an embedded engine loses nothing', async t => {
    const result = await killEmbedded(t, printSeed(t), 1)
    assert.equal(result.kills, 1)
    assert.ok(result.submitted > 0, 'something was written')
  })

  test('of a kvd loses nothing, and it answers again', async t => {
    const seed = printSeed(t)
    const { kills, counts } = await runKillLoop({
      seed,
      kills: KVD_KILLS,
      directory: temporaryDirectory(t),
      records: loadRecords(undefined, seededRandom(seed)),
      form: 'sources',
      meanMs: 100,
      callers: 50,
      args: ['--durability', 'sync', '--memory-budget', '2MiB'],
      moments: ['random', 'log'],
    })
    assert.equal(kills.length, KVD_KILLS)
    assert.ok(counts.acknowledged > 0, 'something was acknowledged')
    t.diagnostic(`${counts.acknowledged} operations acknowledged`)
  })

  for (const plant of PLANTS) {
    test(`is what catches a store with the bug '${plant}'`, async t => {
      await assert.rejects(killEmbedded(t, printSeed(t), KILLS_MAX, plant), (error: unknown) => {
        assert.ok(error instanceof OracleError, String(error))
        t.diagnostic(error.message)
        return true
      })
    })
  }
})

test('a process that ends by itself is no bug that was caught', async t => {
  await assert.rejects(
    killEmbedded(t, printSeed(t), KILLS_MAX, 'end-by-itself'),
    (error: unknown) => {
      assert.ok(error instanceof Error && !(error instanceof OracleError), String(error))
      assert.match(error.message, /ended by itself: [\s\S]*out of its own mind/)
      return true
    },
  )
})

/** Loads an engine with what a kvd is killed under, and checks it as after a kill. */
async function loadAndCheck(cleanup: Cleanup, seed: number, plant: LoadPlant): Promise<number> {
  const [random, clock, fileSystem] = [seededRandom(seed), systemClock(), nodeFileSystem()]
  const hasher = await loadHasher()
  const executor = new InlineExecutor({ fileSystem, hasher, clock })
  const store = await openInEnvironment(
    temporaryDirectory(cleanup),
    { memoryBudget: 2 ** 20, memtableSize: 2 ** 16, durability: 'none' },
    { fileSystem, executor, clock, random, hasher },
  )
  const oracle = new RecordOracle()
  const records = loadRecords(undefined, random)
  const load = new KillLoad({ store, oracle, random, records, callers: 20, plant })
  try {
    load.start()
    while (oracle.counts.acknowledged < 3000) await delay(clock, 1)
    await load.stop()
    await load.settle()
    return await checkStore({ store, oracle, random, keys: load.keys })
  } finally {
    load.halt()
    await store.close()
  }
}

describe('the load and the checks of the kvd loop', () => {
  test('have nothing to say about a store that keeps its word', async t => {
    assert.ok((await loadAndCheck(t, printSeed(t), 'none')) > 0)
  })

  for (const [plant, kind] of [
    ['invent', 'invented'],
    ['forget-deletions', 'wrong'],
  ] as const) {
    test(`catch a store with the bug '${plant}'`, async t => {
      await assert.rejects(loadAndCheck(t, printSeed(t), plant), (error: unknown) => {
        assert.ok(error instanceof ViolationError, String(error))
        assert.ok((error.counts[kind] ?? 0) > 0, error.message)
        return true
      })
    })
  }
})
