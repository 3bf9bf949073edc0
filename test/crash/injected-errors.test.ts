// Goal: whatever call of the file system fails, once or from there on for ever, with an error, a
// short write, a short read or a failed fsync that "works" later: callers get a KvError that says
// why, reads never lie, nothing acknowledged is lost, the engine refuses writes where it must, and
// opening again works.
// Method: a scripted life of a database on a simulated disk, run once to count its calls and then
// with an error at one of them, judged by the prefix oracle (test/support/error-sweep.ts). Here a
// few cases of each kind, drawn anew each run; `npm run test:errors` runs all of them. Then engines
// that overlook errors, which must be caught, and what the sweep has found so far.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { KvError, type KvErrorCode } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { OracleError } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { describeCase, planErrors, runErrorCase, sampleErrors } from '../support/error-sweep.ts'
import { FailingFileSystem, type FaultRule } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const CASES_OF_EACH_KIND = 2

const isTable = (path: string) => path.endsWith('.sst')
const isWal = (path: string) => path.endsWith('.wal')

test('an error at any call breaks no promise', async t => {
  const seed = printSeed(t)
  const random = seededRandom(seed)
  const cases = await planErrors({ seed })
  let [injected, poisonings] = [0, 0]
  // Six are poisoned on average; rarely none is, and then there are some more.
  for (let drawn = 0; drawn === 0 || (drawn < 10 && poisonings === 0); drawn++) {
    for (const errorCase of sampleErrors(cases, CASES_OF_EACH_KIND, random)) {
      try {
        const result = await runErrorCase(errorCase, { seed })
        injected += result.injected
        poisonings += result.poisonings
      } catch (error) {
        const replay = `npm run test:errors -- --seed ${seed} --case ${describeCase(errorCase)}`
        t.diagnostic(replay)
        throw error
      }
    }
  }
  t.diagnostic(`${cases.length} cases in all, ${injected} errors, ${poisonings} poisonings`)
  assert.ok(injected > 0 && poisonings > 0)
})

describe('the checker of injected errors', () => {
  for (const [what, fault, kind] of [
    ['a write of the log', 'EIO', 'write'],
    ['half a write of the log', 'shortWrite', 'write'],
    ['an fsync of the log', 'failedSync', 'sync'],
  ] as const) {
    const plant = (disk: FailingFileSystem) => {
      disk.overlookErrors((call, path) => call === kind && isWal(path))
    }
    async function catches(t: TestContext, dataOnly: boolean): Promise<void> {
      const seed = 1
      const cases = (await planErrors({ seed })).filter(each => each.fault === fault)
      // What is lost late is missed by the reopening that comes next.
      if (dataOnly) cases.reverse()
      let caught: unknown
      for (const errorCase of cases) {
        caught = await runErrorCase(errorCase, { seed, plant, dataOnly }).then(
          () => undefined,
          (error: unknown) => error,
        )
        if (caught !== undefined) break
      }
      assert.ok(caught instanceof OracleError, `not caught: ${String(caught)}`)
      t.diagnostic(caught.message.slice(0, 200))
    }
    test(`catches an engine that overlooks the failure of ${what}`, t => catches(t, false))
    if (fault === 'EIO') continue
    test(`catches it by the data too, when it overlooks ${what}`, t => catches(t, true))
  }

  test('does not take a fault of its own for one of the engine', async () => {
    const seed = 1
    const [errorCase] = await planErrors({ seed })
    let reads = 0
    const broken = {
      get seed() {
        if (++reads === 2) throw new TypeError('of the checker')
        return seed
      },
    }
    await assert.rejects(runErrorCase(errorCase!, broken), (error: unknown) => {
      assert.ok(error instanceof Error && !(error instanceof OracleError), String(error))
      assert.match(error.message, /of the checker/)
      return true
    })
  })
})

/** A database on a disk on which nothing fails before a rule is added. */
async function openFailing() {
  const memory = new MemoryFileSystem()
  const disk = new FailingFileSystem(memory)
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  return { memory, disk, clock, db, fail: (rule: FaultRule) => disk.fail(rule) }
}

function hasCode(code: KvErrorCode, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof KvError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, text)
    return true
  }
}

