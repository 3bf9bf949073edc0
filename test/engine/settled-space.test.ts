// Goal: a database that nobody writes to any more gives back what is dead in it by itself: at most
// 1.15 times what the live data takes, whatever was overwritten, deleted or has expired.
// Method: databases of a few megabytes on a simulated disk, left alone while simulated time passes;
// bytes of all files against those after a rewrite of everything.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { Db, DbOptions, DbTuning, EmbeddedOperation } from '../../src/engine/index.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const OPTIONS: DbOptions & DbTuning = {
  memoryBudget: 4 * 1024 * 1024,
  memtableSize: 64 * 1024,
  blockSize: 1024,
  tableSizeTarget: 64 * 1024,
  level0CompactionTrigger: 4,
  baseLevelSize: 256 * 1024,
  levelSizeRatio: 10,
}
const KEY_COUNT = 10_000
const BATCH_SIZE = 50
const AMPLIFICATION_MAX = 1.15
const TTL_MS = 600_000
/** Long enough for everything that only waits for idleness. */
const QUIET_MS = 60_000

interface Life {
  readonly db: Db
  readonly disk: MemoryFileSystem
  readonly clock: SimClock
  readonly random: Random
}

async function begin(t: TestContext): Promise<Life> {
  const random = seededRandom(printSeed(t))
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const db = await openEngine(disk, { clock, random, options: OPTIONS })
  return { db, disk, clock, random }
}

function keyOf(index: number): string {
  return `key-${String((index * 7919) % KEY_COUNT).padStart(6, '0')}`
}

function put({ random }: Life, index: number, ttlMs?: number): EmbeddedOperation {
  const value = 'v'.repeat(80 + random.below(40))
  return { type: 'put', key: keyOf(index), value, ...(ttlMs === undefined ? {} : { ttlMs }) }
}

async function writeAll({ db, clock }: Life, operations: EmbeddedOperation[]): Promise<void> {
  for (let from = 0; from < operations.length; from += BATCH_SIZE) {
    await drive(clock, db.batch(operations.slice(from, from + BATCH_SIZE)))
  }
}

async function fill(life: Life): Promise<void> {
  await writeAll(
    life,
    Array.from({ length: KEY_COUNT }, (_, index) => put(life, index)),
  )
  await settle(life)
}

async function settle({ clock }: Life): Promise<void> {
  await clock.advanceAsync(QUIET_MS, 40)
}

/** Bytes of tables and log. */
function usedSize({ disk }: Life): number {
  const files = disk.paths().filter(path => /^\/db\/\d+\.(sst|wal)$/.test(path))
  return files.reduce((sum, path) => sum + disk.peek(path).length, 0)
}

/** Throws unless hardly more is used than a rewrite of everything leaves, and ends the life. */
async function checkSettled(t: TestContext, life: Life): Promise<void> {
  const { db, clock } = life
  const used = usedSize(life)
  await drive(clock, db.compact({ rewrite: true }))
  await clock.advanceAsync(1000, 40)
  const needed = usedSize(life)
  t.diagnostic(`${used} bytes, ${needed} are needed: ${(used / needed).toFixed(3)}`)
  await drive(clock, db.close())
  assert.ok(used <= AMPLIFICATION_MAX * needed, `${used} bytes where ${needed} are needed`)
}

describe('a database left alone settles at a space amplification of 1.15', () => {
  test('after random overwrites', async t => {
    const life = await begin(t)
    await fill(life)
    const { random } = life
    const overwrites = Array.from({ length: KEY_COUNT }, () => put(life, random.below(KEY_COUNT)))
    await writeAll(life, overwrites)
    await settle(life)
    await checkSettled(t, life)
  })

  test('after half of it was deleted', async t => {
    const life = await begin(t)
    await fill(life)
    const deletions = Array.from({ length: KEY_COUNT / 2 }, (_, index) => {
      return { type: 'del', key: keyOf(2 * index) } as const
    })
    await writeAll(life, deletions)
    await settle(life)
    await checkSettled(t, life)
  })

  test('after so few deletions that they fit into the memtable', async t => {
    const life = await begin(t)
    const before = life.db.stats()
    // Large values, so that few deletions are much of the database.
    const keys = Array.from({ length: 500 }, (_, index) => keyOf(20 * index))
    await writeAll(
      life,
      keys.map(key => ({ type: 'put', key, value: 'V'.repeat(1000) })),
    )
    await settle(life)
    const deleted = keys.filter(() => life.random.below(2) === 0)
    await writeAll(
      life,
      deleted.map(key => ({ type: 'del', key })),
    )
    assert.ok(life.db.stats().flushes.count > before.flushes.count)
    await settle(life)
    assert.equal(
      life.db.stats().levels.reduce((sum, { tombstones }) => sum + tombstones, 0),
      0,
    )
    await checkSettled(t, life)
  })

  test('after a range was deleted', async t => {
    const life = await begin(t)
    await fill(life)
    let dropped = 0
    life.db.onEvent(event => {
      if (event.type === 'compactionEnd' && event.kind === 'drop') dropped += event.bytesIn
    })
    const size = life.db.stats().tableBytes
    await drive(life.clock, life.db.deleteRange({ gte: 'key-002000', lt: 'key-008000' }))
    await settle(life)
    const stats = life.db.stats()
    assert.ok(stats.tableBytes < 0.42 * size, `${stats.tableBytes} of ${size} bytes are left`)
    assert.ok(dropped > 0.4 * size, `${dropped} of ${size} bytes were dropped unread`)
    await checkSettled(t, life)
  })

  for (const share of [1, 0.5, 0.15]) {
    test(`after ${100 * share} % of the entries have expired`, async t => {
      const life = await begin(t)
      const operations = Array.from({ length: KEY_COUNT }, (_, index) =>
        put(life, index, life.random.next() < share ? TTL_MS : undefined),
      )
      await writeAll(life, operations)
      await settle(life)
      const before = life.db.stats().tableBytes
      await life.clock.advanceAsync(TTL_MS, 40)
      await settle(life)
      const after = life.db.stats().tableBytes
      assert.ok(after <= (1.05 - share) * before, `${after} of ${before} bytes are left`)
      if (share < 1) await checkSettled(t, life)
      else {
        assert.equal(after, 0)
        assert.equal(life.disk.listSync(DIRECTORY).filter(name => name.endsWith('.sst')).length, 0)
        await drive(life.clock, life.db.close())
      }
    })
  }

  test('after the snapshot was released that kept deleted entries', async t => {
    const life = await begin(t)
    await fill(life)
    const snapshot = life.db.snapshot()
    await drive(life.clock, life.db.deleteRange({ gte: 'key-001000' }))
    await settle(life)
    const kept = life.db.stats().tableBytes
    snapshot.release()
    await settle(life)
    assert.ok(life.db.stats().tableBytes < kept / 5, `${life.db.stats().tableBytes} of ${kept}`)
    await checkSettled(t, life)
  })

  test('and a trickle of writes is not flushed bit by bit', async t => {
    const life = await begin(t)
    const { count } = life.db.stats().flushes
    for (let index = 0; index < 200; index++) {
      await drive(life.clock, life.db.put(keyOf(index), 'v'.repeat(100)))
      await life.clock.advanceAsync(1000, 1)
    }
    assert.ok(life.db.stats().flushes.count - count <= 1)
    await drive(life.clock, life.db.close())
  })
})
