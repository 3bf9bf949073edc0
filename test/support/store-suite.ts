/**
 * What every Duramen store does alike, wherever it lives: one set of tests for `open('./data')` and
 * `open('kv://…')`, so that a program moves from one to the other by changing one string.
 *
 * Nothing here knows which store it has, but for what a door says of it.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { compareBytes, utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { KvError } from '../../src/errors.ts'
import type { BytesInput, Entry, KeyValueStore, ScanOptions } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from './seed.ts'

export interface StoreDoor {
  /** An empty store of its own for each test; its release is the door's business. */
  open(t: TestContext): Promise<KeyValueStore>
  readonly hasSnapshots: boolean
  readonly keySizeMax: number
}

const hasCode = (code: string) => (error: unknown) => {
  assert.ok(error instanceof KvError, `a KvError was expected: ${String(error)}`)
  assert.equal(error.code, code, error.message)
  return true
}
const isInvalid = hasCode('KV_INVALID_ARGUMENT')
const isAborted = hasCode('KV_ABORTED')
const isClosed = hasCode('KV_CLOSED')

async function collect<T>(scan: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of scan) items.push(item)
  return items
}

/** What reading a scan brings, whether creating it or reading it throws. */
async function scanned(store: KeyValueStore, options: ScanOptions): Promise<Entry[]> {
  return await collect(store.entries(options))
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : utf8Decode(bytes)
}

async function fill(store: KeyValueStore, names: readonly string[]): Promise<void> {
  await store.batch(names.map(name => ({ type: 'put', key: name, value: `value of ${name}` })))
}

export function storeSuite(name: string, door: StoreDoor): void {
  describe(name, () => {
    test('does what a sorted map does', async t => {
      const store = await door.open(t)
      await compareWithMap(store, seededRandom(printSeed(t)))
    })

    pointTests(door)
    scanTests(door)
    refusalTests(door)
    endTests(door)
  })
}

/** Random operations on few keys, and every kind of scan, against a map. */
async function compareWithMap(store: KeyValueStore, random: Random): Promise<void> {
  const model = new Map<string, Entry>()
  const randomBytes = () => random.bytes(1 + random.below(3)).map(byte => byte & 0x83)
  const set = (key: Uint8Array, value: Uint8Array | undefined): void => {
    const name = Buffer.from(key).toString('hex')
    if (value === undefined) model.delete(name)
    else model.set(name, [key, value])
  }
  for (let step = 0; step < 400; step++) {
    const key = randomBytes()
    const value = random.bytes(random.below(40))
    const kind = random.below(10)
    if (kind < 3) {
      set(key, value)
      await store.put(key, value)
    } else if (kind === 3) {
      set(key, undefined)
      await store.delete(key)
    } else if (kind === 4) {
      const operations = Array.from({ length: random.below(6) }, () => {
        const one = randomBytes()
        const isPut = random.below(3) > 0
        set(one, isPut ? value : undefined)
        return isPut
          ? ({ type: 'put', key: one, value } as const)
          : ({ type: 'del', key: one } as const)
      })
      await store.batch(operations)
    } else if (kind < 7) {
      const keys = Array.from({ length: random.below(8) }, randomBytes)
      const expected = keys.map(one => model.get(Buffer.from(one).toString('hex'))?.[1])
      assert.deepEqual(await store.getMany(keys), expected)
      assert.deepEqual(await Promise.all(keys.map(one => store.get(one))), expected)
    } else {
      await compareScan(store, [...model.values()], randomRange(random, randomBytes), random)
    }
  }
}

function randomRange(random: Random, randomBytes: () => Uint8Array): ScanOptions {
  const lower = random.below(3)
  const upper = random.below(3)
  return {
    ...(lower === 0 ? {} : lower === 1 ? { gt: randomBytes() } : { gte: randomBytes() }),
    ...(upper === 0 ? {} : upper === 1 ? { lt: randomBytes() } : { lte: randomBytes() }),
    ...(random.below(2) === 0 ? {} : { reverse: random.below(2) === 0 }),
    ...(random.below(2) === 0 ? {} : { limit: random.below(12) }),
  }
}

