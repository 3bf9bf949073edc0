// Goal: a scan over much that is deleted, expired, overwritten or too new gives the event loop back
// all the time, goes on where it was, and finds what there is, in both directions.
// Method: databases on the simulated disk with thousands of such entries before a live one; turns
// of the event loop, and reads of the disk within one of them, are counted.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { Db, File } from '../../src/engine/index.ts'
import { Memtable } from '../../src/engine/memtable.ts'
import type { RangeFragment } from '../../src/engine/range-fragment.ts'
import { FragmentProbe } from '../../src/engine/range-probe.ts'
import { UndeletedCursor } from '../../src/engine/undeleted-cursor.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { ArrayCursor, textEntry } from '../support/table-model.ts'

const MIB = 1024 * 1024
const COUNT = 12_000
/** A slice passes 1,024 entries, and a few more. */
const TURNS_MIN = Math.floor(COUNT / 1100)
/** Nothing is flushed or compacted unless a test asks for it. */
const CALM = { memoryBudget: 16 * MIB, memtableSize: 4 * MIB, blockSize: 512 }

function keyOf(index: number): string {
  return `key ${`${index}`.padStart(6, '0')}`
}

/** Reads take a turn of the event loop, as on a real disk, unless they are synchronous. */
class SlowDisk extends MemoryFileSystem {
  override openSync(path: string): File {
    const file = super.openSync(path)
    const read = file.read.bind(file)
    file.read = async (target, targetOffset, length, position) => {
      await yieldToEventLoop()
      return read(target, targetOffset, length, position)
    }
    return file
  }
}

/** `write` for all numbers, a thousand at a time. */
async function batches(
  db: Db,
  write: (index: number) => Parameters<Db['batch']>[0][number],
): Promise<void> {
  for (let from = 0; from < COUNT; from += 1000) {
    const operations = Array.from({ length: 1000 }, (_, offset) => write(from + offset))
    await db.batch(operations, { durability: 'none' })
  }
}

const puts = (index: number) => ({ type: 'put', key: keyOf(index), value: 'v' }) as const
const deletes = (index: number) => ({ type: 'del', key: keyOf(index) }) as const

interface Found {
  readonly keys: string[]
  readonly turns: number
  /** Reads of the disk in one turn of the event loop, at most. */
  readonly readsMax: number
}

/** The first scan puts what is in memory in order, in turns that are not meant here. */
async function scanOnce(db: Db): Promise<void> {
  const empty = { lt: Uint8Array.of(0) }
  await db.readRange({ ...empty, reverse: false, keysOnly: true, countMax: 1, bytesMax: 1 })
}

/** The first key of the range, and what it took to find it. */
async function firstKey(
  db: Db,
  disk: MemoryFileSystem,
  reverse: boolean,
  snapshot = db.snapshot(),
): Promise<Found> {
  await scanOnce(db)
  let reads = 0
  let readsMax = 0
  let turns = 0
  disk.onCall = (_index, kind) => {
    if (kind === 'read') readsMax = Math.max(readsMax, ++reads)
  }
  const range = { reverse, keysOnly: true, countMax: 1, bytesMax: 1000, snapshot }
  const bounds = reverse ? { lt: new Uint8Array([0xff]) } : { gte: new Uint8Array([0x61]) }
  const reading = Promise.resolve(db.readRange({ ...range, ...bounds }))
  let isOver = false
  const watch = reading.then(() => {
    isOver = true
  })
  await Promise.resolve()
  await Promise.resolve()
  while (!isOver) {
    await yieldToEventLoop()
    turns++
    reads = 0
  }
  await watch
  disk.onCall = undefined
  snapshot.release()
  return { keys: (await reading).keys.map(utf8Decode), turns, readsMax }
}

