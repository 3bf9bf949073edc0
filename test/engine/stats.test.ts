// Goal: stats add up: parts to their totals, and all of them to what can be seen from outside:
// files on the disk, calls that were made.
// Method: a database on a simulated disk under random writes and reads, looked at now and then.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EventStream } from '../../src/engine/event-stream.ts'
import {
  type Db,
  type DbStats,
  InlineExecutor,
  type Job,
  type JobResult,
} from '../../src/engine/index.ts'
import { Stalls } from '../../src/engine/stalls.ts'
import { silentLogger } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function bytesOf(disk: MemoryFileSystem, pattern: RegExp): number {
  return sum(disk.paths().map(path => (pattern.test(path) ? disk.peek(path).length : 0)))
}

/** What holds at any moment. */
function checkSums(stats: DbStats): void {
  const { levels, memory, reads, stalls, writes, ratios } = stats
  assert.equal(sum(levels.map(({ bytes }) => bytes)), stats.tableBytes)
  assert.equal(stats.liveBytes + stats.deadBytes, stats.tableBytes)
  assert.ok(stats.liveBytes >= 0 && stats.deadBytes >= 0)
  const { budget, total, ...consumers } = memory
  // Memtables and writes are small here: the bound of a budget from 16 MiB on holds.
  assert.ok(total <= budget, `${total} bytes of ${budget}`)
  assert.equal(sum(Object.values(consumers)), total)
  assert.equal(reads.tableProbes, reads.filterNegatives + reads.tableHits + reads.tableMisses)
  assert.ok(reads.memtableHits + reads.tableHits <= reads.points)
  const reasons = Object.values(stalls.byReason)
  assert.equal(sum(reasons.map(({ count }) => count)), stalls.count)
  assert.equal(sum(reasons.map(({ totalMs }) => totalMs)), stalls.totalMs)
  const written = writes.walBytes + stats.flushes.bytesWritten + stats.compactions.bytesWritten
  if (writes.userBytes > 0) assert.equal(ratios.writeAmplification, written / writes.userBytes)
}

