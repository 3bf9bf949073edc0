// Goal: whoever applies the change feed to a map has what the database has, at every sequence, and
// nothing that a crash takes back; whatever is written beside it, however slow he is.
// Method: random writes of all kinds and durabilities with tiny memtables, and followers that
// begin, pause, end and go on; each compared with a snapshot of the database at a sequence that he
// passes. Then lives with power losses and kills at random calls, over which a follower keeps his
// place.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { systemErrorCode } from '../../src/engine/file-system.ts'
import type { ChangeFeed, Db, DbOptions, EmbeddedOperation } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { ChangeFollower } from '../support/change-follower.ts'
import { readState } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const TINY = { memtableSize: 4096 }
/** So many that every seed flushes and has log data often enough. */
const ROUNDS = 120
const DURABILITIES: readonly Durability[] = ['sync', 'interval', 'none']
const MOSTLY_UNSYNCED: readonly Durability[] = [...Array(7).fill('interval'), 'none', 'sync']

function operation(random: Random): EmbeddedOperation {
  const key = `key-${random.below(60)}`
  const die = random.below(10)
  if (die === 0) return { type: 'del-range', gte: key, lt: `${key}~` }
  if (die < 3) return { type: 'del', key }
  const value = `${random.below(1000)}${'.'.repeat(random.below(80))}`
  return { type: 'put', key, value, ...(die < 5 && { ttlMs: 1 + random.below(60_000) }) }
}

/** A few writes at once. Resolves when all were acknowledged. */
async function write(
  db: Db,
  random: Random,
  durabilities: readonly Durability[] = DURABILITIES,
): Promise<void> {
  const written: Promise<void>[] = []
  for (let count = 1 + random.below(5); count > 0; count--) {
    const operations = Array.from({ length: 1 + random.below(6) }, () => operation(random))
    const durability = durabilities[random.below(durabilities.length)]!
    const logData = random.below(3) === 0 ? { logData: `log ${random.below(100)}` } : {}
    written.push(db.batch(operations, { durability, ...logData }))
  }
  await Promise.all(written)
}

async function begin(disk: MemoryFileSystem, clock: SimClock, options: DbOptions = {}) {
  return openEngine(disk, { clock, options: { ...TINY, ...options } })
}

