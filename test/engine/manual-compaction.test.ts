// Goal: db.compact takes what is in a range down to the last level and what is dead in it away, and
// nothing else; it comes to an end under any load, lets urgent work pass, and can be aborted; when
// it fails it says so, and nothing is lost.
// Method: the steps alone, carried out on a model of tables with other compactions in between; then
// stories on the simulated disk. Random ones beside everything else are in test/model.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { pickCompaction } from '../../src/engine/compaction-picker.ts'
import type { CompactionPlan } from '../../src/engine/compaction-plan.ts'
import type { Db, LostRange, Progress } from '../../src/engine/index.ts'
import { LAST_LEVEL } from '../../src/engine/level-shape.ts'
import { unlessAborted } from '../../src/engine/maintenance-operation.ts'
import { ManualCompaction } from '../../src/engine/manual-compaction.ts'
import { KvError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { readState } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { LevelModel } from '../support/level-model.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const OPTIONS = {
  tableSizeTarget: 2000,
  level0CompactionTrigger: 4,
  baseLevelSize: 4000,
  levelSizeRatio: 3,
  compactionThreads: 3,
}
const WALL_MS = 1000
const ALL = { smallest: undefined, largest: undefined, rewrite: false }

function flush(model: LevelModel, random: Random): void {
  const entries = Array.from({ length: 40 }, () => {
    const key = random.below(300)
    if (random.below(4) === 0) return model.delete(key)
    return model.put(key, 20 + random.below(40))
  })
  model.flush(entries)
}

describe('the steps of a manual compaction', () => {
  test('come to an end, and leave what was there in the last level', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 60; round++) steps(random)
  })

  function steps(random: Random): void {
    const model = new LevelModel(OPTIONS.tableSizeTarget)
    const bound = Number.POSITIVE_INFINITY
    const running: CompactionPlan[] = []
    const state = () => ({
      running: [...running],
      cursors: [],
      wallMs: WALL_MS,
      purgeableBelow: bound,
      idle: false,
    })
    const pick = () => pickCompaction(model.version, OPTIONS, state())
    const start = (plan: CompactionPlan | undefined) => plan && running.push(plan)
    const finish = () => {
      const [plan] = running.splice(random.below(running.length), 1)
      model.carryOut(plan!, WALL_MS, bound)
      return plan!
    }
    for (let count = random.below(30); count >= 0; count--) {
      flush(model, random)
      if (random.below(2) === 0) start(pick())
      if (running.length > 0 && random.below(2) === 0) finish()
    }
    const manual = new ManualCompaction(ALL, model.sequence)
    const sequence = model.sequence
    let mine: CompactionPlan | undefined
    let turns = 0
    for (;;) {
      assert.ok(turns++ < 3000, 'it comes to an end')
      if (random.below(4) === 0) flush(model, random)
      if (running.length > 0 && random.below(2) === 0 && finish() === mine) {
        manual.finished(mine)
        mine = undefined
      }
      if (random.below(3) === 0 && running.length < 3) start(pick())
      if (mine !== undefined) continue
      const step = manual.next(model.version, OPTIONS, state())
      if (step === undefined) break
      if (step.conflicts) {
        assert.ok(running.length > 0, 'there is somebody to wait for')
        continue
      }
      assert.ok(step.plan.inputs.length > 0)
      mine = step.plan
      start(mine)
    }
    while (running.length > 0) finish()
    model.checkReads(WALL_MS)
    for (const { level, table } of model.version.tables()) {
      if (level === LAST_LEVEL) continue
      assert.ok(table.largestSequence > sequence, 'only what came later is above')
    }
    const { doneBytes, totalBytes } = manual.progress(model.version)
    assert.equal(doneBytes, totalBytes)
  }
})

interface Bench {
  readonly disk: MemoryFileSystem
  readonly faults: FailingFileSystem
  readonly clock: SimClock
  readonly db: Db
}

function key(index: number): string {
  return `key-${String(index).padStart(4, '0')}`
}

