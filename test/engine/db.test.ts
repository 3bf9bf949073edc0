// Goal: the whole engine behind its door, on the simulated disk and on the real one: what is put is
// got, ranges are ranges, batches are atomic, snapshots hold still, and all of it survives
// reopening. Method: short stories through the public interface; random walks are in test/model.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import {
  type Db,
  type FileSystem,
  InlineExecutor,
  open,
  openInEnvironment,
} from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { drive } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const hasher = await loadHasher()
/** Sizes at which a few hundred entries reach several levels. */
const small = {
  memtableSize: 16 * 1024,
  tableSizeTarget: 8 * 1024,
  baseLevelSize: 16 * 1024,
  level0CompactionTrigger: 2,
  blockSize: 512,
}

function openSimulated(fileSystem: FileSystem, clock = new SimClock(), options = {}): Promise<Db> {
  const executor = new InlineExecutor({ fileSystem, hasher, clock })
  const environment = { fileSystem, executor, clock, random: seededRandom(1) }
  return openInEnvironment('/db', { ...small, ...options }, environment)
}

function numbered(index: number): string {
  return `key-${String(index).padStart(5, '0')}`
}

async function text(value: Promise<Uint8Array | undefined>): Promise<string | undefined> {
  const bytes = await value
  return bytes === undefined ? undefined : utf8Decode(bytes)
}

function hasCode(code: string) {
  return (error: unknown) => error instanceof KvError && error.code === code
}

async function fill(db: Db, count: number, value: (index: number) => string): Promise<void> {
  for (let index = 0; index < count; index++) await db.put(numbered(index), value(index))
}