test('a cursor that seeks and then goes back stands before the sought place', context => {
  const random = seededRandom(printSeed(context))
  for (let round = 0; round < 200; round++) {
    const entries = Array.from({ length: 100 }, (_, index) => textEntry(keyOf(index), 1, 'v'))
    const ranges: RangeFragment[] = []
    for (let first = random.below(5); first < 100; ) {
      const last = first + random.below(random.below(3) === 0 ? 15 : 2)
      const [start, end] = [utf8Encode(keyOf(first)), utf8Encode(keyOf(last + 1))]
      ranges.push({ start, end, sequences: [2 + ranges.length] })
      first = last + 1 + (random.below(4) === 0 ? 1 : 0)
    }
    const probe = new FragmentProbe(ranges)
    const [newer, own] = random.below(2) === 0 ? [[probe], undefined] : [[], probe]
    const cursor = new UndeletedCursor(new ArrayCursor(entries), newer, own, 2 ** 50)
    const sought = random.below(100)
    const key = utf8Encode(keyOf(sought))
    cursor.seek(key, 0, key.length, 2 ** 50)
    assert.ok(cursor.valid)
    cursor.prev()
    if (!cursor.valid) continue
    const found = utf8Decode(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd))
    assert.ok(found < keyOf(sought), `${found} behind ${keyOf(sought)}`)
  }
})

test('scans from any bound agree where much was deleted in pieces', async context => {
  const random = seededRandom(printSeed(context))
  for (let round = 0; round < 10; round++) {
    const db = await openEngine(new MemoryFileSystem(), { options: CALM })
    const numbers = Array.from({ length: 400 }, (_, index) => index)
    const alive = new Set(numbers)
    for (let layer = 0; layer < 3; layer++) {
      // What is below is hidden by the ranges of a newer layer, or by those of its own.
      for (const number of numbers) {
        if (layer > 0 && random.below(3) > 0) continue
        await db.put(keyOf(number), 'v', { durability: 'none' })
        alive.add(number)
      }
      for (let range = 0; range < 60; range++) {
        const first = random.below(400)
        const last = Math.min(first + random.below(12), 399)
        await db.deleteRange({ gte: keyOf(first), lte: keyOf(last) }, { durability: 'none' })
        for (let number = first; number <= last; number++) alive.delete(number)
      }
      if (layer < 2) await db.checkpoint(`/copy ${layer}`)
    }
    const all = numbers.filter(number => alive.has(number)).map(keyOf)
    for (let scan = 0; scan < 60; scan++) {
      const bound = keyOf(random.below(400))
      const reverse = random.below(2) === 0
      const range = reverse ? { lt: bound } : { gt: bound }
      const keys: string[] = []
      for await (const key of db.keys({ ...range, reverse })) keys.push(utf8Decode(key))
      const expected = all.filter(key => (reverse ? key < bound : key > bound))
      assert.deepEqual(keys, reverse ? expected.reverse() : expected)
    }
    await db.close()
  }
})

describe('scans of a memtable that is not in order yet', () => {
  test('share the turns in which it is put in order', async t => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { options: CALM, clock })
    const operations = Array.from({ length: 5000 }, (_, index) => {
      return { type: 'put', key: keyOf((index * 7919) % 5000), value: 'v' } as const
    })
    await drive(clock, db.batch(operations))
    const slices = t.mock.method(Memtable.prototype, 'prepareScan')
    const scans = Array.from({ length: 100 }, () => db.entries({ limit: 1 }).nextBatch(1))
    let turns = 0
    for (let before = 0; slices.mock.calls.at(-1)?.result !== true; turns++) {
      const { length } = slices.mock.calls
      assert.ok(length - before <= 1, `${length - before} slices in a turn`)
      before = length
      await yieldToEventLoop()
    }
    assert.ok(turns > 5, 'it takes turns')
    for (const [entry] of await drive(clock, Promise.all(scans))) {
      assert.equal(utf8Decode(entry![0]), keyOf(0))
    }
    await db.close()
  })
})

