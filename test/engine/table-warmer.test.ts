// Goal: after flushes and compactions reads find their blocks in memory when there is room.
// Method: databases with and without the option, whose reads are counted that wait for the disk.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { Db } from '../../src/engine/index.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const KEY_COUNT = 400
const MIB = 1024 * 1024

async function openFilled(options: {
  warmTables: boolean
  memoryBudget: number
  openFilesMax?: number
}): Promise<{ db: Db; clock: SimClock }> {
  const clock = new SimClock()
  const db = await openEngine(new MemoryFileSystem(), { clock, options })
  for (let index = 0; index < KEY_COUNT; index++) {
    await drive(clock, db.put(`key-${index}`, 'v'.repeat(100)))
  }
  await drive(clock, db.compact())
  return { db, clock }
}

/** Reads every key; gives how many reads waited for the disk. */
async function readAll(db: Db, clock: SimClock): Promise<number> {
  const before = db.stats().reads.waits
  for (let index = 0; index < KEY_COUNT; index++) {
    const value = await drive(clock, db.get(`key-${index}`))
    assert.equal(value?.length, 100)
  }
  return db.stats().reads.waits - before
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 500; turn++) await yieldToEventLoop()
}

describe('new tables', () => {
  test('are in memory before they are read', async () => {
    const options = { memoryBudget: 16 * MIB, openFilesMax: 100 }
    const warm = await openFilled({ ...options, warmTables: true })
    await settle()
    assert.equal(await readAll(warm.db, warm.clock), 0)
    const cold = await openFilled({ ...options, warmTables: false })
    await settle()
    assert.ok((await readAll(cold.db, cold.clock)) > 20)
    for (const { db, clock } of [warm, cold]) await drive(clock, db.close())
  })
})
