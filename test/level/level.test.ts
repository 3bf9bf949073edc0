// Goal: what DuramenLevel does beyond the conformance suite: the manifest and errors of
// classic-level, what `sync` means, how iterators treat memory, snapshots and the event loop, and
// what is its own. Method: short stories on the real disk.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { DbStats } from '../../src/engine/index.ts'
import type { KvError } from '../../src/errors.ts'
import { type DatabaseOptions, DuramenLevel } from '../../src/level.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

interface CodedError extends Error {
  readonly code?: string
  readonly cause?: CodedError
}

async function openLevel(
  context: TestContext,
  options: DatabaseOptions<string, string> = {},
): Promise<DuramenLevel> {
  // Closed before the directory goes.
  context.after(() => db.close())
  const db = new DuramenLevel(join(temporaryDirectory(context), 'db'), options)
  await db.open()
  return db
}

function stats(db: DuramenLevel): DbStats {
  return JSON.parse(db.getProperty('duramen.stats')) as DbStats
}

function hasCode(code: string, causeCode?: string) {
  return (error: CodedError) => {
    assert.equal(error.code, code)
    assert.equal(error.cause?.code, causeCode)
    return true
  }
}

function isIoError(error: CodedError): boolean {
  return error.code === 'LEVEL_IO_ERROR' && error.cause?.code === 'KV_IO'
}

/** The error that opening `location` fails with, without abstract-level's wrapper. */
async function openingError(location: string, options?: object): Promise<CodedError> {
  const db = new DuramenLevel(location, options)
  const error: CodedError = await db.open().then(
    () => assert.fail('it opened'),
    reason => reason,
  )
  assert.equal(error.code, 'LEVEL_DATABASE_NOT_OPEN')
  return error.cause!
}

function numbered(index: number): string {
  return `key-${String(index).padStart(6, '0')}`
}

async function fill(db: DuramenLevel, count: number, value: string): Promise<void> {
  const operations = Array.from({ length: count }, (_, index) => {
    return { type: 'put' as const, key: numbered(index), value }
  })
  await db.batch(operations, { sync: false })
}