async function compareScan(
  store: KeyValueStore,
  entries: readonly Entry[],
  options: ScanOptions,
  random: Random,
): Promise<void> {
  const { gt, gte, lt, lte, reverse = false, limit } = options
  const at = (key: Uint8Array, bound: BytesInput | undefined) =>
    compareBytes(key, bound as Uint8Array)
  const expected = entries
    .filter(([key]) => gt === undefined || at(key, gt) > 0)
    .filter(([key]) => gte === undefined || at(key, gte) >= 0)
    .filter(([key]) => lt === undefined || at(key, lt) < 0)
    .filter(([key]) => lte === undefined || at(key, lte) <= 0)
    .sort(([a], [b]) => (reverse ? compareBytes(b, a) : compareBytes(a, b)))
    .slice(0, limit)
  const keys = expected.map(([key]) => key)
  const values = expected.map(([, value]) => value)
  assert.deepEqual(await collect(store.entries(options)), expected)
  assert.deepEqual(await collect(store.keys(options)), keys)
  const scan = store.values(options)
  const found: Uint8Array[] = []
  for (;;) {
    const countMax = 1 + random.below(5)
    const batch = await scan.nextBatch(countMax)
    assert.ok(batch.length <= countMax)
    found.push(...batch)
    if (batch.length === 0) break
  }
  assert.deepEqual(await scan.nextBatch(1), [])
  assert.deepEqual(found, values)
}

function pointTests(door: StoreDoor): void {
  test('keeps bytes as they are, and text as UTF-8', async t => {
    const store = await door.open(t)
    const odd = [
      Uint8Array.of(0),
      Uint8Array.of(255, 0, 255),
      new Uint8Array(door.keySizeMax).fill(7),
    ]
    for (const bytes of odd) await store.put(bytes, bytes)
    for (const bytes of odd) assert.deepEqual(await store.get(bytes), Uint8Array.from(bytes))
    await store.put('Zürich 🚉', '')
    assert.deepEqual(await store.get(utf8Encode('Zürich 🚉')), new Uint8Array(0))
    const large = seededRandom(1).bytes(1 << 20)
    await store.put('large', large)
    assert.equal(compareBytes((await store.get('large'))!, large), 0)
  })

  test('results are the caller’s own', async t => {
    const store = await door.open(t)
    await store.put('k', 'value')
    const found = await store.get('k')
    assert.ok(found instanceof Uint8Array)
    found.fill(0)
    const [many] = await store.getMany(['k'])
    many?.fill(0)
    const [entry] = await scanned(store, {})
    entry?.[0].fill(0)
    entry?.[1].fill(0)
    assert.equal(text(await store.get('k')), 'value')
    assert.equal(text((await scanned(store, {}))[0]?.[0]), 'k')
  })

  test('absent keys are undefined, and deleting them is no error', async t => {
    const store = await door.open(t)
    assert.equal(await store.get('none'), undefined)
    await store.delete('none')
    assert.deepEqual(await store.getMany(['a', 'a']), [undefined, undefined])
    assert.deepEqual(await store.getMany([]), [])
    await store.batch([])
  })

  test('writes issued in an order take effect in it, and are seen once acknowledged', async t => {
    const store = await door.open(t)
    const writes = Array.from({ length: 200 }, (_, index) => store.put('k', `${index}`))
    await writes[20]
    assert.ok(Number(text(await store.get('k'))) >= 20)
    await Promise.all(writes)
    assert.equal(text(await store.get('k')), '199')
  })

  test('of operations on one key in a batch the last wins', async t => {
    const store = await door.open(t)
    await store.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'del', key: 'a' },
      { type: 'del', key: 'b' },
      { type: 'put', key: 'b', value: '1' },
      { type: 'put', key: 'b', value: '2' },
    ])
    assert.deepEqual((await store.getMany(['a', 'b'])).map(text), [undefined, '2'])
  })

  test('a time to live ends everywhere, unless the key is written again', async t => {
    const store = await door.open(t)
    await store.put('short', 'v', { ttlMs: 30 })
    await store.batch([{ type: 'put', key: 'short too', value: 'v', ttlMs: 30.5 }])
    await store.put('long', 'v', { ttlMs: 3_600_000 })
    await store.put('kept', 'v', { ttlMs: 30 })
    await store.put('kept', 'v')
    const deadlineMs = performance.now() + 5000
    const names = ['short', 'short too']
    while ((await store.getMany(names)).some(found => found !== undefined)) {
      assert.ok(performance.now() < deadlineMs, 'they live on')
      await yieldToEventLoop()
    }
    assert.equal(await store.get('short'), undefined)
    assert.deepEqual((await collect(store.keys())).map(text), ['kept', 'long'])
  })

  test('takes every durability and consistency by name', async t => {
    const store = await door.open(t)
    for (const durability of ['sync', 'interval', 'none'] as const) {
      await store.put(durability, 'v', { durability })
      await store.delete('none', { durability })
    }
    for (const consistency of ['one', 'quorum', 'all'] as const) {
      await store.put(consistency, 'v', { consistency })
      assert.equal(text(await store.get(consistency, { consistency })), 'v')
    }
  })
}