describe('stats', () => {
  test('add up to their totals, and to files and calls', async t => {
    const random = seededRandom(printSeed(t))
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const db = await openEngine(disk, { clock })
    let [operations, userBytes, points] = [0, 0, 0]
    for (let step = 0; step < 1500; step++) {
      const key = `key-${random.below(400)}`
      const draw = random.below(10)
      if (draw < 5) {
        const value = 'v'.repeat(random.below(100))
        await drive(clock, db.put(key, value))
        userBytes += key.length + value.length
        operations++
      } else if (draw === 5) {
        await drive(clock, db.delete(key))
        userBytes += key.length
        operations++
      } else {
        await drive(clock, db.get(draw < 8 ? key : `${key}-absent`))
        points++
      }
      if (step % 50 !== 0) continue
      const stats = db.stats()
      checkSums(stats)
      assert.equal(stats.writes.operations, operations)
      assert.equal(stats.writes.userBytes, userBytes)
      assert.equal(stats.reads.points, points)
    }
    // Nothing is under way.
    await drive(clock, db.compact({ gte: 'zzz' }))
    const stats = db.stats()
    assert.equal(stats.tableBytes, bytesOf(disk, /\.sst$/))
    assert.equal(stats.walBytes, bytesOf(disk, /\.wal$/))
    assert.ok(stats.ratios.filterUse! > 0.9, JSON.stringify(stats.ratios))
    assert.ok(stats.ratios.cacheHits! > 0 && stats.ratios.cacheHits! <= 1)
    assert.ok(stats.ratios.writeAmplification! > 2)
    await drive(clock, db.close())
  })

  test('tell live bytes from those that newer ones may replace', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    await fill(db, clock, 300)
    await drive(clock, db.compact())
    const settled = db.stats()
    assert.equal(settled.deadBytes, 0)
    assert.equal(settled.ratios.spaceAmplification, 1)
    await fill(db, clock, 150)
    await drive(clock, db.compact({ gte: 'zzz' }))
    const { deadBytes, tableBytes } = db.stats()
    assert.ok(deadBytes > tableBytes / 20 && deadBytes < tableBytes, `${deadBytes} ${tableBytes}`)
    await drive(clock, db.compact({ rewrite: true }))
    assert.equal(db.stats().deadBytes, 0)
    await drive(clock, db.close())
  })

  test('show that after 64 keys found one that is absent costs a block, and the next none', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    await fill(db, clock, 300)
    await drive(clock, db.compact())
    /** What reading `count` keys that are there, and then `absent`, adds to the stats. */
    function added(count: number, absent: string): readonly number[] {
      const before = db.stats().reads
      for (let index = 0; index < count; index++) assert.ok(db.getSync(`key-${index}`))
      assert.equal(db.getSync(absent), undefined)
      const { filterNegatives, tableHits, tableMisses } = db.stats().reads
      const hits = tableHits - before.tableHits
      return [filterNegatives - before.filterNegatives, hits, tableMisses - before.tableMisses]
    }
    const candidates = Array.from({ length: 9 }, (_, index) => `key-1${index}-absent`)
    const absent = candidates.find(key => added(0, key)[0] === 1)
    assert.ok(absent !== undefined, 'the filter knows most absent keys')
    assert.deepEqual(added(63, absent), [1, 63, 0])
    assert.deepEqual(added(64, absent), [0, 64, 1])
    assert.deepEqual(added(0, absent), [1, 0, 0])
    assert.deepEqual(added(200, absent), [0, 200, 1])
    checkSums(db.stats())
    await drive(clock, db.close())
  })

  test('tell that deleted entries are dead', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock, options: { memtableSize: 65536 } })
    for (const share of [0.5, 1]) {
      await fill(db, clock, 600)
      await drive(clock, db.compact({ rewrite: true }))
      const whole = db.stats()
      for (let index = 0; index < 600 * share; index++)
        await drive(clock, db.delete(`key-${index}`))
      // Flushes, and merges nothing.
      await drive(clock, db.compact({ gte: 'zzz' }))
      const { liveBytes, levels } = db.stats()
      assert.equal(sum(levels.map(({ tombstones }) => tombstones)), 600 * share)
      const left = whole.liveBytes * (1 - share)
      assert.ok(Math.abs(liveBytes - left) < whole.liveBytes / 20, `${liveBytes}, not ${left}`)
    }
    await drive(clock, db.close())
  })

  test('count the time of a stall under way', async () => {
    const clock = new SimClock()
    const stalls = new Stalls(clock, new EventStream(silentLogger))
    let open: () => void = () => undefined
    const held = stalls.hold('memtables', () => new Promise(resolve => (open = resolve)))
    clock.advance(700)
    const { count, totalMs, byReason } = stalls.stats
    assert.deepEqual([count, totalMs], [1, 700])
    assert.deepEqual(byReason, { memtables: { count: 1, totalMs: 700 } })
    clock.advance(50)
    open()
    await held
    clock.advance(100)
    assert.equal(stalls.stats.totalMs, 750)
    assert.equal(stalls.stats.byReason.memtables?.totalMs, 750)
  })

  test('count each stall under its reason', async () => {
    let open: () => void = () => undefined
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    /** Compactions wait for the gate, so level 0 grows and writers are held back. */
    class GatedExecutor extends InlineExecutor {
      override async run(job: Job): Promise<JobResult> {
        if (job.kind === 'compaction') await gate
        return await super.run(job)
      }
    }
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock, executor: GatedExecutor })
    for (let index = 0; db.stats().stalls.totalMs === 0 && index < 2000; index++) {
      await drive(clock, db.put(`key-${index}`, 'v'.repeat(200)))
    }
    open()
    const stats = db.stats()
    checkSums(stats)
    assert.ok(stats.stalls.count > 0 && stats.stalls.totalMs > 0)
    assert.deepEqual(Object.keys(stats.stalls.byReason), [stats.stalls.reason])
    await drive(clock, db.close())
  })
})

async function fill(db: Db, clock: SimClock, keys: number): Promise<void> {
  for (let index = 0; index < keys; index++) {
    await drive(clock, db.put(`key-${index}`, 'v'.repeat(40 + (index % 50))))
  }
}