/** Turns of the event loop while `work` runs, and one after it. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0
  let over = false
  const countTurns = async (): Promise<void> => {
    for (; !over; turns++) await yieldToEventLoop()
  }
  const counted = countTurns()
  await work()
  over = true
  await counted
  return turns
}

describe('DuramenLevel', () => {
  test('has the manifest of classic-level', async t => {
    const { supports } = await openLevel(t)
    assert.deepEqual(JSON.parse(JSON.stringify(supports)), {
      encodings: { buffer: true, utf8: true, view: true, json: true, hex: true, base64: true },
      has: true,
      createIfMissing: true,
      errorIfExists: true,
      explicitSnapshots: true,
      getSync: true,
      additionalMethods: { approximateSize: true, compactRange: true },
      signals: { iterators: true },
      deferredOpen: true,
      seek: true,
      implicitSnapshots: true,
      permanence: true,
      events: { opening: true, open: true, closing: true, closed: true, write: true, clear: true },
      snapshots: true,
      streams: false,
    })
  })

  test('refuses what is no location', () => {
    const Level = DuramenLevel as unknown as new (location?: unknown) => DuramenLevel
    for (const wrong of [undefined, null, '', 5, {}])
      assert.throws(() => new Level(wrong), TypeError)
  })

  test('tells by code why it cannot open', async t => {
    const db = await openLevel(t)
    const { location } = db
    const locked = await openingError(location)
    assert.ok(hasCode('LEVEL_LOCKED', 'KV_LOCKED')(locked))
    assert.match(locked.message, new RegExp(`${process.pid}`), 'it names the holder')
    await db.close()
    writeFileSync(join(location, 'CURRENT'), 'damaged')
    assert.ok(hasCode('LEVEL_CORRUPTION', 'KV_CORRUPTION')(await openingError(location)))

    const file = join(temporaryDirectory(t), 'file')
    writeFileSync(file, 'no directory')
    assert.equal((await openingError(file)).code, 'LEVEL_IO_ERROR')
    assert.equal((await openingError(join(file, 'x'))).code, 'LEVEL_IO_ERROR')
    const threads = await openingError(join(file, 'x'), { multithreading: true })
    assert.equal(threads.code, 'LEVEL_NOT_SUPPORTED')
  })

  test('refuses options that there are not, and says what was meant', async t => {
    const options = { memoryBugdet: 2 ** 20 } as object
    const db = new DuramenLevel(temporaryDirectory(t), options)
    await assert.rejects(db.open(), (error: Error) => {
      const { code, message } = error.cause as KvError
      assert.equal(code, 'KV_INVALID_ARGUMENT')
      assert.match(message, /memoryBugdet.*did you mean 'memoryBudget'/)
      return true
    })
  })

  test('refuses options of another kind, and does nothing then', async t => {
    const wrong = hasCode('KV_INVALID_ARGUMENT')
    for (const [name, value] of [
      ...['cacheSize', 'writeBufferSize', 'blockSize', 'maxOpenFiles', 'maxFileSize'].flatMap(
        name => [
          [name, '8'],
          [name, -1],
        ],
      ),
      ['blockRestartInterval', Number.NaN],
      ['compression', 'zstd'],
      ['multithreading', 'yes'],
      ['durability', 'yes'],
      ['memoryBudget', '1'],
    ] as const) {
      const options = { [name as string]: value } as object
      const error = await openingError(temporaryDirectory(t), options)
      assert.ok(wrong(error) && error.message.includes(name as string), `${name}: ${error.message}`)
    }
    const db = await openLevel(t)
    await db.put('a', '1')
    const options = { sync: 'yes', durability: 'sync' } as never
    const limited = { limit: 10, sync: 'yes' } as never
    const reading = { fillCache: 'no' } as never
    for (const [what, call] of Object.entries<() => Promise<unknown>>({
      put: () => db.put('a', '2', options),
      del: () => db.del('a', options),
      batch: () => db.batch([{ type: 'del', key: 'a' }], options),
      'chained batch': () => db.batch().del('a').write(options),
      clear: () => db.clear(options),
      'limited clear': () => db.clear(limited),
      get: () => db.get('a', reading),
      getMany: () => db.getMany(['a'], reading),
      has: () => db.has('a', reading),
      hasMany: () => db.hasMany(['a'], reading),
      iterator: async () => await db.iterator(reading).all(),
      keys: async () => await db.keys({ highWaterMarkBytes: '1' } as never).all(),
      values: async () => await db.values({ highWaterMarkBytes: Number.NaN }).all(),
    })) {
      await assert.rejects(call, wrong, what)
    }
    assert.throws(() => db.getSync('a', reading), wrong)
    assert.equal(await db.get('a'), '1')
    assert.equal(stats(db).snapshots, 0)
  })

  test('refuses keys and values beyond the limits, and finds none of them', async t => {
    const db = await openLevel(t)
    const long = 'k'.repeat(65_536)
    await assert.rejects(db.put(long, 'v'), hasCode('LEVEL_INVALID_KEY', 'KV_INVALID_ARGUMENT'))
    await assert.rejects(db.del(long), hasCode('LEVEL_INVALID_KEY', 'KV_INVALID_ARGUMENT'))
    const value = new Uint8Array(64 * 1024 * 1024 + 1)
    await assert.rejects(
      db.put('k', value, { valueEncoding: 'view' }),
      hasCode('LEVEL_INVALID_VALUE', 'KV_INVALID_ARGUMENT'),
    )
    assert.equal(await db.get(long), undefined)
    assert.equal(db.getSync(long), undefined)
    assert.deepEqual(await db.getMany([long, 'k']), [undefined, undefined])
    assert.deepEqual(await db.hasMany([long, 'k']), [false, false])
    assert.deepEqual(await db.keys({ gte: long }).all(), [])
    await db.put('k'.repeat(65_535), 'longest')
    assert.deepEqual(await db.values().all(), ['longest'])
  })

  test('syncs each write, unless it or the database asks for less', async t => {
    const durable = await openLevel(t)
    let syncs = stats(durable).writes.syncs
    const expectSyncs = async (db: DuramenLevel, more: number, write: Promise<void>) => {
      await write
      assert.equal(stats(db).writes.syncs, syncs + more)
      syncs += more
    }
    await expectSyncs(durable, 1, durable.put('a', '1'))
    await expectSyncs(durable, 1, durable.del('a'))
    await expectSyncs(durable, 1, durable.batch([{ type: 'put', key: 'a', value: '1' }]))
    await expectSyncs(durable, 1, durable.batch().put('a', '1').write())
    await expectSyncs(durable, 0, durable.put('a', '1', { sync: false }))
    await expectSyncs(durable, 0, durable.batch().put('a', '1').write({ sync: false }))
    await expectSyncs(durable, 0, durable.put('a', '1', { sync: true, durability: 'none' }))

    const relaxed = await openLevel(t, { durability: 'interval' })
    syncs = stats(relaxed).writes.syncs
    await expectSyncs(relaxed, 0, relaxed.put('a', '1'))
    await expectSyncs(relaxed, 0, relaxed.del('a'))
    await expectSyncs(relaxed, 1, relaxed.put('a', '1', { sync: true }))
    await expectSyncs(relaxed, 1, relaxed.del('a', { sync: true }))
    await expectSyncs(relaxed, 1, relaxed.batch([{ type: 'del', key: 'a' }], { sync: true }))
  })

  test('forgets a key after its time to live', async t => {
    const db = await openLevel(t)
    await db.put('long', 'there', { ttlMs: 1e9 })
    await db.batch([{ type: 'put', key: 'brief', value: 'gone', ttlMs: 1 }])
    while ((await db.get('brief')) !== undefined) await yieldToEventLoop()
    assert.deepEqual(await db.iterator().all(), [['long', 'there']])
    await assert.rejects(db.put('k', 'v', { ttlMs: -1 }), hasCode('KV_INVALID_ARGUMENT'))
  })

  test('forgets it too where hooks make a batch of the put', async t => {
    const root = await openLevel(t)
    const middle = root.sublevel('middle')
    // Sublevels pass on options that their types do not know.
    const levels = [root, middle, middle.sublevel('inner')] as unknown as (typeof root)[]
    const refused = hasCode('KV_INVALID_ARGUMENT')
    let added = 0
    for (const hooked of levels) {
      const hook: Parameters<typeof hooked.hooks.prewrite.add>[0] = (_operation, batch) => {
        batch.add({ type: 'put', key: `by-hook-${added++}`, value: 'x' })
      }
      hooked.hooks.prewrite.add(hook)
      for (const level of levels) {
        await level.put('brief', 'gone', { ttlMs: 1, sync: false })
        await level.put('long', 'there', { ttlMs: 60_000, sync: false })
        while ((await level.get('brief')) !== undefined) await yieldToEventLoop()
        await assert.rejects(level.put('long', 'x', { ttlMs: -1 }), refused)
        assert.equal(await level.get('long'), 'there')
      }
      await assert.rejects(root.del('long', { ttlMs: 1 } as object), refused)
      await assert.rejects(
        root
          .batch()
          .put('k', 'v')
          .write({ ttlMs: 1 } as object),
        refused,
      )
      hooked.hooks.prewrite.delete(hook)
    }
    assert.equal(await root.get('by-hook-0'), 'x')
  })

  test('destroys what is closed, and nothing of others', async t => {
    const db = await openLevel(t)
    const { location } = db
    await db.put('a', '1')
    await assert.rejects(DuramenLevel.destroy(location), hasCode('LEVEL_LOCKED', 'KV_LOCKED'))
    assert.equal(await db.get('a'), '1')
    await db.close()
    await DuramenLevel.destroy(location)
    assert.equal(existsSync(location), false)
    await DuramenLevel.destroy(location)
    assert.equal(existsSync(location), false)
    await db.open()
    assert.equal(await db.get('a'), undefined)
    await db.close()
    writeFileSync(join(location, 'notes'), 'of somebody')
    await DuramenLevel.destroy(location)
    assert.deepEqual(readdirSync(location), ['notes'])
    await assert.rejects(DuramenLevel.destroy(join(location, 'notes')), isIoError)
    for (const wrong of [undefined, '', 7]) {
      await assert.rejects(DuramenLevel.destroy(wrong as string), TypeError)
    }
  })

  test('repairs what does not open, as far as it is readable', async t => {
    const db = await openLevel(t)
    const { location } = db
    await fill(db, 100, 'value')
    await assert.rejects(DuramenLevel.repair(location), hasCode('LEVEL_LOCKED', 'KV_LOCKED'))
    await db.close()
    writeFileSync(join(location, 'CURRENT'), 'damaged')
    await assert.rejects(db.open())
    await DuramenLevel.repair(location)
    await db.open()
    assert.equal((await db.keys().all()).length, 100)
    await assert.rejects(DuramenLevel.repair(undefined as unknown as string), TypeError)
  })

  test('clears whatever the number of entries, and a range as one', async t => {
    const db = await openLevel(t)
    await fill(db, 3500, 'x'.repeat(50))
    await db.clear({ gte: numbered(10), limit: 2500 })
    assert.equal((await db.keys().all()).length, 1000)
    await db.clear({ reverse: true, limit: 1 })
    assert.deepEqual(await db.keys({ reverse: true, limit: 1 }).all(), [numbered(3498)])
    const { operations } = stats(db).writes
    await db.clear()
    assert.equal(stats(db).writes.operations, operations + 1)
    assert.deepEqual(await db.keys().all(), [])
    assert.equal(stats(db).snapshots, 0)
  })

  test('clears what a snapshot has, and keeps what came after it', async t => {
    const db = await openLevel(t)
    await db.put('a', '1')
    const snapshot = db.snapshot()
    await db.put('b', '2')
    await db.clear({ snapshot })
    assert.deepEqual(await db.keys().all(), ['b'])
    assert.deepEqual(await db.keys({ snapshot }).all(), ['a'])
    await snapshot.close()
  })

  test('clears between any bounds what an iterator finds between them', async t => {
    const db = await openLevel(t)
    const longest = 'k'.repeat(65_535)
    const keys = ['', '\0', 'a', longest, 'l']
    const bounds = [undefined, ...keys, `${longest}k`]
    const entries = keys.map(key => ({ type: 'put' as const, key, value: 'v' }))
    const options = { sync: false }
    for (const lower of bounds) {
      for (const upper of bounds) {
        for (const range of [
          { ...(lower !== undefined && { gte: lower }), ...(upper !== undefined && { lt: upper }) },
          { ...(lower !== undefined && { gt: lower }), ...(upper !== undefined && { lte: upper }) },
        ]) {
          await db.batch(entries, options)
          const found = await db.keys(range).all()
          await db.clear({ ...range, ...options })
          assert.deepEqual(
            await db.keys().all(),
            keys.filter(key => !found.includes(key)),
          )
        }
      }
    }
  })

  test('refuses a snapshot of another database', async t => {
    const db = await openLevel(t)
    const other = await openLevel(t)
    const snapshot = other.snapshot()
    await assert.rejects(db.get('a', { snapshot }), hasCode('KV_INVALID_ARGUMENT'))
    await assert.rejects(db.iterator({ snapshot }).next(), hasCode('KV_INVALID_ARGUMENT'))
    await snapshot.close()
  })

  test('tells sizes and figures', async t => {
    const db = await openLevel(t, { memoryBudget: 1024 * 1024, durability: 'interval' })
    assert.equal(await db.approximateSize('a', 'z'), 0)
    for (let round = 0; round < 30; round++) await fill(db, 1000, 'x'.repeat(100))
    const sizes: number[] = []
    do {
      await yieldToEventLoop()
      sizes.splice(0)
      for (const [start, end] of [
        [0, 1000],
        [0, 400],
        [400, 1000],
      ] as const) {
        sizes.push(await db.approximateSize(numbered(start), numbered(end)))
      }
      // Compaction may have been busy in between.
    } while (sizes[0] !== sizes[1]! + sizes[2]!)
    assert.ok(sizes[0]! > 100_000)
    assert.ok(sizes[1]! > 0.3 * sizes[0]! && sizes[1]! < 0.5 * sizes[0]!)
    assert.equal(await db.approximateSize('z', 'a'), 0)
    await assert.rejects((db.approximateSize as () => Promise<number>)(), TypeError)

    await db.compactRange(numbered(0), numbered(1000))
    const [last, ...above] = [...stats(db).levels].reverse()
    assert.ok(last!.tables > 0)
    assert.equal(
      above.some(({ tables }) => tables > 0),
      false,
      'all went down',
    )
    await db.compactRange('z', 'a')
    await assert.rejects((db.compactRange as () => Promise<void>)(), TypeError)

    const files = stats(db).levels.map((_, level) =>
      db.getProperty(`leveldb.num-files-at-level${level}`),
    )
    assert.ok(files.some(count => Number(count) > 0))
    assert.match(db.getProperty('leveldb.stats'), /^ +Level +Files[^\n]*\n( +\d[^\n]*\n)+$/)
    assert.ok(Number(db.getProperty('leveldb.approximate-memory-usage')) > 0)
    assert.equal(db.getProperty('leveldb.num-files-at-level99'), '')
    assert.equal(db.getProperty('foo'), '')
    assert.throws(() => (db.getProperty as () => string)(), TypeError)
    await db.close()
    assert.throws(() => db.getProperty('leveldb.stats'), hasCode('LEVEL_DATABASE_NOT_OPEN'))
    const sizeNow = db.approximateSize('a', 'z')
    await assert.rejects(sizeNow, hasCode('LEVEL_DATABASE_NOT_OPEN'))
    await assert.rejects(db.compactRange('a', 'z'), hasCode('LEVEL_DATABASE_NOT_OPEN'))
  })
})

describe('an iterator of DuramenLevel', () => {
  const COUNT = 6000

  test('ends a read early at its high-water mark', async t => {
    const db = await openLevel(t)
    await fill(db, 100, 'x'.repeat(90))
    const sizes = async (highWaterMarkBytes: number): Promise<number[]> => {
      const iterator = db.iterator({ highWaterMarkBytes })
      const found: number[] = []
      for (;;) {
        const entries = await iterator.nextv(1000)
        if (entries.length === 0) break
        found.push(entries.length)
      }
      await iterator.close()
      return found
    }
    assert.deepEqual(await sizes(0), new Array(100).fill(1))
    // 100 bytes an entry: the mark is exceeded by the eleventh.
    assert.deepEqual(await sizes(1000), [...new Array(9).fill(11), 1])
    assert.deepEqual(await sizes(1e6), [100])
    assert.equal((await db.iterator({ highWaterMarkBytes: 0 }).all()).length, 100)
  })

  test('lets the event loop turn however it is read', async t => {
    const db = await openLevel(t)
    await fill(db, COUNT, 'value')
    const readers: Record<string, () => Promise<number>> = {
      next: async () => {
        let count = 0
        for await (const _ of db.iterator()) count++
        return count
      },
      nextv: async () => {
        await using iterator = db.keys()
        let count = 0
        for (;;) {
          const keys = await iterator.nextv(100)
          if (keys.length === 0) return count
          count += keys.length
        }
      },
      all: async () => (await db.values().all()).length,
    }
    for (const [name, read] of Object.entries(readers)) {
      const turns = await turnsDuring(async () => assert.equal(await read(), COUNT))
      assert.ok(turns >= COUNT / 1200, `${name}: ${turns} turns`)
    }
  })

  test('lets the event loop turn between short reads, and while it reads many keys', async t => {
    const db = await openLevel(t)
    await fill(db, COUNT, 'value')
    const keys = Array.from({ length: COUNT }, (_, index) => numbered(index))
    const each = async (read: (key: string) => Promise<unknown>) => {
      for (const key of keys) await read(key)
    }
    // By the clock: of some milliseconds, without turns it would be one at the end.
    const reads: Record<string, () => Promise<unknown>> = {
      get: () => each(key => db.get(key)),
      has: () => each(key => db.has(key)),
      'iterator of one': () => each(gte => db.keys({ gte, limit: 1 }).all()),
      getMany: async () => assert.ok((await db.getMany(keys)).every(value => value === 'value')),
      hasMany: async () => assert.ok((await db.hasMany(keys)).every(isThere => isThere)),
    }
    for (const [name, read] of Object.entries(reads)) {
      const turns = await turnsDuring(read)
      assert.ok(turns >= 3, `${name}: ${turns} turns`)
    }
  })

  test('gives back its snapshot when closed, by its end, its user or the database', async t => {
    const db = await openLevel(t)
    await fill(db, 10, 'value')
    await db.keys().all()
    for await (const _ of db.values()) break
    const forgotten = db.iterator()
    const [first] = await Promise.all([forgotten.next(), db.iterator().close()])
    assert.deepEqual(first, [numbered(0), 'value'])
    assert.equal(stats(db).snapshots, 1)
    await db.close()
    await db.open()
    assert.equal(stats(db).snapshots, 0)
    await assert.rejects(forgotten.next(), hasCode('LEVEL_ITERATOR_NOT_OPEN'))
  })

  test('finishes a read that it is closed during', async t => {
    const db = await openLevel(t)
    await fill(db, COUNT, 'value')
    const iterator = db.iterator()
    const [entries] = await Promise.all([iterator.nextv(5000), iterator.close()])
    assert.ok(entries.length > 1000)
    await assert.rejects(iterator.next(), hasCode('LEVEL_ITERATOR_NOT_OPEN'))
  })

  test('stops when its signal says so', async t => {
    const db = await openLevel(t)
    await fill(db, COUNT, 'value')
    const controller = new AbortController()
    const iterator = db.iterator({ signal: controller.signal })
    let count = 0
    await assert.rejects(async () => {
      for await (const _ of iterator) {
        count++
        if (count === 1500) controller.abort()
      }
    }, hasCode('LEVEL_ABORTED'))
    assert.equal(count, 1500)
    assert.equal(stats(db).snapshots, 0)
  })
})