function scanTests(door: StoreDoor): void {
  test('orders keys as unsigned bytes, a prefix before what it begins', async t => {
    const store = await door.open(t)
    const keys = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))
    keys.push(Uint8Array.of(97, 0), Uint8Array.of(97, 0, 0), Uint8Array.of(255, 255))
    await store.batch(keys.map(key => ({ type: 'put', key, value: '' }) as const))
    keys.sort(compareBytes)
    assert.deepEqual(await collect(store.keys()), keys)
    assert.deepEqual(await collect(store.keys({ reverse: true })), [...keys].reverse())
  })

  test('shows the state of the moment it began', async t => {
    const store = await door.open(t)
    const names = Array.from({ length: 3000 }, (_, index) => String(index).padStart(5, '0'))
    await fill(store, names)
    const scan = store.entries()
    const [first] = await scan.nextBatch(1)
    await store.batch(names.map(name => ({ type: 'del', key: name })))
    await store.put('00000a', 'new')
    const rest = await collect(scan)
    assert.deepEqual(
      [first!, ...rest].map(([key]) => text(key)),
      names,
    )
    assert.deepEqual((await collect(store.keys())).map(text), ['00000a'])
  })

  test('bounds may be empty, crossed, or no key at all', async t => {
    const store = await door.open(t)
    await fill(store, ['a', 'b', 'c'])
    const counts = [
      { gte: '' },
      { gt: '' },
      { lt: '' },
      { gt: 'b', lt: 'b' },
      { gte: 'c', lt: 'a' },
    ]
    const found = await Promise.all(counts.map(async range => (await scanned(store, range)).length))
    assert.deepEqual(found, [3, 3, 0, 0, 0])
    assert.equal((await scanned(store, { gte: 'b', lte: 'b' })).length, 1)
    assert.equal((await scanned(store, { limit: 0 })).length, 0)
    assert.equal((await scanned(store, { limit: Number.POSITIVE_INFINITY })).length, 3)
  })

  test('changing a bound after the call changes nothing', async t => {
    const store = await door.open(t)
    await fill(store, ['a', 'b', 'c'])
    const bound = utf8Encode('b')
    const scan = store.keys({ gte: bound })
    bound.fill(0)
    assert.deepEqual((await collect(scan)).map(text), ['b', 'c'])
  })

  test('unordered brings the same entries', async t => {
    const store = await door.open(t)
    await fill(store, ['a', 'b', 'c', 'd'])
    const found = await collect(store.keys({ order: 'unordered', gt: 'a' }))
    assert.deepEqual(new Set(found.map(text)), new Set(['b', 'c', 'd']))
  })

  test('a scan that is left or closed is at its end', async t => {
    const store = await door.open(t)
    const names = Array.from({ length: 100 }, (_, index) => `k${index}`)
    await fill(store, names)
    const left = store.keys()
    for await (const _ of left) break
    assert.deepEqual(await left.next(), { done: true, value: undefined })
    const closed = store.keys()
    await closed.nextBatch(3)
    await closed.close()
    await closed.close()
    assert.deepEqual(await closed.next(), { done: true, value: undefined })
    await assert.rejects(closed.nextBatch(1), isClosed)
    await using disposed = store.keys()
    assert.equal((await disposed.nextBatch(1)).length, 1)
    // Items asked for at the same time come once each, in order.
    const many = store.keys()
    const items = await Promise.all(Array.from({ length: 110 }, () => many.next()))
    const seen = items.flatMap(item => (item.done === true ? [] : [text(item.value)]))
    assert.deepEqual(seen, [...names].sort(compareText))
  })

  test('an abort ends a scan with its reason', async t => {
    const store = await door.open(t)
    await fill(
      store,
      Array.from({ length: 100 }, (_, index) => `k${index}`),
    )
    const controller = new AbortController()
    const scan = store.keys({ signal: controller.signal })
    await scan.nextBatch(2)
    controller.abort(new RangeError('enough'))
    await assert.rejects(collect(scan), (error: unknown) => {
      isAborted(error)
      assert.equal((error as KvError).cause, controller.signal.reason)
      return true
    })
    await assert.rejects(scanned(store, { signal: controller.signal }), isAborted)
  })

  test('snapshots, where there are any', async t => {
    const store = await door.open(t)
    const fake = { release: () => undefined, [Symbol.dispose]: () => undefined }
    const options = { snapshot: fake }
    await assert.rejects(store.get('k', options), isInvalid)
    await assert.rejects(scanned(store, options), isInvalid)
    if (!door.hasSnapshots) return
    await store.put('k', '1')
    const { snapshot: take } = store as KeyValueStore & { snapshot(): typeof fake }
    const snapshot = take.call(store)
    await store.put('k', '2')
    assert.equal(text(await store.get('k', { snapshot })), '1')
    assert.equal(text((await scanned(store, { snapshot }))[0]?.[1]), '1')
    snapshot.release()
    await assert.rejects(store.get('k', { snapshot }), isInvalid)
  })
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}

