// Goal: a caller who awaits hot operations one after another never keeps the event loop for itself.
// Method: loops of awaited reads, of short scans and of unsynced writes, on a clock that moves with
// every look; meanwhile setImmediate counts turns. Without LoopTurns, and for scans the budget that
// they share, the count stays at 0.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Db, InlineExecutor, openInEnvironment } from '../../src/engine/index.ts'
import { LoopTurns } from '../../src/engine/loop-turns.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const hasher = await loadHasher()

/** Every look at it finds it 2 ms later. */
class RunningClock extends SimClock {
  #looks = 0

  override monotonicMs(): number {
    return super.monotonicMs() + 2 * this.#looks++
  }
}

/** Turns of the event loop while `work` runs. */
async function turnsDuring(work: () => Promise<void>): Promise<number> {
  let turns = 0
  let timer: NodeJS.Immediate
  const count = () => {
    turns++
    timer = setImmediate(count)
  }
  timer = setImmediate(count)
  await work()
  clearImmediate(timer)
  return turns
}

async function openDb(): Promise<Db> {
  const [fileSystem, clock] = [new MemoryFileSystem(), new RunningClock()]
  const executor = new InlineExecutor({ fileSystem, hasher, clock })
  return await openInEnvironment(
    '/db',
    {},
    { fileSystem, executor, clock, random: seededRandom(1) },
  )
}

describe('turns of the event loop', () => {
  test('reads from memory let it turn', async () => {
    await using db = await openDb()
    await db.put('a', '1')
    const turns = await turnsDuring(async () => {
      for (let count = 0; count < 1280; count++) await db.get('a')
    })
    assert.ok(turns >= 10, `${turns} turns`)
  })

  test('reads of many keys, and whether they are there, let it turn', async () => {
    await using db = await openDb()
    await db.put('a', '1')
    const many = Array.from({ length: 1280 }, () => 'a')
    const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['has', () => db.has('a')],
      ['getMany of one', () => db.getMany(['a'])],
      ['approximateSize', () => db.approximateSize({ gte: 'a' })],
    ]
    for (const [name, call] of calls) {
      const turns = await turnsDuring(async () => {
        for (let count = 0; count < 1280; count++) await call()
      })
      assert.ok(turns >= 10, `${name}: ${turns} turns`)
    }
    const turns = await turnsDuring(async () => {
      const values = await db.getMany(many)
      assert.equal(values.length, many.length)
      assert.ok(values.every(value => value?.[0] === 49))
    })
    assert.ok(turns >= 9, `getMany of many: ${turns} turns`)
  })

  test('short scans one after another let it turn', async () => {
    await using db = await openDb()
    await db.put('a', '1')
    const turns = await turnsDuring(async () => {
      for (let count = 0; count < 300; count++) {
        for await (const key of db.keys({ limit: 1 })) assert.equal(key.length, 1)
      }
    })
    assert.ok(turns >= 10, `${turns} turns`)
  })

  test('unsynced writes let it turn', async () => {
    await using db = await openDb()
    const turns = await turnsDuring(async () => {
      for (let count = 0; count < 1280; count++) await db.put('a', '1', { durability: 'none' })
    })
    assert.ok(turns >= 10, `${turns} turns`)
  })

  test('nobody waits within the same millisecond', () => {
    const turns = new LoopTurns(new SimClock())
    for (let count = 0; count < 10_000; count++) assert.equal(turns.count(), undefined)
  })
})
