// Goal: a large batch leaves the event loop to others, and is still one batch: atomic, in the place
// of its call among the writes before and behind it, refused whole, and there after a crash.
// Method: a simulated disk; turns of the loop are counted while batches of many operations or bytes
// are written, between small ones on the same keys; power is lost at every call of the disk.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db, EmbeddedOperation } from '../../src/engine/index.ts'
import { seededRandom } from '../../src/random.ts'
import { openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const LARGE = { memoryBudget: 64 * 1024 * 1024, memtableSize: 4 * 1024 * 1024 }
const WRONG = { code: 'KV_INVALID_ARGUMENT', outcome: 'rejected' }

/** Every look at it finds it 2 ms later. */
class RunningClock extends SimClock {
  #looks = 0

  override monotonicMs(): number {
    return super.monotonicMs() + 2 * this.#looks++
  }
}

function keyOf(index: number): string {
  return `key ${String(index).padStart(6, '0')}`
}

function puts(count: number, value: string | Uint8Array): EmbeddedOperation[] {
  return Array.from({ length: count }, (_, index) => ({ type: 'put', key: keyOf(index), value }))
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value && new TextDecoder().decode(value)
}

/** Turns of the event loop while `work` runs. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
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

/** How many of the keys have this value. */
function countOf(db: Db, count: number, value: string): number {
  let found = 0
  for (let index = 0; index < count; index++) {
    if (textOf(db.getSync(keyOf(index))) === value) found++
  }
  return found
}

describe('a large batch', () => {
  test('lets the event loop turn, by operations and by bytes', async () => {
    const db = await openEngine(new MemoryFileSystem(), { options: LARGE })
    // Conversion and encoding take a slice for 500 operations, the memtable one for 200.
    const many = await turnsDuring(() => db.batch(puts(10_000, 'x')))
    assert.ok(many >= 19 + 19 + 50, `${many} turns`)
    const value = new Uint8Array(64 * 1024)
    const heavy = await turnsDuring(() => db.batch(puts(100, value)))
    // Encoding takes a slice for 512 KiB, the memtable one for 256.
    assert.ok(heavy >= 12 + 30, `${heavy} turns`)
    assert.equal((await db.get(keyOf(99)))?.length, value.length)
    assert.equal(textOf(await db.get(keyOf(9999))), 'x')
    await db.close()
  })

  test('keeps its place among small ones, and shows itself whole', async () => {
    const db = await openEngine(new MemoryFileSystem(), { options: LARGE })
    const before = db.put(keyOf(7), 'before')
    const large = db.batch(puts(2000, 'large'), { durability: 'interval' })
    const behind = db.put(keyOf(8), 'behind', { durability: 'interval' })
    const second = db.batch([...puts(700, 'second'), { type: 'del', key: keyOf(9) }])
    const last = db.put(keyOf(10), 'last', { durability: 'none' })
    let done = false
    const watching = (async () => {
      while (!done) {
        const found = countOf(db, 2000, 'large')
        assert.ok([0, 2000, 1999, 1299].includes(found), `${found} of the batch are visible`)
        await new Promise(resolve => setImmediate(resolve))
      }
    })()
    await before
    assert.equal(countOf(db, 2000, 'large'), 0)
    await Promise.all([large, behind, second, last])
    done = true
    await watching
    assert.equal(countOf(db, 2000, 'second'), 698)
    assert.equal(countOf(db, 2000, 'large'), 1300)
    assert.deepEqual(
      [7, 8, 9, 10].map(index => textOf(db.getSync(keyOf(index)))),
      ['second', 'second', undefined, 'last'],
    )
    await db.close()
  })

  test('tells its sequences, also between others', async () => {
    const db = await openEngine(new MemoryFileSystem(), { options: LARGE })
    const bytes = Array.from({ length: 1000 }, (_, index) => ({
      type: 'del' as const,
      key: new TextEncoder().encode(keyOf(index)),
    }))
    const first = db.commit(bytes.slice(0, 3))
    const large = db.commit(bytes, { logData: new Uint8Array(5) })
    const after = db.commit(bytes.slice(0, 2))
    assert.deepEqual(await first, { sequence: 1, lastSequence: 3 })
    assert.deepEqual(await large, { sequence: 4, lastSequence: 1003 })
    assert.deepEqual(await after, { sequence: 1004, lastSequence: 1005 })
    await db.close()
  })

  test('is refused whole, and those behind it are not', async () => {
    const db = await openEngine(new MemoryFileSystem(), { options: LARGE })
    const wrong = [...puts(1500, 'x'), { type: 'put' as const, key: '', value: 'x' }]
    const tooLarge = puts(600, new Uint8Array(120 * 1024))
    // Beside others it would be refused for them before its size is known.
    await assert.rejects(db.batch(tooLarge), WRONG)
    const refused = [
      assert.rejects(db.batch(wrong), WRONG),
      assert.rejects(db.batch(puts(600, 'x').concat([{ type: 'get' } as never])), WRONG),
    ]
    await db.put('behind', '1')
    await Promise.all(refused)
    assert.equal(countOf(db, 1500, 'x'), 0)
    assert.equal(db.stats().sequence, 1)
    const nothing = Array.from({ length: 600 }, () => ({
      type: 'del-range' as const,
      gte: 'b',
      lt: 'a',
    }))
    await db.batch(nothing)
    await assert.rejects(db.batch(nothing, { logData: 'x' }), WRONG)
    assert.equal(db.stats().sequence, 1)
    assert.equal(db.stats().writes.queuedBytes, 0)
    await db.close()
  })

  test('whose list was emptied meanwhile is refused, not cut short', async () => {
    const db = await openEngine(new MemoryFileSystem(), { options: LARGE })
    for (const change of [
      (list: EmbeddedOperation[]) => list.splice(0),
      (list: EmbeddedOperation[]) => list.splice(700),
      (list: EmbeddedOperation[]) => list.push(...puts(10, 'x')),
    ]) {
      const list = puts(1000, 'x')
      const batch = db.batch(list)
      change(list)
      await assert.rejects(batch, WRONG)
      assert.equal(countOf(db, 1000, 'x'), 0)
    }
    await db.close()
  })

  test('is replayed with turns of the event loop', async () => {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk, { options: LARGE })
    await db.batch(puts(10_000, 'x'))
    await db.batch([{ type: 'put', key: 'last', value: '1' }])
    const killed = disk.processCrashClone()
    await db.close()
    let again: Db | undefined
    const turns = await turnsDuring(async () => {
      again = await openEngine(killed, { options: LARGE, clock: new RunningClock() })
    })
    // A look at the clock for 250 operations, and each finds the slice over.
    assert.ok(turns >= 40, `${turns} turns`)
    assert.ok(again !== undefined)
    assert.equal(countOf(again, 10_000, 'x'), 10_000)
    assert.equal(textOf(await again.get('last')), '1')
    await again.close()
  })

  test('is there whole or not at all after a power loss', async () => {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk, { options: LARGE })
    await db.batch(puts(600, 'first'))
    const survivors: MemoryFileSystem[] = []
    const random = seededRandom(5)
    disk.onCall = () => survivors.push(disk.crashClone(random, { keep: 'random' }))
    // More than one slice of the sum over the frame.
    const value = 'v'.repeat(4000)
    await db.batch(puts(700, value))
    disk.onCall = undefined
    survivors.push(disk.crashClone(random, { keep: 'nothing' }))
    await db.close()
    assert.ok(survivors.length > 3)
    for (const [at, survivor] of survivors.entries()) {
      const again = await openEngine(survivor, { options: LARGE })
      const found = countOf(again, 700, value)
      assert.ok(found === 0 || found === 700, `${found} of 700`)
      if (at === survivors.length - 1) assert.equal(found, 700, 'it was acknowledged')
      if (found === 0) assert.equal(countOf(again, 600, 'first'), 600)
      await again.close()
    }
  })
})
