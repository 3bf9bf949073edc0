// Goal: a time to live is a span: nobody who sets the wall clock makes a key expire early or late,
// brings an expired one back, or makes compaction drop what reads still show.
// Method: the clock alone against elapsed time under random steps, drifts and pauses; then a
// database whose wall clock jumps while keys live, over reopening, with what is on disk looked at.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { ExpiryClock } from '../../src/engine/expiry-clock.ts'
import type { ChangeBatch, Db } from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { storedEntries } from '../support/stored-entries.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const JUMPS = [-30 * DAY_MS, -DAY_MS, -HOUR_MS, -501, 501, HOUR_MS, DAY_MS, 400 * DAY_MS]

describe('the expiry clock', () => {
  test('runs evenly under steps of any size', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 50; round++) {
      const clock = new SimClock()
      const expiry = new ExpiryClock(clock, 0)
      const startMs = expiry.nowMs
      assert.equal(startMs, clock.wallMs())
      let elapsedMs = 0
      for (let step = 0; step < 100; step++) {
        const byMs = random.below(random.below(5) === 0 ? DAY_MS : 1000)
        clock.advance(byMs)
        elapsedMs += byMs
        if (random.below(3) === 0) clock.jumpWall(JUMPS[random.below(JUMPS.length)]!)
        assert.equal(expiry.nowMs, startMs + elapsedMs)
        // What the caller means by its own clock is an hour from now here, too.
        const inAnHour = expiry.fromWall(clock.wallMs() + HOUR_MS)
        assert.equal(inAnHour, startMs + elapsedMs + HOUR_MS)
        assert.equal(expiry.toWall(inAnHour), clock.wallMs() + HOUR_MS)
      }
    }
  })

  test('follows a clock that is slewed, and never runs backwards', t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const expiry = new ExpiryClock(clock, 0)
    let lastMs = expiry.nowMs
    for (let step = 0; step < 10_000; step++) {
      clock.advance(random.below(2000))
      clock.jumpWall(random.below(101) - 50)
      const nowMs = expiry.nowMs
      // It waits for a wall clock that went back a little, and goes on with it.
      assert.equal(nowMs, Math.max(lastMs, clock.wallMs()))
      lastMs = nowMs
    }
  })

  test('is not fooled by a thread that is stopped between two looks at the clocks', () => {
    let nowMs = 0
    let pauseMs = 0
    const clock: Clock = {
      wallMs() {
        const wallMs = 1_000_000 + nowMs
        nowMs += pauseMs
        pauseMs = 0
        return wallMs
      },
      monotonicMs: () => nowMs,
      setTimer: () => () => undefined,
    }
    const expiry = new ExpiryClock(clock, 0)
    for (const pause of [400, 800, 60_000, 499, 501, 3]) {
      pauseMs = pause
      assert.ok(expiry.nowMs <= 1_000_000 + nowMs)
      assert.equal(expiry.nowMs, 1_000_000 + nowMs)
      nowMs += 10
    }
  })

  test('starts no earlier than what was recorded', () => {
    const clock = new SimClock({ wallMs: 5000 })
    assert.equal(new ExpiryClock(clock, 4000).nowMs, 5000)
    const ahead = new ExpiryClock(clock, 9000)
    assert.equal(ahead.nowMs, 9000)
    clock.advance(500)
    assert.equal(ahead.nowMs, 9500)
    assert.equal(ahead.fromWall(6500), 10_500)
    assert.equal(ahead.fromWall(0), 0)
    assert.equal(ahead.toWall(0), 0)
  })
})

interface Life {
  readonly disk: MemoryFileSystem
  readonly clock: SimClock
  db: Db
}

async function begin(): Promise<Life> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  return { disk, clock, db: await openEngine(disk, { clock }) }
}

async function reopen(life: Life, onLogData?: (batch: ChangeBatch) => void): Promise<void> {
  await drive(life.clock, life.db.close())
  const options = onLogData === undefined ? {} : { onLogData }
  life.db = await openEngine(life.disk, { clock: life.clock, options })
}

/** Enough to flush and compact what was written before. */
async function churn({ db, clock }: Life): Promise<void> {
  for (let index = 0; index < 300; index++) {
    await drive(clock, db.put(`filler ${index % 40}`, 'x'.repeat(100)))
  }
  assert.ok(db.stats().compactions.count > 0)
}

/** Whether reads of all kinds show the key; they must agree. */
async function isThere({ db, clock }: Life, key: string): Promise<boolean> {
  const found = await drive(clock, db.get(key))
  let inScan = false
  for await (const other of db.keys({ gte: key, lte: key })) inScan ||= text(other) === key
  assert.equal(found !== undefined, inScan)
  assert.equal(db.getSync(key) !== undefined, inScan)
  return inScan
}