describe('a scan over many hidden entries', () => {
  for (const reverse of [false, true]) {
    const direction = reverse ? 'backward' : 'forward'

    test(`gives the loop back, ${direction}, over tombstones in memory`, async () => {
      const disk = new MemoryFileSystem()
      const db = await openEngine(disk, { options: CALM })
      await db.batch([puts(-1), puts(999_999)])
      await batches(db, puts)
      await batches(db, deletes)
      await db.delete(keyOf(reverse ? 999_999 : -1))
      const { keys, turns } = await firstKey(db, disk, reverse)
      assert.deepEqual(keys, [keyOf(reverse ? -1 : 999_999)])
      assert.ok(turns >= TURNS_MIN && turns < 10 * TURNS_MIN, `${turns} turns`)
      await db.close()
    })

    test(`gives the loop back, ${direction}, over a deleted range in memory`, async () => {
      const disk = new MemoryFileSystem()
      const db = await openEngine(disk, { options: CALM })
      await db.batch([puts(-1), puts(999_999)])
      await batches(db, puts)
      await db.deleteRange({ gte: keyOf(0), lt: keyOf(COUNT) })
      await db.delete(keyOf(reverse ? 999_999 : -1))
      const { keys, turns } = await firstKey(db, disk, reverse)
      assert.deepEqual(keys, [keyOf(reverse ? -1 : 999_999)])
      // It passes a few of them in a step.
      assert.ok(turns >= 1 && turns < TURNS_MIN, `${turns} turns`)
      await db.close()
    })

    for (const cacheSize of ['large', 'small'] as const) {
      test(`reads little in a turn, ${direction}, with a ${cacheSize} cache`, async () => {
        const disk = new SlowDisk()
        const clock = new SimClock()
        // What a snapshot sees stays on the disk.
        const options = { ...CALM, level0CompactionTrigger: 100 }
        const first = await openEngine(disk, { clock, options })
        await first.batch([puts(-1), puts(999_999)])
        await batches(first, puts)
        const held = first.snapshot()
        await batches(first, deletes)
        await first.delete(keyOf(reverse ? 999_999 : -1))
        await drive(clock, first.checkpoint('/copy'))
        held.release()
        await drive(clock, first.close())
        const memory =
          cacheSize === 'large'
            ? {}
            : { memoryBudget: MIB, memtableSize: Math.floor(MIB / 5), blockSize: 512 }
        const again = { clock, directory: '/copy', options: { ...options, ...memory } }
        const db = await openEngine(disk, again)
        const { keys, turns, readsMax } = await firstKey(db, disk, reverse)
        assert.deepEqual(keys, [keyOf(reverse ? -1 : 999_999)])
        assert.ok(turns >= TURNS_MIN, `${turns} turns`)
        assert.ok(readsMax <= 40, `${readsMax} reads in a turn`)
        await drive(clock, db.close())
      })
    }

    for (const kind of ['tombstones', 'a deleted range', 'newer entries'] as const) {
      test(`stops at the end of its range, ${direction}, among ${kind}`, async () => {
        const db = await openEngine(new MemoryFileSystem(), { options: CALM })
        await db.batch([puts(-1), puts(999_999)])
        using snapshot = kind === 'newer entries' ? db.snapshot() : undefined
        await batches(db, puts)
        if (kind === 'tombstones') await batches(db, deletes)
        if (kind === 'a deleted range') await db.deleteRange({ gte: keyOf(0), lt: keyOf(COUNT) })
        const start = reverse ? COUNT - 110 : 100
        const [first, end] = [utf8Encode(keyOf(start)), utf8Encode(keyOf(start + 10))]
        const range = { reverse, keysOnly: true, countMax: 10, bytesMax: 1000, snapshot }
        await scanOnce(db)
        // Within one slice: a promise would mean that there was more to pass.
        const chunk = db.readRange({ ...range, gte: first, lt: end })
        assert.ok(!(chunk instanceof Promise), 'it is over within a slice')
        assert.deepEqual(chunk.keys, [])
        assert.ok(chunk.done)
        const isAtEnd = db.leap({
          reverse,
          snapshot,
          from: reverse ? end : first,
          end: reverse ? first : end,
          isInclusive: true,
          arrive: () => assert.fail('it comes to no entry'),
        })
        assert.equal(isAtEnd, true)
        await db.close()
      })
    }

    test(`passes the many versions of a key at once, ${direction}`, async () => {
      const disk = new MemoryFileSystem()
      const db = await openEngine(disk, { options: CALM })
      await db.put('hot', 'first', { durability: 'none' })
      const old = db.snapshot()
      for (let from = 0; from < COUNT; from += 1000) {
        const version = { type: 'put', key: 'hot', value: 'again' } as const
        await db.batch(
          Array.from({ length: 1000 }, () => version),
          { durability: 'none' },
        )
      }
      await db.batch([
        { type: 'del', key: 'hot' },
        { type: 'put', key: reverse ? 'a' : 'z', value: 'v' },
      ])
      assert.deepEqual(await firstKey(db, disk, reverse, old), {
        keys: ['hot'],
        turns: 0,
        readsMax: 0,
      })
      assert.deepEqual(await firstKey(db, disk, reverse), {
        keys: [reverse ? 'a' : 'z'],
        turns: 0,
        readsMax: 0,
      })
      await db.close()
    })
  }
})