describe('the change feed', () => {
  test('replayed is the database, at each sequence', async t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const db = await begin(new MemoryFileSystem(), clock)
    const slow = { feed: db.changes({ after: 0 }), follower: new ChangeFollower() }
    const live = { feed: db.changes(), follower: new ChangeFollower() }
    for (let round = 0; round < ROUNDS; round++) {
      await drive(clock, write(db, random))
      using snapshot = db.snapshot()
      const { sequence } = db.stats()
      const everyone = random.below(8) === 0 ? [live, slow] : [live]
      for (const { feed, follower } of everyone) {
        await drive(clock, follower.follow(feed, sequence))
        // More cannot have come: nothing else was written, and a group is given out whole.
        assert.equal(follower.sequence, sequence)
        const expected = await readState({ entries: () => db.entries({ snapshot }) })
        assert.deepEqual(follower.state(clock.wallMs()), expected)
      }
      if (random.below(10) > 0) continue
      // Another one goes on in his place, and begins to wait before there is anything.
      await live.feed.close()
      live.feed = db.changes({ after: live.follower.sequence })
    }
    await drive(clock, slow.follower.follow(slow.feed, db.stats().sequence))
    assert.deepEqual(slow.follower.entries, live.follower.entries)
    assert.deepEqual(slow.follower.logData, live.follower.logData)
    assert.ok(db.stats().flushes.count > 10 && slow.follower.logData.length > 20)
    assert.equal(db.stats().walHolds.count, 2)
    await drive(clock, db.close())
    await assert.rejects(slow.feed.next(), { code: 'KV_CLOSED' })
  })

  test('gives out nothing that a crash takes back', async t => {
    const random = seededRandom(printSeed(t))
    let given = 0
    let crashes = 0
    let gone = 0
    for (let life = 0; life < 4; life++) {
      let disk = new MemoryFileSystem()
      const follower = new ChangeFollower()
      const durabilities = life % 2 === 0 ? MOSTLY_UNSYNCED : (['sync'] as const)
      let end: string | undefined
      for (let ending = 0; ending < 5 && end !== 'KV_CHANGES_GONE'; ending++) {
        const clock = new SimClock()
        const holdWalFrom = follower.sequence + 1
        const db = await begin(disk, clock, { holdWalFrom })
        assert.equal(db.openingHold!.broken, false, `${holdWalFrom} is held`)
        const following = followUntilEnd(db.changes({ after: follower.sequence }), follower)
        const writeSome = async () => {
          await drive(clock, write(db, random, durabilities))
          nudge(db)
          // Whoever wants to read what is not durable has his chance.
          await yieldToEventLoop()
        }
        for (let round = random.below(20); round > 0; round--) await writeSome()
        disk = await crash(disk, random, writeSome)
        await drive(clock, db.close()).catch(() => undefined)
        end = await following
        crashes++
      }
      given += follower.batchCount
      if (end !== 'KV_CHANGES_GONE') end = await catchUp(disk, follower)
      if (end !== 'KV_CHANGES_GONE') continue
      // Writes that asked for less may come to be in tables only: killed, then without power.
      assert.ok(life % 2 === 0, 'the log has all that was synced')
      gone++
    }
    assert.ok(given > 100, `${given} batches in ${crashes} lives`)
    t.diagnostic(`${given} batches in ${crashes} lives, ${gone} followers had to start over`)
  })

  test('waits for the sync of a write that asked for less', async () => {
    const clock = new SimClock()
    const db = await begin(new MemoryFileSystem(), clock, { syncIntervalMs: 50 })
    const feed = db.changes()
    let got = 0
    const next = feed.next().then(() => got++)
    await db.put('a', '1', { durability: 'none' })
    await db.put('b', '2', { durability: 'interval' })
    for (let turn = 0; turn < 20; turn++) {
      nudge(db)
      await yieldToEventLoop()
    }
    assert.equal(got, 0)
    await clock.advanceAsync(50)
    await next
    assert.equal(feed.sequence, 1)
    assert.equal((await feed.next()).value?.sequence, 2)
    // One that waits gets a synced write without any timer.
    const live = feed.next()
    await db.put('c', '3')
    for (let turn = 0; turn < 20; turn++) await yieldToEventLoop()
    assert.equal(feed.sequence, 3)
    await live
    await feed.close()
    await drive(clock, db.close())
  })

  test('ends: by the loop, by its signal, by close, by the database that failed', async () => {
    const clock = new SimClock()
    const disk = new MemoryFileSystem()
    const db = await begin(disk, clock)
    await db.put('a', '1')
    for await (const batch of db.changes({ after: 0 })) if (batch.sequence === 1) break
    assert.equal(db.stats().walHolds.count, 0)
    await db.put('a', '2')
    const held = db.changes({ after: 0 })
    for (const sequence of [1, 2]) {
      await held.next()
      // The batch that was given out may still be wanted, and none before it.
      assert.equal(db.stats().walHolds.oldestSequence, sequence)
    }
    await held.close()

    const controller = new AbortController()
    const aborted = db.changes({ signal: controller.signal }).next()
    controller.abort()
    await assert.rejects(aborted, { code: 'KV_ABORTED' })
    // Also one that nobody asks just now lets go of the log.
    const other = new AbortController()
    const idle = db.changes({ after: 0, signal: other.signal })
    await idle.next()
    other.abort()
    await yieldToEventLoop()
    assert.equal(db.stats().walHolds.count, 0)
    await assert.rejects(idle.next(), { code: 'KV_ABORTED' })
    const closed = db.changes()
    const waiting = closed.next()
    await closed.close()
    assert.deepEqual(await waiting, { done: true, value: undefined })
    assert.deepEqual(await closed.next(), { done: true, value: undefined })

    await db.put('b', '2')
    const failing = db.changes({ after: 0 })
    disk.powerOff()
    await assert.rejects(drive(clock, db.put('c', '3')), { code: 'KV_POISONED' })
    await assert.rejects(failing.next(), Error)
    assert.equal(db.stats().walHolds.count, 0)
    await db.close().catch(() => undefined)
  })

  test('says so where the log is gone, and never skips', async () => {
    const gone = { code: 'KV_CHANGES_GONE', action: 'start-over' }
    const clock = new SimClock()
    const disk = new MemoryFileSystem()
    const db = await begin(disk, clock, { heldWalSizeMax: 10_000 })
    assert.throws(() => db.changes({ after: 5 }), { code: 'KV_INVALID_ARGUMENT' })
    const dead = db.changes({ after: 0 })
    await db.put('first', '1')
    assert.equal((await dead.next()).value?.sequence, 1)
    for (let index = 0; index < 300; index++) {
      await drive(clock, db.put(`key-${index}`, 'x'.repeat(100)))
    }
    await assert.rejects(dead.next(), gone)
    assert.throws(() => db.changes({ after: 10 }), gone)
    const { walHolds, sequence } = db.stats()
    assert.deepEqual([walHolds.count, walHolds.broken], [0, 1])
    await drive(clock, db.close())

    // Opened without a hold the log begins anew; with one it has what is left.
    const again = await begin(disk, clock)
    assert.throws(() => again.changes({ after: sequence - 1 }), gone)
    const follower = new ChangeFollower()
    follower.sequence = sequence
    const feed = again.changes({ after: sequence })
    await drive(clock, again.put('later', '2'))
    await drive(clock, follower.follow(feed, sequence + 1))
    await drive(clock, again.close())
  })

  test('puts a large batch together in turns, and gives it out when it is visible', async () => {
    const clock = new SimClock()
    const db = await begin(new MemoryFileSystem(), clock)
    const operations = Array.from({ length: 5000 }, (_, index) => {
      return { type: 'put', key: `key-${index}`, value: 'value' } as const
    })
    const feed = db.changes()
    let turns = 0
    let running = true
    const count = async () => {
      for (; running; turns++) {
        nudge(db)
        await yieldToEventLoop()
      }
    }
    const counting = count()
    const written = db.batch(operations)
    const { value } = await feed.next()
    assert.ok(db.getSync('key-4999') !== undefined, 'what was delivered is visible')
    running = false
    await counting
    await written
    assert.equal(value?.operations.length, 5000)
    assert.ok(turns >= 9, `${turns} turns`)
    await feed.close()
    await drive(clock, db.close())
  })
})

