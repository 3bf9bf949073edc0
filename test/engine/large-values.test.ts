// Goal: values that are copied and summed up in slices, with turns of the event loop between, are
// read as they were written, wherever they are and whatever goes on meanwhile.
// Method: values about the size at which slicing begins, in memtables and tables, in caches that
// take them and in one that does not, compressed or not; reads beside writes, flushes and the use
// of the same memory by later memtables; a table that is damaged at each part of a large block.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db, DbOptions, DbTuning } from '../../src/engine/index.ts'
import { LARGE_SIZE_MIN } from '../../src/engine/slices.ts'
import { CorruptionError } from '../../src/errors.ts'
import { KEY_SIZE_MAX, type ScanOptions, VALUE_SIZE_MAX } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const KiB = 1024
const MiB = 1024 * KiB
const SIZES = [LARGE_SIZE_MIN - 100, LARGE_SIZE_MIN, LARGE_SIZE_MIN + 1, 3 * MiB + 17]

/** So many bytes, half of them random, so that they can be compressed. */
function largeValue(size: number, seed: number): Uint8Array {
  const value = new Uint8Array(size)
  value.set(seededRandom(seed).bytes(size >>> 1))
  value[size - 1] = seed
  return value
}

function expectValue(found: Uint8Array | undefined, expected: Uint8Array, what: string): void {
  assert.equal(Buffer.compare(found ?? new Uint8Array(0), expected), 0, what)
}

/** Waits as long as it takes: large blocks are decompressed by real threads, without the clock. */
async function expectAll(db: Db, values: readonly Uint8Array[]): Promise<void> {
  const keys = values.map((_, index) => `key ${index}`)
  const many = await db.getMany(keys)
  for (const [index, value] of values.entries()) {
    const key = keys[index]!
    expectValue(await db.get(key), value, `get of ${key}`)
    expectValue(many[index], value, `getMany of ${key}`)
    expectValue(db.getSync(key), value, `getSync of ${key}`)
    assert.equal(await db.has(key), true)
  }
  let count = 0
  for await (const [, value] of db.entries()) expectValue(value, values[count++]!, 'a scan')
  assert.equal(count, values.length)
  const backwards = db.entries({ reverse: true })
  for await (const [, value] of backwards) expectValue(value, values[--count]!, 'in reverse')
  assert.equal(count, 0)
}

/** Turns of the event loop until the work is done. */
async function turnsDuring<T>(work: () => Promise<T>): Promise<[result: T, turns: number]> {
  let turns = 0
  let timer = setImmediate(function count() {
    turns++
    timer = setImmediate(count)
  })
  try {
    return [await work(), turns]
  } finally {
    clearImmediate(timer)
  }
}

async function first(db: Db, options: ScanOptions): Promise<Uint8Array | undefined> {
  await using scan = db.entries(options)
  return (await scan.nextBatch(10))[0]?.[1]
}

