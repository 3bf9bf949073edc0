// Goal: writes that wait for the disk are memory like any other: the block cache gives it up for as
// long as they wait, and what exceeds their share of the budget is refused, but for a single batch.
// Method: a simulated disk whose calls finish when the test says so; the memory of stats().
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db, DbStats } from '../../src/engine/index.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const MIB = 1024 * 1024
const VALUE = new Uint8Array(MIB / 2)

interface Subject {
  readonly db: Db
  readonly clock: SimClock
  /** Holds the disk up until the function that it returns is called. */
  readonly hold: () => () => void
}

/** A database with a full block cache, on a disk that can be held up. */
async function fullCache(): Promise<Subject> {
  let held: (() => void)[] | undefined
  const disk = new MemoryFileSystem({
    defer: step => (held === undefined ? queueMicrotask(step) : held.push(step)),
  })
  const options = {
    memoryBudget: 12 * MIB,
    memtableSize: MIB,
    tableSizeTarget: MIB,
    blockSize: 4096,
  }
  const clock = new SimClock()
  const db = await openEngine(disk, { options, clock })
  for (let at = 0; at < 40; at++) {
    const written = db.batch(
      Array.from({ length: 400 }, (_, index) => ({
        type: 'put' as const,
        key: `${at} ${index}`,
        value: VALUE.subarray(0, 900),
      })),
    )
    await drive(clock, written)
  }
  await drive(clock, db.compact())
  for await (const [key] of db.entries()) await db.get(key)
  const hold = () => {
    held = []
    return () => {
      const steps = held ?? []
      held = undefined
      for (const step of steps) step()
    }
  }
  return { db, clock, hold }
}

function cacheBytes({ memory }: DbStats): number {
  return memory.blockCache
}

describe('writes that wait', () => {
  test('take their memory from the block cache, and give it back', async () => {
    const { db, clock, hold } = await fullCache()
    const before = cacheBytes(db.stats())
    assert.ok(before > 3 * MIB, `${before} bytes are cached`)
    const release = hold()
    const writes = Array.from({ length: 6 }, (_, index) => db.put(`waits ${index}`, VALUE))
    assert.ok(db.stats().memory.writeQueue >= 3 * MIB)
    assert.ok(cacheBytes(db.stats()) <= before - 2 * MIB, 'it made room')
    release()
    await drive(clock, Promise.all(writes))
    assert.equal(db.stats().memory.writeQueue, 0)
    for await (const [key] of db.entries()) await db.get(key)
    assert.ok(cacheBytes(db.stats()) > before - MIB / 2, 'it may grow again')
    await drive(clock, db.close())
  })

  test('are refused beyond their share of the budget, but never a single batch', async () => {
    const { db, clock, hold } = await fullCache()
    const release = hold()
    const batch = Array.from({ length: 40 }, (_, index) => ({
      type: 'put' as const,
      key: `large ${index}`,
      value: VALUE,
    }))
    const refusal = { code: 'KV_OVERLOADED', outcome: 'rejected' }
    const taken: Promise<void>[] = []
    const refused: Promise<void>[] = []
    for (let index = 0; index < 20; index++) {
      const { writeQueue } = db.stats().memory
      const write = db.put(`waits ${index}`, VALUE)
      if (db.stats().memory.writeQueue > writeQueue) taken.push(write)
      else refused.push(assert.rejects(write, refusal))
    }
    assert.equal(taken.length, 15, 'what fits 8 MiB')
    release()
    await drive(clock, Promise.all([...taken, ...refused]))
    await drive(clock, db.batch(batch))
    assert.equal((await db.get('large 39'))?.length, VALUE.length)
    await drive(clock, db.close())
  })
})