describe('an error of the disk', () => {
  for (const fault of ['EMFILE', 'EIO'] as const) {
    test(`${fault} when a table is opened is over when the disk is well again`, async () => {
      const { clock, db, fail } = await openFailing()
      await db.put('key', 'value')
      await drive(clock, db.compact())
      fail({ fault, kind: 'open', path: isTable })
      await assert.rejects(db.get('key'), hasCode('KV_IO', new RegExp(fault)))
      assert.equal(Buffer.from((await db.get('key'))!).toString(), 'value')
      await drive(clock, db.close())
    })
  }

  test('that keeps compactions from their end ends compact() as well', async () => {
    const { clock, db, fail } = await openFailing()
    fail({ fault: 'EIO', kind: 'read', path: isTable, forever: true })
    const value = 'x'.repeat(500)
    // Enough that compactions begin by themselves.
    for (let index = 0; index < 100; index++) {
      await drive(clock, db.put(`key ${index % 30}`, value)).catch(hasCode('KV_IO', /EIO/))
    }
    await assert.rejects(drive(clock, db.compact()), hasCode('KV_IO', /EIO/))
    await drive(clock, db.close())
  })

  test('that gives less of a table than there is does not make it a damaged one', async () => {
    const { clock, db, fail } = await openFailing()
    await db.put('key', 'value')
    await drive(clock, db.compact())
    const read = fail({ fault: 'shortRead', path: isTable, forever: true })
    await assert.rejects(db.get('key'), hasCode('KV_IO', /returned \d+ of \d+ bytes.*try again/))
    read.remove()
    assert.equal(Buffer.from((await db.get('key'))!).toString(), 'value')
    const compaction = fail({ fault: 'shortRead', path: isTable, forever: true })
    const value = 'x'.repeat(500)
    for (let index = 0; db.stats().compactions.count === 1 && index < 100; index++) {
      await drive(clock, db.put(`key ${index % 30}`, value)).catch(hasCode('KV_IO', /returned/))
    }
    assert.ok(compaction.injected > 0, 'a compaction met it')
    compaction.remove()
    const { count } = db.stats().compactions
    await clock.advanceAsync(60_000)
    assert.ok(db.stats().compactions.count > count, 'it is tried again without opening anew')
    await drive(clock, db.compact())
    await drive(clock, db.close())
  })

  test('that cuts a table is damage', async () => {
    const { memory, clock, db } = await openFailing()
    await db.put('key', 'value')
    await drive(clock, db.compact())
    const path = memory.paths().find(isTable)!
    memory.plant(path, memory.peek(path).subarray(0, -1))
    await assert.rejects(db.get('key'), hasCode('KV_CORRUPTION', /has not the size|ends too early/))
    await drive(clock, db.close())
  })

  for (const durability of ['interval', 'none'] as const) {
    test(`that keeps ${durability} writes from the disk is told by close()`, async () => {
      const { clock, db, fail } = await openFailing()
      await db.put('key', 'value', { durability })
      fail({ fault: 'EIO', kind: 'sync', path: isWal, forever: true })
      await clock.advanceAsync(200)
      await assert.rejects(drive(clock, db.close()), hasCode('KV_POISONED', /EIO/))
    })
  }

  test('in a poisoned database whose writers have all been told lets it close', async () => {
    const { clock, db, fail } = await openFailing()
    fail({ fault: 'EIO', kind: 'sync', path: isWal, forever: true })
    await assert.rejects(drive(clock, db.put('key', 'value')), hasCode('KV_POISONED', /EIO/))
    await drive(clock, db.close())
  })

  for (const kind of ['lock', 'list', 'create', 'read'] as const) {
    test(`at ${kind} when it is opened is a KvError, and opening again works`, async () => {
      const { disk, clock, db, fail } = await openFailing()
      await db.put('key', 'value')
      await drive(clock, db.close())
      fail({ fault: 'EIO', kind })
      await assert.rejects(openEngine(disk), hasCode('KV_IO', /^\/db cannot be opened: .*EIO/))
      const again = await openEngine(disk)
      assert.equal(Buffer.from((await again.get('key'))!).toString(), 'value')
      await again.close()
    })
  }
})
