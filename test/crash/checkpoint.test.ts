// Goal: whatever call of a checkpoint the power goes away at, its directory is not there or is a
// whole database, equal to a prefix of what was submitted that holds all that was acknowledged
// before the call; under its temporary name nothing opens that is not whole; the source lost
// nothing; and the next checkpoint works. An engine that forgets one kind of sync is caught.
// Method: writes on a simulated disk go on while the checkpoint is made by links or copies; three
// kinds of power loss at every call; the prefix oracle judges both databases on each disk left.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KvError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { CrashOracle, OracleError, readState } from '../support/crash-oracle.ts'
import { CrashScript } from '../support/crash-script.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem, type FaultReport } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { CHANGING, CRASHES } from '../support/power-loss-sweep.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const COPY = '/copies/one'
const BUILDING = `${COPY}.checkpoint.tmp`

interface SweepSettings {
  readonly seed: number
  readonly copy: boolean
  readonly plant?: (disk: FailingFileSystem) => FaultReport
}

interface SweepCount {
  /** Disks looked at, and those of them on which the checkpoint was there. */
  survivors: number
  whole: number
  skipped: number
}

async function sweep({ seed, copy, plant }: SweepSettings): Promise<SweepCount> {
  const random = seededRandom(seed)
  const chance = seededRandom(seed ^ 0xc0ffee)
  const disk = new MemoryFileSystem()
  const fileSystem = new FailingFileSystem(disk)
  const oracle = new CrashOracle()
  const clock = new SimClock()
  const script = new CrashScript({
    fileSystem,
    oracle,
    clock,
    random,
    operationCount: 40,
    durabilities: ['sync'],
    reopen: 0,
  })
  await script.run()
  const report = plant?.(fileSystem)
  const durableBefore = oracle.moment().durable
  const survivors: { disk: MemoryFileSystem; moment: object; place: string }[] = []
  let done = false
  const harvest = (index: number, kind: string, path: string) => {
    for (const crash of CRASHES) {
      const place = `seed ${seed}, power lost before call ${index} (${kind} ${path}), ${crash.keep}`
      const left = { disk: disk.crashClone(chance, crash), moment: oracle.moment(), place }
      survivors.push(left)
    }
  }
  disk.onCall = (index, kind, path) => {
    if (CHANGING.includes(kind)) harvest(index, kind, path)
  }
  const made = script.db!.checkpoint(COPY, { copy })
  await script.burst(6)
  await drive(clock, made)
  await script.burst(3)
  disk.onCall = undefined
  done = true
  harvest(disk.callCount, 'sync', 'after the end')
  const count: SweepCount = {
    survivors: survivors.length,
    whole: 0,
    skipped: report?.injected ?? 0,
  }
  const last = survivors.length - CRASHES.length
  for (const [index, survivor] of survivors.entries()) {
    const left = survivor.disk
    try {
      const moment = { ...oracle.moment(), durable: durableBefore }
      const whole = await explainCopy(left, COPY, oracle, moment)
      await explainCopy(left, BUILDING, oracle, moment)
      if (whole) count.whole++
      if (done && index >= last && !whole) throw new OracleError('the checkpoint is not there')
      await explainSource(left, oracle, survivor.moment as typeof moment)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new OracleError(`${survivor.place}: ${message}`, { cause: error })
    }
  }
  await script.close()
  return count
}

type Moment = ReturnType<CrashOracle['moment']>

/** True when there is a database, which is then right; false when there is none. */
async function explainCopy(
  disk: MemoryFileSystem,
  directory: string,
  oracle: CrashOracle,
  moment: Moment,
): Promise<boolean> {
  try {
    // On a disk of its own: opening must not change what is looked at next.
    const own = disk.processCrashClone()
    const db = await openEngine(own, { directory, options: { createIfMissing: false } })
    oracle.explain(await readState(db), moment, 'power-loss')
    await db.close()
    return true
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    // The target is whole or absent; what lies under the other name may be damaged in any way.
    if (error.code !== 'KV_NOT_FOUND' && directory === COPY) throw error
    return false
  }
}

async function explainSource(
  disk: MemoryFileSystem,
  oracle: CrashOracle,
  moment: Moment,
): Promise<void> {
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  const found = await readState(db)
  oracle.explain(found, moment, 'power-loss')
  // What is left of the first attempt is in nobody's way.
  await drive(clock, db.checkpoint('/copies/next'))
  if (!disk.listSync('/copies').includes('one')) await drive(clock, db.checkpoint(COPY))
  await drive(clock, db.close())
  const copy = await openEngine(disk, { directory: '/copies/next' })
  assert.deepEqual(await readState(copy), found)
  await copy.close()
}

describe('power loss at every call of a checkpoint', () => {
  for (const copy of [false, true]) {
    test(copy ? 'by copies' : 'by links', async t => {
      const seed = printSeed(t)
      for (const each of [seed, 1]) {
        const { survivors, whole } = await sweep({ seed: each, copy })
        t.diagnostic(`seed ${each}: ${survivors} disks, on ${whole} of them a whole checkpoint`)
        assert.ok(survivors > 60 && whole > 3)
      }
    })
  }
})

describe('the checker catches a checkpoint without', () => {
  const inCopies = (path: string) => path.startsWith('/copies')
  const bugs: readonly (readonly [string, (disk: FailingFileSystem) => FaultReport])[] = [
    ['the fsync of copied tables', d => d.skipSync(p => inCopies(p) && p.endsWith('.sst'))],
    ['the fsync of its MANIFEST', d => d.skipSync(p => inCopies(p) && p.includes('MANIFEST'))],
    ['the fsync of CURRENT', d => d.skipSync(p => inCopies(p) && p.includes('CURRENT'))],
    ['the fsync of its directory', d => d.skipDirectorySync(path => path.startsWith(COPY))],
    ['the fsync of the parent directory', d => d.skipDirectorySync(path => path === '/copies')],
  ]
  for (const [what, plant] of bugs) {
    test(what, async t => {
      const caught: unknown = await sweep({ seed: 2, copy: true, plant }).catch(error => error)
      assert.ok(caught instanceof OracleError, `not caught: ${JSON.stringify(caught)}`)
      t.diagnostic(caught.message)
    })
  }
})