async function bench(): Promise<Bench> {
  const count = 600
  const disk = new MemoryFileSystem()
  const faults = new FailingFileSystem(disk)
  const clock = new SimClock()
  const db = await openEngine(faults, { clock })
  for (let index = 0; index < count; index++) {
    await drive(clock, db.put(key((index * 7) % count), `value ${index} ${'.'.repeat(index % 90)}`))
  }
  return { disk, faults, clock, db }
}

function hasCode(code: string) {
  return (error: unknown) => error instanceof KvError && error.code === code
}

function levelsInUse(db: Db): number[] {
  return db
    .stats()
    .levels.flatMap((level, index) => (level.tables > 0 || level.bytes > 0 ? [index] : []))
}

describe('db.compact', () => {
  test('leaves the last level alone with what is alive', async () => {
    const { db, clock } = await bench()
    for (let index = 0; index < 600; index += 2) await drive(clock, db.delete(key(index)))
    const expected = await readState(db)
    const seen: Progress[] = []
    await drive(clock, db.compact({ onProgress: progress => seen.push(progress) }))
    assert.deepEqual(levelsInUse(db), [LAST_LEVEL])
    const { entries, tombstones } = db.stats().levels[LAST_LEVEL]!
    assert.deepEqual([entries, tombstones], [300, 0])
    assert.deepEqual(await readState(db), expected)
    assert.ok(seen.length > 0)
    assert.equal(seen.at(-1)!.doneBytes, seen.at(-1)!.totalBytes)
    const { compactions } = db.stats()
    await drive(clock, db.compact())
    assert.deepEqual(db.stats().compactions.count, compactions.count, 'there is nothing left to do')
    await drive(clock, db.close())
  })

  test('of a range concerns its tables only', async () => {
    const { db, clock } = await bench()
    await drive(clock, db.compact())
    const { compactions, tableBytes } = db.stats()
    await drive(clock, db.put(key(300), 'new'))
    await drive(clock, db.compact({ gte: key(299), lt: key(302) }))
    const read = db.stats().compactions.bytesRead - compactions.bytesRead
    assert.ok(read > 0 && read < tableBytes / 2, `${read} of ${tableBytes} bytes`)
    await drive(clock, db.put(key(10), 'new'))
    await drive(clock, db.compact({ gt: key(100) }))
    await drive(clock, db.compact({ gte: 'x', lt: 'a' }))
    assert.equal((await readState(db)).get(key(10)), 'new')
    await drive(clock, db.close())
  })

  test('keeps what a snapshot sees, and takes it away by a rewrite when it is released', async () => {
    const { db, clock } = await bench()
    const before = await readState(db)
    const snapshot = db.snapshot()
    for (let index = 0; index < 600; index++) await drive(clock, db.put(key(index), 'new'))
    await drive(clock, db.compact())
    const seen = new Map<string, string>()
    for await (const [name, value] of db.entries({ snapshot })) {
      seen.set(Buffer.from(name).toString(), Buffer.from(value).toString())
    }
    assert.deepEqual(seen, before)
    snapshot.release()
    await drive(clock, db.compact())
    assert.equal(db.stats().levels[LAST_LEVEL]!.entries, 1200, 'nobody knows that they are dead')
    await drive(clock, db.compact({ rewrite: true }))
    assert.equal(db.stats().levels[LAST_LEVEL]!.entries, 600)
    await drive(clock, db.close())
  })

  test('ends while more and more is written, and several at once end too', async () => {
    const { db, clock } = await bench()
    let writing = true
    let written = 0
    const writer = (async () => {
      for (; writing; written++) {
        await yieldToEventLoop()
        await db.put(key(written % 600), `storm ${written} ${'x'.repeat(60)}`)
      }
    })()
    const [first, second, third] = [db.compact(), db.compact({ lt: key(100) }), db.compact()]
    try {
      await drive(clock, Promise.all([first, second, third]))
    } finally {
      // Else a failure here would leave the writer at it for ever.
      writing = false
      await drive(clock, writer)
    }
    assert.ok(written > 0)
    assert.equal((await readState(db)).size, 600)
    await drive(clock, db.close())
  })

  test('is ended by its signal and by close, and what runs comes to its end', async () => {
    const { disk, db, clock } = await bench()
    const expected = await readState(db)
    const controller = new AbortController()
    const aborted = db.compact({ signal: controller.signal })
    controller.abort()
    await assert.rejects(drive(clock, aborted), hasCode('KV_ABORTED'))
    await assert.rejects(db.compact({ signal: AbortSignal.abort() }), hasCode('KV_ABORTED'))
    // It may fire between two steps, and tells nobody then.
    const failing = Promise.reject(new Error('nobody waits for it'))
    await assert.rejects(unlessAborted(AbortSignal.abort(), failing), hasCode('KV_ABORTED'))
    const closed = db.compact()
    const close = db.close()
    await assert.rejects(drive(clock, closed), hasCode('KV_CLOSED'))
    await drive(clock, close)
    await assert.rejects(db.compact(), hasCode('KV_CLOSED'))
    const again = await openEngine(disk)
    assert.deepEqual(await readState(again), expected)
    await again.close()
  })

  test('says when the disk is full, and works when it is not', async () => {
    const { faults, db, clock } = await bench()
    const expected = await readState(db)
    await drive(clock, db.checkpoint('/flushed'))
    await clock.advanceAsync(60_000)
    for (let index = 0; index < 600; index += 2) await drive(clock, db.delete(key(index)))
    const isTable = (path: string) => path.endsWith('.sst')
    const rule = faults.fail({ fault: 'ENOSPC', kind: 'write', path: isTable, forever: true })
    await assert.rejects(drive(clock, db.compact()), /ENOSPC/)
    rule.remove()
    await drive(clock, db.compact())
    assert.equal((await readState(db)).size, expected.size / 2)
    assert.deepEqual(levelsInUse(db), [LAST_LEVEL])
    await drive(clock, db.close())
  })

  test('ends with the damage that it meets', async () => {
    const { disk, db, clock } = await bench()
    await drive(clock, db.compact())
    await drive(clock, db.delete(key(300)))
    const damaged = disk.paths().filter(path => path.endsWith('.sst'))
    for (const path of damaged) {
      const bytes = disk.peek(path)
      bytes[40]! ^= 1
      disk.plant(path, bytes)
    }
    await assert.rejects(drive(clock, db.compact()), hasCode('KV_CORRUPTION'))
    await assert.rejects(drive(clock, db.compact()), hasCode('KV_CORRUPTION'))
    await drive(clock, db.put('still', 'taken'))
    await drive(clock, db.close())
  })

  test('ends with the damage also where level 0 waits for urgent compactions', async () => {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const options = { level0CompactionTrigger: 1 }
    const db = await openEngine(disk, { clock, options: { level0CompactionTrigger: 50 } })
    const isTable = (path: string) => /^\/db\/\d+\.sst$/.test(path)
    while (disk.paths().filter(isTable).length < 6) {
      await drive(clock, db.put(key(Math.floor(clock.monotonicMs())), 'x'.repeat(500)))
    }
    await drive(clock, db.close())
    for (const path of disk.paths().filter(isTable)) {
      const bytes = disk.peek(path)
      bytes[40]! ^= 1
      disk.plant(path, bytes)
    }
    const damaged = await openEngine(disk, { clock, options })
    await assert.rejects(drive(clock, damaged.compact()), hasCode('KV_CORRUPTION'))
    await assert.rejects(drive(clock, damaged.compact()), hasCode('KV_CORRUPTION'))
    await drive(clock, damaged.close())
  })

  test('is refused when writing is', async () => {
    const { faults, db, clock } = await bench()
    faults.fail({ fault: 'EIO', kind: 'sync', path: path => path.endsWith('.wal'), forever: true })
    await assert.rejects(drive(clock, db.put('a', 'b')), hasCode('KV_POISONED'))
    await assert.rejects(drive(clock, db.compact()), hasCode('KV_POISONED'))
    await drive(clock, db.close()).catch(() => undefined)
  })
})

