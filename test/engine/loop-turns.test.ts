// Goal: a caller who awaits hot operations one after another never keeps the event loop for itself.
// Method: one loop of awaited reads, one of unsynced writes, on a clock that moves with every look;
// meanwhile setImmediate counts turns. Without LoopTurns the count stays at 0.
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