/** Returns the code of the error with which the feed ends. */
async function followUntilEnd(feed: ChangeFeed, follower: ChangeFollower): Promise<string> {
  try {
    for await (const batch of feed) follower.apply(batch)
  } catch (error) {
    if (error instanceof KvError) return error.code
    if (systemErrorCode(error) !== 'EIO') throw error
  }
  return 'none'
}

/** Makes all feeds look whether there is more, also when there is not. */
function nudge(db: Db): void {
  void db.changes().close()
}

/** Writes until the machine fails, some calls from now, and returns what is left of the disk. */
async function crash(
  disk: MemoryFileSystem,
  random: Random,
  writeSome: () => Promise<void>,
): Promise<MemoryFileSystem> {
  let survivor: MemoryFileSystem | undefined
  const at = disk.callCount + random.below(60)
  disk.onCall = index => {
    if (index < at || survivor !== undefined) return
    survivor =
      random.below(3) === 0
        ? disk.processCrashClone(random)
        : disk.crashClone(random, { keep: random.below(2) === 0 ? 'nothing' : 'random' })
    disk.powerOff()
  }
  while (survivor === undefined) {
    await writeSome().catch(() => undefined)
    await yieldToEventLoop()
  }
  return survivor
}

/** Follows to the end, and must then have what the database has. */
async function catchUp(disk: MemoryFileSystem, follower: ChangeFollower): Promise<string> {
  const clock = new SimClock()
  const db = await begin(disk, clock, { holdWalFrom: follower.sequence + 1 })
  const feed = db.changes({ after: follower.sequence })
  try {
    await drive(clock, follower.follow(feed, db.stats().sequence))
    // The clocks of the lives began anew, so nothing is said of what has expired.
    const live = await readState(db)
    for (const [key, value] of live) assert.equal(follower.entries.get(key)?.value, value)
    for (const [key, { expiryMs }] of follower.entries) if (expiryMs === 0) assert.ok(live.has(key))
  } catch (error) {
    if (error instanceof KvError) return error.code
    throw error
  } finally {
    await drive(clock, db.close())
  }
  return 'none'
}
