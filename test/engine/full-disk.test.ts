// Goal: when the work in the background keeps failing, writes are refused with the reason, reads go
// on, close() ends, and everything works again once there is room; and the log stays bounded.
// Method: a simulated disk on which no table can be written, on a clock that runs by itself.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { type Db, InlineExecutor, open, openInEnvironment } from '../../src/engine/index.ts'
import { IoError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const hasher = await loadHasher()
const SMALL = { memtableSize: 16 * 1024, tableSizeTarget: 8 * 1024, baseLevelSize: 16 * 1024 }
const VALUE = new Uint8Array(500)

async function openFull(): Promise<{ db: Db; clock: SimClock; fillAgain: () => void }> {
  const clock = new SimClock()
  const fileSystem = new FailingFileSystem(new MemoryFileSystem())
  const isTable = (path: string) => path.endsWith('.sst')
  const full = fileSystem.fail({ fault: 'ENOSPC', kind: 'write', path: isTable, forever: true })
  const executor = new InlineExecutor({ fileSystem, hasher, clock })
  const environment = { fileSystem, executor, clock, random: seededRandom(1) }
  const db = await openInEnvironment('/db', SMALL, environment)
  return { db, clock, fillAgain: () => full.remove() }
}

/** What comes of the promise while time passes. */
async function inTime<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const settle = () => {
    settled = true
  }
  promise.then(settle, settle)
  for (let turn = 0; turn < 200 && !settled; turn++) await clock.advanceAsync(100)
  assert.ok(settled, 'it ended or was refused')
  return await promise
}

/** Returns how many writes were taken before one was refused. */
async function writeUntilRefused(db: Db, clock: SimClock): Promise<number> {
  for (let count = 0; count < 1000; count++) {
    try {
      await inTime(clock, db.put(`key ${count}`, VALUE))
    } catch (error) {
      assert.ok(error instanceof IoError)
      assert.match(error.message, /ENOSPC.*reads go on/)
      assert.equal(error.outcome, 'rejected')
      return count
    }
  }
  return assert.fail('no write was refused')
}

describe('a disk on which no table can be written', () => {
  test('writes are refused, reads go on, and all is well when there is room', async () => {
    const { db, clock, fillAgain } = await openFull()
    const taken = await writeUntilRefused(db, clock)
    assert.ok(taken > 10)
    await assert.rejects(inTime(clock, db.put('another', VALUE)), IoError)
    assert.equal(db.stats().writesRefusedFor, 'space')
    for (let count = 0; count < taken; count++) {
      assert.equal((await db.get(`key ${count}`))?.length, VALUE.length)
    }
    fillAgain()
    for (let turn = 0; turn < 10; turn++) await clock.advanceAsync(10_000)
    await inTime(clock, db.put('another', VALUE))
    assert.equal(db.stats().writesRefusedFor, undefined)
    await inTime(clock, db.close())
  })

  test('close() comes to its end', async () => {
    const { db, clock } = await openFull()
    await writeUntilRefused(db, clock)
    await inTime(clock, db.close())
  })
})

test('log data does not make the log grow without bound', async t => {
  await using db = await open(temporaryDirectory(t), { memoryBudget: 1024 * 1024 })
  const logData = new Uint8Array(256 * 1024)
  for (let count = 0; count < 40; count++) {
    await db.batch([{ type: 'put', key: 'a', value: '1' }], { logData, durability: 'interval' })
  }
  // Flushed on another thread, then removed: it comes to that without another write, or never.
  while (db.stats().walBytes >= 20 * logData.length) await yieldToEventLoop()
  assert.ok(db.stats().flushes.count > 0, 'the log was retired')
})