describe('a database on the simulated disk', () => {
  test('gives back what was put, through flushes, compactions and reopening', async () => {
    const disk = new MemoryFileSystem()
    let db = await openSimulated(disk)
    await fill(db, 2000, index => `first ${index}`)
    await fill(db, 1000, index => `second ${index}`)
    for (let index = 0; index < 2000; index += 3) await db.delete(numbered(index))
    for (let life = 0; life < 3; life++) {
      for (let index = 0; index < 2000; index++) {
        const expected =
          index % 3 === 0 ? undefined : `${index < 1000 ? 'second' : 'first'} ${index}`
        assert.equal(await text(db.get(numbered(index))), expected)
        const sync = db.getSync(numbered(index))
        assert.equal(sync === undefined ? undefined : utf8Decode(sync), expected)
      }
      const { flushes, compactions } = db.stats()
      if (life === 0) assert.ok(flushes.count > 5 && compactions.count > 2, 'levels were reached')
      await db.close()
      db = await openSimulated(disk)
    }
    await db.close()
  })

  test('scans ranges in both directions, with limits, as sorted arrays do', async () => {
    const db = await openSimulated(new MemoryFileSystem())
    await fill(db, 900, String)
    const all = Array.from({ length: 900 }, (_, index) => numbered(index))
    const cases = [
      { options: {}, expected: all },
      { options: { reverse: true }, expected: all.toReversed() },
      { options: { gte: all[100]!, lt: all[110]! }, expected: all.slice(100, 110) },
      { options: { gt: all[100]!, lte: all[110]! }, expected: all.slice(101, 111) },
      { options: { gt: 'key-00899' }, expected: [] },
      { options: { gte: 'x', lt: 'a' }, expected: [] },
      { options: { limit: 7, reverse: true }, expected: all.toReversed().slice(0, 7) },
      { options: { lt: all[5]!, reverse: true, limit: 3 }, expected: [all[4], all[3], all[2]] },
      { options: { lte: all[5]!, gt: all[3]!, reverse: true }, expected: [all[5], all[4]] },
      { options: { limit: 0 }, expected: [] },
    ]
    for (const { options, expected } of cases) {
      const keys: string[] = []
      for await (const key of db.keys(options)) keys.push(utf8Decode(key))
      assert.deepEqual(keys, expected, JSON.stringify(options))
    }
    let entries = 0
    for await (const [key, value] of db.entries()) {
      assert.equal(utf8Decode(key), numbered(Number(utf8Decode(value))))
      entries++
    }
    assert.equal(entries, 900)
    await db.close()
  })

  test('keeps a snapshot and a scan still while everything is overwritten', async () => {
    const db = await openSimulated(new MemoryFileSystem())
    await fill(db, 500, () => 'old')
    const snapshot = db.snapshot()
    const scan = db.values()
    const first = await scan.nextBatch(10)
    await fill(db, 1500, () => 'new')
    await db.delete(numbered(7))
    assert.equal(await text(db.get(numbered(7), { snapshot })), 'old')
    assert.equal(utf8Decode(db.getSync(numbered(8), { snapshot })!), 'old')
    assert.equal(await text(db.get(numbered(1200), { snapshot })), undefined)
    assert.equal(await text(db.get(numbered(8))), 'new')
    let count = first.length
    for await (const value of scan) {
      assert.equal(utf8Decode(value), 'old')
      count++
    }
    assert.equal(count, 500)
    assert.equal(db.stats().snapshots, 1)
    snapshot.release()
    await assert.rejects(db.get('k', { snapshot }), hasCode('KV_INVALID_ARGUMENT'))
    await db.close()
  })

  test('applies a batch whole and in order', async () => {
    const disk = new MemoryFileSystem()
    let db = await openSimulated(disk)
    await db.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'put', key: 'b', value: '2' },
      { type: 'del', key: 'a' },
      { type: 'put', key: 'b', value: '3' },
    ])
    await db.close()
    db = await openSimulated(disk)
    const values = await db.getMany(['a', 'b', 'c'])
    assert.deepEqual(values, [undefined, utf8Encode('3'), undefined])
    await db.close()
  })

  test('forgets a key at the end of its time to live, and no earlier', async () => {
    const clock = new SimClock()
    const db = await openSimulated(new MemoryFileSystem(), clock)
    await db.put('brief', 'x', { ttlMs: 1000 })
    await fill(db, 1000, String)
    clock.advance(999)
    assert.equal(await text(db.get('brief')), 'x')
    clock.advance(2)
    assert.equal(await text(db.get('brief')), undefined)
    for await (const key of db.keys({ gte: 'a', lt: 'c' })) assert.fail(utf8Decode(key))
    await db.close()
  })

  test('takes writes of every durability, mixed and concurrent', async () => {
    const disk = new MemoryFileSystem()
    let db = await openSimulated(disk)
    const durabilities = ['sync', 'interval', 'none'] as const
    const writes: Promise<void>[] = []
    for (let index = 0; index < 3000; index++) {
      const durability = durabilities[(index * 7) % 3]!
      writes.push(db.put(numbered(index % 700), String(index), { durability }))
      if (index % 50 === 0) await writes.at(-1)
    }
    await Promise.all(writes)
    for (let life = 0; life < 2; life++) {
      for (let index = 2300; index < 3000; index++) {
        assert.equal(await text(db.get(numbered(index % 700))), String(index))
      }
      await db.close()
      db = await openSimulated(disk)
    }
    await db.close()
  })

  test('says what is wrong with an argument, and does nothing', async () => {
    const db = await openSimulated(new MemoryFileSystem())
    const wrong = hasCode('KV_INVALID_ARGUMENT')
    await assert.rejects(db.put('', 'v'), wrong)
    await assert.rejects(db.put('k'.repeat(65_536), 'v'), wrong)
    await assert.rejects(db.put('k', 5 as never), wrong)
    await assert.rejects(db.put('k', 'v', { durability: 'maybe' as never }), wrong)
    await assert.rejects(db.put('k', 'v', { ttlMs: -1 }), wrong)
    const far = {
      code: 'KV_INVALID_ARGUMENT',
      message: /above 0 and at most 2251799813685247, got .*: leave it out/,
    }
    await assert.rejects(db.put('k', 'v', { ttlMs: 2 ** 51 }), far)
    await assert.rejects(db.put('k', 'v', { ttlMs: Number.POSITIVE_INFINITY }), far)
    await assert.rejects(db.batch([{ type: 'get' as never, key: 'k' }]), wrong)
    assert.throws(() => db.entries({ gt: 'a', gte: 'a' }), wrong)
    assert.throws(() => db.entries({ limit: -1 }), wrong)
    assert.equal(await db.get('k'), undefined)
    const { count } = db as unknown as { readonly count: () => Promise<number> }
    await assert.rejects(count(), { ...wrong, message: /^an embedded database has no count: / })
    await db.close()
    await assert.rejects(db.get('k'), hasCode('KV_CLOSED'))
    await assert.rejects(db.put('k', 'v'), hasCode('KV_CLOSED'))
    await db.close()
  })

  test('reads with a cache of next to nothing', async () => {
    const db = await openSimulated(new MemoryFileSystem(), new SimClock(), {
      memoryBudget: 1024 * 1024,
      openFilesMax: 4,
    })
    await fill(db, 1500, String)
    const values = await db.getMany(Array.from({ length: 1500 }, (_, index) => numbered(index)))
    for (const [index, value] of values.entries()) assert.equal(utf8Decode(value!), String(index))
    await db.close()
  })
})

describe('getMany', () => {
  // A promise that nobody owns fails the test when it rejects.
  test('leaves no read to itself beside a wrong key or another failure', async () => {
    const memory = new MemoryFileSystem()
    const filled = await openSimulated(memory)
    await fill(filled, 1000, index => `value ${index}`)
    await filled.compact()
    await filled.close()
    const disk = new FailingFileSystem(memory)
    const db = await openSimulated(disk)
    disk.fail({ fault: 'EIO', kind: 'open', path: path => path.endsWith('.sst'), forever: true })
    await assert.rejects(db.getMany([numbered(1), '']), hasCode('KV_INVALID_ARGUMENT'))
    await assert.rejects(db.getMany([numbered(1), numbered(500), numbered(999)]))
    const snapshot = db.snapshot()
    snapshot.release()
    const late = db.getMany([numbered(1)], { snapshot })
    await assert.rejects(late, hasCode('KV_INVALID_ARGUMENT'))
    for (let turn = 0; turn < 5; turn++) await yieldToEventLoop()
    assert.equal(db.stats().snapshots, 0)
    await db.close()
  })
})