describe('large values', () => {
  const cases: readonly [string, DbOptions & DbTuning][] = [
    ['in a cache that takes them', { memoryBudget: 128 * MiB }],
    ['in a cache that takes none', { memoryBudget: 4 * MiB }],
    ['compressed', { memoryBudget: 128 * MiB, compression: 'deflate' }],
    ['compressed, in a cache that takes none', { memoryBudget: 4 * MiB, compression: 'deflate' }],
  ]
  for (const [name, options] of cases) {
    test(`${name} are read as they were written`, async () => {
      const disk = new MemoryFileSystem()
      const clock = new SimClock()
      const all = { memtableSize: 16 * MiB, tableSizeTarget: 8 * MiB, ...options }
      const db = await openEngine(disk, { clock, options: all })
      const values = SIZES.map(largeValue)
      for (const [index, value] of values.entries()) {
        const durability = (['sync', 'interval', 'none'] as const)[index % 3]!
        await drive(clock, db.put(`key ${index}`, value, { durability }))
      }
      await expectAll(db, values)
      await drive(clock, db.compact())
      await expectAll(db, values)
      await expectAll(db, values)
      await drive(clock, db.close())
      const again = await openEngine(disk, { clock, options: all })
      await expectAll(again, values)
      await drive(clock, again.close())
    })
  }

  test('may be as large as the limits say, and no larger', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    const key = new Uint8Array(KEY_SIZE_MAX).fill(7)
    const value = largeValue(VALUE_SIZE_MAX, 9)
    await db.put(key, value, { durability: 'none' })
    expectValue(await db.get(key), value, 'the largest value')
    const larger = new Uint8Array(VALUE_SIZE_MAX + 1)
    await assert.rejects(db.put('key', larger), { code: 'KV_INVALID_ARGUMENT' })
    await drive(clock, db.close())
  })

  test('follow one another when each is awaited, whatever may wait at once', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), {
      clock,
      options: { memoryBudget: 16 * MiB },
    })
    const writing = async (): Promise<void> => {
      for (let seed = 1; seed <= 4; seed++) await db.put('key', largeValue(5 * MiB, seed))
    }
    await drive(clock, writing())
    expectValue(await db.get('key'), largeValue(5 * MiB, 4), 'the last')
    await db.close()
  })

  test('expire', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    const value = largeValue(2 * MiB, 1)
    await db.put('key', value, { ttlMs: 1000 })
    expectValue(await db.get('key'), value, 'before it expires')
    await clock.advanceAsync(2000)
    assert.equal(await db.get('key'), undefined)
    await drive(clock, db.close())
  })

  test('are seen whole or not at all while they are written', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    const [old, next] = [largeValue(2 * MiB, 1), largeValue(2 * MiB, 2)]
    await drive(clock, db.put('key', old))
    let written = false
    const put = db.put('key', next).then(() => {
      written = true
    })
    let reads = 0
    while (!written) {
      const before = written
      const found = await drive(clock, db.get('key'))
      reads++
      if (before || Buffer.compare(found!, old) !== 0) expectValue(found, next, 'a new value')
    }
    await put
    assert.ok(reads > 1, `${reads} reads`)
    expectValue(await drive(clock, db.get('key')), next, 'what was written')
    await drive(clock, db.close())
  })

  test('are copied from memory that later memtables leave alone', async () => {
    const clock = new SimClock()
    const options = { memtableSize: 12 * MiB, memoryBudget: 128 * MiB }
    const value = largeValue(8 * MiB, 3)
    const readers: readonly ((db: Db) => Promise<Uint8Array | undefined>)[] = [
      db => db.get('large'),
      db => first(db, { gte: 'large' }),
      db => first(db, { gte: 'large', reverse: true }),
    ]
    for (const read of readers) {
      const db = await openEngine(new MemoryFileSystem(), { clock, options })
      await drive(clock, db.put('large', value))
      let isUnderWay = true
      const reading = read(db).finally(() => {
        isUnderWay = false
      })
      const seen: [boolean, number][] = []
      db.onEvent(({ type }) => {
        if (type === 'flushEnd') seen.push([isUnderWay, db.stats().memory.spareMemtables])
      })
      await drive(clock, db.compact())
      // The flush ended first, and did not leave the memory to the next memtable.
      assert.deepEqual(seen, [[true, 0]])
      expectValue(await reading, value, 'a read of before')
      await drive(clock, db.close())
    }
  })

  test('are copied for scans and for who follows the changes with turns between', async () => {
    const clock = new SimClock()
    const options = { memtableSize: 32 * MiB, memoryBudget: 128 * MiB }
    const db = await openEngine(new MemoryFileSystem(), { clock, options })
    const value = largeValue(8 * MiB, 6)
    await drive(clock, db.put('b', value))
    await drive(clock, db.put('a', 'small'))
    await using feed = db.changes({ after: 0 })
    const [change, turns] = await turnsDuring(() => feed.next())
    const operation = change.value!.operations[0]!
    assert.ok(operation.type === 'put')
    expectValue(operation.value, value, 'a change')
    // One a MiB to sum it up, and two to copy it.
    assert.ok(turns >= 20, `a change took ${turns} turns`)
    for (const place of ['a memtable', 'a table']) {
      for (const reverse of [false, true]) {
        const scan = async () => await first(db, { gte: 'b', reverse })
        await scan()
        const [found, turns] = await turnsDuring(scan)
        expectValue(found, value, `of ${place}`)
        assert.ok(turns >= 15, `from ${place} a scan took ${turns} turns, reverse ${reverse}`)
      }
      await drive(clock, db.compact())
    }
    await feed.close()
    await drive(clock, db.close())
  })

  test('end a page of a scan, among small ones', async () => {
    const clock = new SimClock()
    const options = { memtableSize: 16 * MiB, memoryBudget: 64 * MiB }
    const db = await openEngine(new MemoryFileSystem(), { clock, options })
    const large = largeValue(MiB + 1, 1)
    const keys = Array.from('abcdefgh')
    for (const key of keys) await drive(clock, db.put(key, 'cf'.includes(key) ? large : key))
    for (const reverse of [false, true]) {
      await using scan = db.entries({ reverse, limit: 7 })
      const found: string[] = []
      for (let batch = await scan.nextBatch(8); batch.length > 0; batch = await scan.nextBatch(8)) {
        for (const [key, value] of batch) {
          const name = Buffer.from(key).toString()
          expectValue(value, 'cf'.includes(name) ? large : Buffer.from(name), name)
          found.push(name)
        }
      }
      assert.deepEqual(found, (reverse ? keys.toReversed() : keys).slice(0, 7))
    }
    await drive(clock, db.close())
  })

  test('that are damaged are reported wherever the damage is', async () => {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const options = { memtableSize: 16 * MiB, memoryBudget: 64 * MiB }
    const db = await openEngine(disk, { clock, options })
    await drive(clock, db.put('key', largeValue(3 * MiB, 5)))
    await drive(clock, db.compact())
    await drive(clock, db.close())
    const path = disk.paths().find(name => name.endsWith('.sst'))!
    const bytes = disk.peek(path)
    for (const offset of [0, 30, MiB, 2 * MiB + 1, 3 * MiB]) {
      const damaged = bytes.slice()
      damaged[offset]! ^= 1
      disk.plant(path, damaged)
      const again = await openEngine(disk, { clock, options })
      await assert.rejects(drive(clock, again.get('key')), CorruptionError, `at ${offset}`)
      await drive(clock, again.close())
    }
  })
})