function refusalTests(door: StoreDoor): void {
  test('refuses wrong arguments by rejecting, and does nothing', async t => {
    const store = await door.open(t)
    const wrong = undefined as never
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.get(''),
      () => store.get(wrong),
      () => store.getMany(['a', '']),
      () => store.getMany([7 as never]),
      () => store.put('', 'v'),
      () => store.put(new Uint8Array(door.keySizeMax + 1), 'v'),
      () => store.put('k', wrong),
      () => store.put('k', 5 as never),
      () => store.put('k', 'v', { ttlMs: 0 }),
      () => store.put('k', 'v', { ttlMs: -1 }),
      () => store.put('k', 'v', { ttlMs: Number.POSITIVE_INFINITY }),
      () => store.put('k', 'v', { durability: 'maybe' as never }),
      () => store.delete(''),
      () =>
        store.batch([
          { type: 'put', key: 'k', value: 'v' },
          { type: 'del', key: '' },
        ]),
      () =>
        store.batch([
          { type: 'put', key: 'k', value: 'v' },
          { type: 'get' as never, key: 'k' },
        ]),
      () => store.batch([{ type: 'put', key: 'k', value: 'v', ttlMs: -1 }]),
    ]
    for (const call of calls) {
      const result = call()
      await assert.rejects(result, isInvalid, call.toString())
    }
    assert.deepEqual(await scanned(store, {}), [])
  })

  test('refuses wrong scans when they are made', async t => {
    const store = await door.open(t)
    const scans: readonly ScanOptions[] = [
      { gt: 'a', gte: 'a' },
      { lt: 'a', lte: 'a' },
      { gt: 7 as never },
      { limit: -1 },
      { limit: 1.5 },
    ]
    for (const options of scans) {
      assert.throws(() => store.entries(options), isInvalid, JSON.stringify(options))
      assert.throws(() => store.keys(options), isInvalid)
      assert.throws(() => store.values(options), isInvalid)
    }
    await using scan = store.keys()
    for (const countMax of [0, -1, 1.5]) await assert.rejects(scan.nextBatch(countMax), isInvalid)
  })

  test('a signal that has fired is not begun with', async t => {
    const store = await door.open(t)
    const signal = AbortSignal.abort(new RangeError('no'))
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.get('k', { signal }),
      () => store.getMany(['k'], { signal }),
      () => store.getMany([], { signal }),
      () => store.put('k', 'v', { signal }),
      () => store.delete('k', { signal }),
      () => store.batch([{ type: 'put', key: 'k', value: 'v' }], { signal }),
    ]
    for (const call of calls) {
      await assert.rejects(call(), (error: unknown) => {
        isAborted(error)
        assert.equal((error as KvError).cause, signal.reason)
        return true
      })
    }
    assert.equal(await store.get('k'), undefined)
  })

  test('a signal that does not fire, and a deadline that is kept, change nothing', async t => {
    const store = await door.open(t)
    const options = { signal: new AbortController().signal, timeoutMs: 60_000 }
    await store.put('k', 'v', options)
    assert.equal(text(await store.get('k', options)), 'v')
    assert.equal(text((await store.getMany(['k'], options))[0]), 'v')
    assert.equal((await scanned(store, options)).length, 1)
    await store.delete('k', options)
    await store.batch([], options)
  })
}

function endTests(door: StoreDoor): void {
  test('closing finishes what is under way, and is idempotent', async t => {
    const store = await door.open(t)
    const puts = Array.from({ length: 50 }, (_, index) => store.put(`k${index}`, 'v'))
    await Promise.all([store.close(), store.close(), ...puts])
    await store.close()
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.get('k'),
      () => store.getMany(['k']),
      () => store.getMany([]),
      () => store.put('k', 'v'),
      () => store.delete('k'),
      () => store.batch([{ type: 'del', key: 'k' }]),
      () => store.batch([]),
      () => scanned(store, {}),
    ]
    for (const call of calls) await assert.rejects(call(), isClosed, call.toString())
  })

  test('an open scan does not outlive its store', async t => {
    const store = await door.open(t)
    await fill(
      store,
      Array.from({ length: 3000 }, (_, index) => `k${index}`),
    )
    const scan = store.keys()
    await scan.nextBatch(1)
    await store.close()
    await assert.rejects(async () => {
      while ((await scan.nextBatch(1000)).length > 0) {
        // What was in hand may still come.
      }
    }, isClosed)
    await assert.rejects(scan.next(), isClosed)
    await scan.close()
  })
}