test('a read in a snapshot is of its moment, also when that is released meanwhile', async () => {
  const disk = new MemoryFileSystem()
  const filled = await openSimulated(disk)
  await fill(filled, 1000, index => `value ${index}`)
  await filled.compact()
  await filled.close()
  let isReading = false
  let answer: () => void = () => undefined
  const held = new Promise<void>(resolve => {
    answer = resolve
  })
  const openFile = disk.openSync.bind(disk)
  disk.openSync = (path, access) => {
    const file = openFile(path, access)
    const read = file.read.bind(file)
    file.read = async (...given) => {
      isReading = true
      await held
      return await read(...given)
    }
    return file
  }
  const clock = new SimClock()
  const db = await openSimulated(disk, clock)
  const snapshot = db.snapshot()
  for (const index of [1, 900]) await db.delete(numbered(index))
  const got = db.get(numbered(1), { snapshot })
  const has = db.has(numbered(900), { snapshot })
  await yieldToEventLoop()
  assert.ok(isReading, 'they wait for the disk')
  snapshot.release()
  await drive(clock, db.compact())
  answer()
  assert.equal(await text(got), 'value 1')
  assert.equal(await has, true)
  await db.close()
})

describe('the signal of a call', () => {
  test('ends it while it waits for the disk, whatever becomes of a write', async () => {
    let held: (() => void)[] | undefined
    const disk = new MemoryFileSystem({
      defer: step => (held === undefined ? queueMicrotask(step) : held.push(step)),
    })
    const filled = await openSimulated(disk)
    await fill(filled, 1000, index => `value ${index}`)
    await filled.compact()
    await filled.close()
    const db = await openSimulated(disk)
    held = []
    const controller = new AbortController()
    const { signal } = controller
    const reads = [
      db.get(numbered(1), { signal }),
      db.getMany([numbered(300), numbered(600)], { signal }),
      db.has(numbered(900), { signal }),
    ]
    const writes = [
      db.put('a', '1', { signal }),
      db.delete(numbered(2), { signal }),
      db.batch([{ type: 'put', key: 'b', value: '2' }], { signal }),
      db.deleteRange({ gte: numbered(3), lt: numbered(5) }, { signal }),
    ]
    const ends = Promise.allSettled([...reads, ...writes])
    await yieldToEventLoop()
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    controller.abort(new Error('enough'))
    for (const [index, end] of (await ends).entries()) {
      assert.ok(end.status === 'rejected' && hasCode('KV_ABORTED')(end.reason), `call ${index}`)
      assert.equal(end.reason.outcome, index < reads.length ? 'rejected' : 'unknown')
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    const steps = held
    held = undefined
    for (const step of steps) step()
    const other = { signal: new AbortController().signal }
    assert.equal(await text(db.get(numbered(1), other)), 'value 1')
    await db.put('c', '3', other)
    assert.equal(getEventListeners(other.signal, 'abort').length, 0)
    assert.equal(await text(db.get('a')), '1')
    await db.close()
  })
})

describe('a database on the real disk', () => {
  async function roundTrip(context: TestContext): Promise<void> {
    const directory = temporaryDirectory(context)
    let db = await open(directory, { memoryBudget: 8 * 1024 * 1024 })
    const value = seededRandom(7).bytes(900)
    for (let index = 0; index < 8000; index += 100) {
      const batch = Array.from({ length: 100 }, (_, offset) => ({
        type: 'put' as const,
        key: numbered((index + offset) % 5000),
        value,
      }))
      await db.batch(batch)
    }
    assert.ok(db.stats().flushes.count > 1, 'the worker threads flushed')
    await assert.rejects(open(directory), hasCode('KV_LOCKED'))
    await db.close()
    db = await open(directory, { createIfMissing: false })
    let count = 0
    for await (const [key, found] of db.entries()) {
      assert.equal(utf8Decode(key), numbered(count++))
      assert.deepEqual(found, value)
    }
    assert.equal(count, 5000)
    await db.close()
    await assert.rejects(open(directory, { errorIfExists: true }), hasCode('KV_INVALID_ARGUMENT'))
    const missing = open(`${directory}/missing`, { createIfMissing: false })
    await assert.rejects(missing, hasCode('KV_NOT_FOUND'))
    rmSync(join(directory, 'CURRENT'))
    // What is left of a database is not nothing.
    const broken = open(directory, { createIfMissing: false })
    await assert.rejects(broken, hasCode('KV_CORRUPTION'))
  }
  test('flushes and compacts on worker threads, and is there after reopening', roundTrip)
})