describe('a compaction that may leave out what cannot be read', () => {
  /** Several versions of each key, in several levels; some deleted in the end. */
  async function damaged(random: Random) {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const db = await openEngine(disk, { clock, options: { memoryBudget: 1024 * 1024 } })
    const model = new Map<string, string | undefined>()
    for (let part = 0; part < 20; part++) {
      const writes = Array.from({ length: 20 }, (_, at) => {
        const key = `key-${String(random.below(200)).padStart(3, '0')}`
        const value = `${part} ${at} ${'.'.repeat(random.below(40))}`
        const isDeletion = random.below(6) === 0
        model.set(key, isDeletion ? undefined : value)
        return isDeletion ? db.delete(key) : db.put(key, value)
      })
      await drive(clock, Promise.all(writes))
    }
    await drive(clock, db.compact({ gte: 'key-100' }))
    await db.close()
    // In the first half are blocks of entries, but for tables of a few entries.
    const tables = disk
      .listSync('/db')
      .filter(name => name.endsWith('.sst') && disk.peek(`/db/${name}`).length >= 1024)
    const path = `/db/${tables[random.below(tables.length)]!}`
    const bytes = disk.peek(path).slice()
    bytes[random.below(bytes.length >> 1)]! ^= 0x55
    disk.plant(path, bytes)
    return { disk, clock, model, db: await openEngine(disk, { clock }) }
  }

  async function unreadable(db: Db, clock: SimClock, keys: Iterable<string>): Promise<string[]> {
    const found: string[] = []
    for (const key of keys) {
      await drive(clock, db.get(key)).catch(error => {
        assert.equal((error as KvError).code, 'KV_CORRUPTION')
        found.push(key)
      })
    }
    return found
  }

  const isIn = (key: string, { smallestKey, largestKey }: LostRange): boolean =>
    Buffer.compare(Buffer.from(key), smallestKey) >= 0 &&
    Buffer.compare(Buffer.from(key), largestKey) <= 0

  test('tells which keys are concerned, and leaves all others as they were', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 3; round++) {
      const { clock, model, db } = await damaged(random)
      const bad = await unreadable(db, clock, model.keys())
      const lost: LostRange[] = []
      await drive(
        clock,
        db.compact({
          onLost: ranges => {
            lost.push(...ranges)
            return Promise.resolve()
          },
        }),
      )
      assert.ok(lost.length > 0)
      for (const key of bad)
        assert.ok(
          lost.some(range => isIn(key, range)),
          `${key} is told of`,
        )
      for (const [key, value] of model) {
        const found = await drive(clock, db.get(key))
        if (lost.some(range => isIn(key, range))) continue
        assert.equal(found && Buffer.from(found).toString(), value, key)
      }
      assert.deepEqual((await drive(clock, db.verify())).findings, [])
      await db.close()
    }
  })

  test('changes nothing when whoever is told of it refuses', async t => {
    const { disk, clock, model, db } = await damaged(seededRandom(printSeed(t)))
    const bad = await unreadable(db, clock, model.keys())
    const refusal = new Error('no')
    const refused = db.compact({ onLost: () => Promise.reject(refusal) })
    await assert.rejects(drive(clock, refused), error => error === refusal)
    assert.deepEqual(await unreadable(db, clock, model.keys()), bad)
    await assert.rejects(drive(clock, db.compact({ rewrite: true })), { code: 'KV_CORRUPTION' })
    const onLost = () => Promise.resolve()
    await drive(clock, db.compact({ onLost }))
    assert.deepEqual(await unreadable(db, clock, model.keys()), [])
    const tables = disk.listSync('/db').filter(name => name.endsWith('.sst'))
    const { findings } = await drive(clock, db.verify())
    assert.deepEqual(findings, [])
    const count = db.stats().levels.reduce((sum, level) => sum + level.tables, 0)
    assert.equal(tables.length, count, 'no output of the first attempt is left')
    await db.close()
  })
})