function isStored({ disk }: Life, hasher: Awaited<ReturnType<typeof loadHasher>>, key: string) {
  return storedEntries(disk, DIRECTORY, hasher).some(entry => text(entry.key) === key)
}

describe('a key with a time to live', () => {
  for (const jumpMs of JUMPS) {
    test(`lives exactly as long when the clock jumps by ${jumpMs} ms`, async () => {
      const life = await begin()
      const { clock } = life
      await drive(clock, life.db.put('before', 'v', { ttlMs: HOUR_MS }))
      clock.jumpWall(jumpMs)
      await drive(clock, life.db.put('after', 'v', { ttlMs: HOUR_MS }))
      const operation = { type: 'put', key: Buffer.from('absolute'), value: Buffer.from('v') }
      const expiryMs = clock.wallMs() + HOUR_MS
      await drive(clock, life.db.write([{ ...operation, type: 'put', expiryMs }]))
      const startMs = clock.monotonicMs()
      await churn(life)
      // Some of it has passed meanwhile.
      clock.advance(HOUR_MS - 1 - (clock.monotonicMs() - startMs))
      for (const key of ['before', 'after', 'absolute']) {
        assert.equal(await isThere(life, key), true, key)
      }
      clock.advance(1)
      for (const key of ['before', 'after', 'absolute']) {
        assert.equal(await isThere(life, key), false, key)
      }
      clock.jumpWall(-jumpMs)
      assert.equal(await isThere(life, 'after'), false, 'it stays away')
      await drive(clock, life.db.close())
    })
  }

  test('is neither dropped nor shown longer because the clock was wrong in an earlier life', async () => {
    const hasher = await loadHasher()
    const life = await begin()
    const { clock } = life
    // The clock is a year ahead, is noticed, and is put right: in one process and then the next.
    clock.jumpWall(365 * DAY_MS)
    await reopen(life)
    clock.jumpWall(-365 * DAY_MS)
    for (let round = 0; round < 2; round++) {
      await drive(clock, life.db.put('key', 'v', { ttlMs: HOUR_MS }))
      clock.advance(HOUR_MS / 2)
      await churn(life)
      clock.advance(HOUR_MS / 4)
      assert.equal(await isThere(life, 'key'), true)
      assert.ok(isStored(life, hasher, 'key'))
      clock.advance(HOUR_MS / 4)
      assert.equal(await isThere(life, 'key'), false)
      await churn(life)
      await clock.advanceAsync(10_000)
      await reopen(life)
    }
    await drive(clock, life.db.close())
  })

  test('does not come back when the clock is set back while the database is closed', async () => {
    const life = await begin()
    const { clock } = life
    await drive(clock, life.db.put('key', 'v', { ttlMs: HOUR_MS }))
    clock.advance(HOUR_MS)
    assert.equal(await isThere(life, 'key'), false)
    await drive(clock, life.db.checkpoint('/copy'))
    await drive(clock, life.db.close())
    clock.jumpWall(-30 * DAY_MS)
    const copy = await openEngine(life.disk, { clock, directory: '/copy' })
    assert.equal(await isThere({ ...life, db: copy }, 'key'), false)
    await drive(clock, copy.close())
    life.db = await openEngine(life.disk, { clock })
    assert.equal(await isThere(life, 'key'), false)
    await drive(clock, life.db.put('new', 'v', { ttlMs: HOUR_MS }))
    clock.advance(HOUR_MS - 1)
    assert.equal(await isThere(life, 'new'), true)
    clock.advance(1)
    assert.equal(await isThere(life, 'new'), false)
    await drive(clock, life.db.close())
  })

  test('expires while the database is closed', async () => {
    const life = await begin()
    const { clock } = life
    await drive(clock, life.db.put('key', 'v', { ttlMs: HOUR_MS }))
    await drive(clock, life.db.close())
    clock.advance(HOUR_MS)
    life.db = await openEngine(life.disk, { clock })
    assert.equal(await isThere(life, 'key'), false)
    await drive(clock, life.db.close())
  })

  test('comes back from the log with the expiry that the caller gave', async () => {
    const life = await begin()
    const { clock } = life
    clock.jumpWall(-DAY_MS)
    const expiryMs = clock.wallMs() + HOUR_MS
    const operations = [{ type: 'put', key: Buffer.of(1), value: Buffer.of(2), expiryMs } as const]
    await drive(clock, life.db.write(operations, { logData: Buffer.of(3) }))
    const batches: ChangeBatch[] = []
    await reopen(life, batch => void batches.push(batch))
    const [operation] = batches[0]!.operations
    assert.equal(operation?.type === 'put' && operation.expiryMs, expiryMs)
    await drive(clock, life.db.close())
  })
})
