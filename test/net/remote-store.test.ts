// Goal: a client and a server together are a key-value store: what any program does to it gives the
// same results as a sorted map, also when the server restarts in between.
// Method: random operations against a model, over the loopback interface, with small pages and
// frames so that every seam is met; then restarts at chosen moments.
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { compareBytes, utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { systemClock } from '../../src/clock.ts'
import type { ScanOptions } from '../../src/key-value-store.ts'
import { type Client, connect } from '../../src/net/client.ts'
import type { ServerLimits } from '../../src/net/limits.ts'
import { Server } from '../../src/net/server.ts'
import { seededRandom } from '../../src/random.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { printSeed } from '../support/seed.ts'
import { SMALL_LIMITS } from '../support/session-harness.ts'

const cleanups: (() => Promise<unknown>)[] = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function serve(handler: MemoryHandler, port = 0, limits: Partial<ServerLimits> = {}) {
  const server = new Server({ handler, clock: systemClock(), random: seededRandom(1), limits })
  cleanups.push(() => server.close({ graceMs: 0 }))
  const address = await server.listen({ port })
  return { server, port: address.port }
}

async function connected(handler: MemoryHandler, limits: Partial<ServerLimits> = {}) {
  const { server, port } = await serve(handler, 0, limits)
  const client = await connect(`kv://127.0.0.1:${port}`)
  cleanups.unshift(() => client.close())
  return { server, port, client }
}

async function collect<T>(scan: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of scan) items.push(item)
  return items
}

function texts(items: readonly Uint8Array[]): string[] {
  return items.map(utf8Decode)
}

/** k0000, k0001, … */
function nameOf(index: number): string {
  return `k${String(index).padStart(4, '0')}`
}

async function fill(client: Client, count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, index) => client.put(nameOf(index), `v${index}`))
  await Promise.all(all)
}

// One-letter keys, so that operations meet.
const key = fc.constantFrom(...'abcdefghij')
const value = fc.string({ maxLength: 60 })
const bound = fc.constantFrom(...'acegi')
const lower = fc.oneof(fc.constant({}), fc.record({ gt: bound }), fc.record({ gte: bound }))
const upper = fc.oneof(fc.constant({}), fc.record({ lt: bound }), fc.record({ lte: bound }))
const range = fc.tuple(lower, upper).map(([low, high]) => ({ ...low, ...high }))

const operation = fc.oneof(
  fc.record({ do: fc.constant('put' as const), key, value }),
  fc.record({ do: fc.constant('delete' as const), key }),
  fc.record({
    do: fc.constant('batch' as const),
    keys: fc.array(fc.record({ key, value: fc.option(value) }), { maxLength: 6 }),
  }),
  fc.record({ do: fc.constant('get' as const), key }),
  fc.record({ do: fc.constant('getMany' as const), keys: fc.array(key, { maxLength: 8 }) }),
  fc.record({ do: fc.constant('count' as const), range }),
  fc.record({
    do: fc.constant('scan' as const),
    range,
    reverse: fc.boolean(),
    limit: fc.option(fc.nat(12), { nil: undefined }),
    order: fc.constantFrom('ordered' as const, 'unordered' as const),
    pageEntries: fc.integer({ min: 1, max: 5 }),
    batch: fc.integer({ min: 1, max: 4 }),
  }),
)

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

class Model {
  readonly #map = new Map<string, string>()

  set(name: string, text: string | null): void {
    if (text === null) this.#map.delete(name)
    else this.#map.set(name, text)
  }

  get(name: string): string | undefined {
    return this.#map.get(name)
  }

  select({ gt, gte, lt, lte, reverse = false }: ScanOptions): [string, string][] {
    const inRange = [...this.#map].filter(
      ([name]) =>
        (gt === undefined || name > gt) &&
        (gte === undefined || name >= gte) &&
        (lt === undefined || name < lt) &&
        (lte === undefined || name <= lte),
    )
    inRange.sort(([a], [b]) => compareBytes(utf8Encode(a), utf8Encode(b)))
    return reverse ? inRange.reverse() : inRange
  }
}

async function check(client: Client, model: Model, step: Operation): Promise<void> {
  switch (step.do) {
    case 'put':
      model.set(step.key, step.value)
      await client.put(step.key, step.value)
      break
    case 'delete':
      model.set(step.key, null)
      await client.delete(step.key)
      break
    case 'batch':
      for (const { key: name, value: text } of step.keys) model.set(name, text)
      await client.batch(
        step.keys.map(({ key: name, value: text }) =>
          text === null ? { type: 'del', key: name } : { type: 'put', key: name, value: text },
        ),
      )
      break
    case 'get': {
      const found = await client.get(step.key)
      assert.equal(found && utf8Decode(found), model.get(step.key))
      break
    }
    case 'getMany': {
      const found = await client.getMany(step.keys)
      assert.deepEqual(
        found.map(bytes => bytes && utf8Decode(bytes)),
        step.keys.map(name => model.get(name)),
      )
      break
    }
    case 'count':
      assert.equal(await client.count(step.range), model.select(step.range).length)
      break
    case 'scan':
      await checkScan(client, model, step)
  }
}

async function checkScan(
  client: Client,
  model: Model,
  step: Operation & { do: 'scan' },
): Promise<void> {
  const { range: bounds, order, limit, pageEntries } = step
  const reverse = order === 'ordered' && step.reverse
  const options = {
    ...bounds,
    reverse,
    order,
    pageEntries,
    ...(limit === undefined ? {} : { limit }),
  }
  const expected = model.select({ ...bounds, reverse })
  const scan = client.entries(options)
  const found: [string, string][] = []
  for (;;) {
    const batch = await scan.nextBatch(step.batch)
    assert.ok(batch.length <= step.batch)
    if (batch.length === 0) break
    for (const [name, text] of batch) found.push([utf8Decode(name), utf8Decode(text)])
  }
  if (order === 'ordered') {
    assert.deepEqual(found, expected.slice(0, limit))
    assert.deepEqual(
      texts(await collect(client.keys(options))),
      found.map(([name]) => name),
    )
    assert.deepEqual(
      texts(await collect(client.values(options))),
      found.map(([, text]) => text),
    )
    return
  }
  assert.equal(found.length, Math.min(limit ?? Number.POSITIVE_INFINITY, expected.length))
  assert.equal(new Map(found).size, found.length)
  for (const [name, text] of found) assert.equal(new Map(expected).get(name), text)
}

describe('a remote store', () => {
  for (const later of [false, true]) {
    test(`behaves like a sorted map, answered ${later ? 'later' : 'at once'}`, async t => {
      const seed = printSeed(t)
      const handler = new MemoryHandler({ later })
      const { client } = await connected(handler)
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 60, size: 'max' }), async steps => {
          handler.clear()
          const model = new Model()
          for (const step of steps) await check(client, model, step)
        }),
        { seed, numRuns: 25 },
      )
      assert.equal(handler.openScans, 0)
    })
  }

  test('results belong to the caller', async () => {
    const { client } = await connected(new MemoryHandler())
    await client.put('a', 'one')
    await client.put('b', 'two')
    const first = await client.get('a')
    assert.ok(first !== undefined && first.buffer.byteLength === 3)
    const [entry] = await collect(client.entries())
    assert.ok(entry !== undefined && entry[1].buffer.byteLength === 3)
    entry[1].fill(0)
    first.fill(0)
    assert.deepEqual(await client.get('a'), utf8Encode('one'))
  })

  test('values as large as allowed go both ways; larger ones say so', async () => {
    const { client } = await connected(new MemoryHandler())
    const value = seededRandom(3).bytes(8 << 20)
    await client.put('big', value)
    assert.equal(compareBytes((await client.get('big'))!, value), 0)
    await assert.rejects(client.put('big', new Uint8Array((8 << 20) + 1)), {
      code: 'KV_INVALID_ARGUMENT',
    })
  })

  test('many keys and large values are fetched in as many replies as it takes', async () => {
    const { client } = await connected(new MemoryHandler(), SMALL_LIMITS)
    const names = Array.from({ length: 150 }, (_, index) => nameOf(index))
    for (const name of names) await client.put(name, new Uint8Array(5000).fill(1))
    const found = await client.getMany(names)
    assert.equal(found.length, 150)
    assert.ok(found.every(stored => stored?.length === 5000))
  })

  test('ping, stats, ring and status', async () => {
    const handler = new MemoryHandler()
    const { client } = await connected(handler)
    assert.deepEqual(await client.ringMap(), handler.ringKept)
    assert.ok((await client.ping()) >= 0)
    const stats = (await client.stats()) as { keys: number; net: { connections: number } }
    assert.equal(stats.keys, 0)
    assert.equal(stats.net.connections, 1)
    assert.equal(client.status, 'connected')
    await client.close()
    assert.equal(client.status, 'closed')
  })

  test('thousands of callers at once', async () => {
    const { client } = await connected(new MemoryHandler({ later: true }))
    await fill(client, 10_000)
    assert.equal(await client.count(), 10_000)
    const found = await Promise.all(
      Array.from({ length: 10_000 }, (_, index) => client.get(nameOf(index))),
    )
    assert.ok(found.every((bytes, index) => utf8Decode(bytes!) === `v${index}`))
  })
})

describe('remote scans', () => {
  test('the cursor goes on where the reader stood', async () => {
    const { client } = await connected(new MemoryHandler())
    await fill(client, 57)
    for (const order of ['ordered', 'unordered'] as const) {
      const whole = texts(await collect(client.keys({ order })))
      assert.equal(new Set(whole).size, 57)
      const first = client.keys({ order, pageEntries: 10 })
      assert.equal(first.cursor, undefined)
      const head = [...(await first.nextBatch(7)), ...(await first.nextBatch(3))]
      const cursor = first.cursor
      await first.close()
      assert.deepEqual(first.cursor, cursor)
      const tail = await collect(client.keys({ order, cursor: cursor! }))
      assert.deepEqual(texts([...head, ...tail]), whole)
    }
  })

  test('in the middle of a page an ordered cursor is exact, an unordered one repeats the page', async () => {
    const { client } = await connected(new MemoryHandler())
    await fill(client, 30)
    const ordered = client.keys({ reverse: true, pageEntries: 10 })
    await ordered.nextBatch(4)
    const rest = await collect(client.keys({ reverse: true, cursor: ordered.cursor! }))
    assert.equal(rest.length, 26)
    const unordered = client.keys({ order: 'unordered', pageEntries: 10 })
    await unordered.nextBatch(10)
    await unordered.nextBatch(4)
    const again = await collect(client.keys({ order: 'unordered', cursor: unordered.cursor! }))
    assert.equal(again.length, 20)
    await ordered.close()
    await unordered.close()
  })

  test('a cursor of another order, or of nothing, is refused', async () => {
    const { client } = await connected(new MemoryHandler())
    await fill(client, 3)
    const scan = client.keys()
    await scan.next()
    const cursor = scan.cursor!
    assert.throws(() => client.keys({ order: 'unordered', cursor }), {
      code: 'KV_INVALID_ARGUMENT',
    })
    for (const bytes of [[], [1], [9, 9]]) {
      assert.throws(() => client.keys({ cursor: Uint8Array.from(bytes) }), {
        code: 'KV_INVALID_ARGUMENT',
      })
    }
    await scan.close()
  })

  test('a loop that ends early, a close and an abort release the scan on the server', async () => {
    const handler = new MemoryHandler()
    const { client } = await connected(handler)
    await fill(client, 500)
    for await (const [name] of client.entries({ pageEntries: 10 })) {
      if (utf8Decode(name) === nameOf(3)) break
    }
    const closed = client.keys({ pageEntries: 10 })
    await closed.next()
    await closed.close()
    assert.deepEqual(await closed.next(), { done: true, value: undefined })
    const controller = new AbortController()
    const aborted = client.keys({ pageEntries: 10, signal: controller.signal })
    await aborted.next()
    controller.abort()
    await assert.rejects(aborted.next(), { code: 'KV_ABORTED' })
    await assert.rejects(aborted.next(), { code: 'KV_ABORTED' }, 'and it does not look like an end')
    await client.ping()
    assert.equal(handler.openScans, 0)
  })

  test('the server reads ahead no more than the reader’s credit', async () => {
    const handler = new MemoryHandler()
    const { client, server } = await connected(handler)
    await fill(client, 1000)
    const scan = client.keys({ pageEntries: 10, readAheadPages: 3 })
    await scan.nextBatch(10)
    for (let count = 0; count < 5; count++) await client.ping()
    assert.equal(server.stats().requests['scanNext'], 3)
    await scan.close()
  })

  test('wrong options are refused', async () => {
    const { client } = await connected(new MemoryHandler())
    for (const options of [
      { limit: -1 },
      { limit: 1.5 },
      { gt: 'a', gte: 'a' },
      { order: 'unordered', reverse: true },
      { order: 'sideways' as 'ordered' },
      { pageEntries: 0 },
      { readAheadPages: 5 },
      { timeoutMs: 0 },
    ] as const) {
      assert.throws(() => client.keys(options), { code: 'KV_INVALID_ARGUMENT' })
    }
    await assert.rejects(client.keys().nextBatch(0), { code: 'KV_INVALID_ARGUMENT' })
    for (const options of [
      { timeoutMs: 0 },
      { timeoutMs: Number.NaN },
      { consistency: 'most' as 'one' },
      { durability: 'Sync' as 'sync' },
    ]) {
      await assert.rejects(client.put('k', 'v', options), { code: 'KV_INVALID_ARGUMENT' })
      await assert.rejects(connect({ ...options, url: 'kv://127.0.0.1:1' }), {
        code: 'KV_INVALID_ARGUMENT',
      })
    }
  })

  test('more scans at once than the server allows fail, the others go on', async () => {
    const { client } = await connected(new MemoryHandler(), { scansMax: 2 })
    await fill(client, 100)
    const scans = [1, 2].map(() => client.keys({ pageEntries: 10 }))
    await scans[0]!.next()
    await scans[1]!.next()
    const refused = async (timeoutMs: number) => {
      await assert.rejects(client.keys({ timeoutMs }).next(), { code: 'KV_OVERLOADED' })
    }
    // It tries until its time is over, and on a busy machine the first may not have one answer.
    await refused(300).catch(() => refused(10_000))
    assert.equal((await collect(scans[0]!)).length, 99)
    await scans[1]!.close()
  })
})

describe('when the server restarts', () => {
  test('calls wait for it and succeed', async () => {
    const handler = new MemoryHandler()
    const { server, port, client } = await connected(handler)
    await client.put('a', '1')
    await server.close({ graceMs: 1000 })
    const pending = [client.get('a'), client.put('b', '2')]
    await serve(handler, port)
    assert.deepEqual(await pending[0], utf8Encode('1'))
    await pending[1]
    assert.deepEqual(await client.get('b'), utf8Encode('2'))
  })

  for (const order of ['ordered', 'unordered'] as const) {
    for (const graceful of [true, false]) {
      test(`an ${order} scan goes on after a ${graceful ? 'graceful' : 'sudden'} end`, async () => {
        const handler = new MemoryHandler()
        const { server, port, client } = await connected(handler)
        await fill(client, 300)
        const scan = client.keys({ order, pageEntries: 20, limit: 290 })
        const found = await scan.nextBatch(30)
        await server.close({ graceMs: graceful ? 1000 : 0 })
        await serve(handler, port)
        for (;;) {
          const batch = await scan.nextBatch(1000)
          if (batch.length === 0) break
          found.push(...batch)
        }
        assert.ok(scan.resumes >= 1)
        assert.equal(found.length, 290)
        assert.equal(new Set(texts(found)).size, 290)
        if (order === 'ordered') assert.equal(texts(found).at(-1), nameOf(289))
      })
    }
  }

  test('a scan that must not be resumed fails', async () => {
    const handler = new MemoryHandler()
    const { server, port, client } = await connected(handler)
    await fill(client, 300)
    const scan = client.keys({ pageEntries: 20, resume: false })
    await scan.next()
    await server.close({ graceMs: 0 })
    await serve(handler, port)
    await assert.rejects(collect(scan), { code: 'KV_UNAVAILABLE' })
  })

  test('a scan that was not read for too long goes on too', async () => {
    const handler = new MemoryHandler()
    const { client } = await connected(handler, { scanIdleMs: 1 })
    await fill(client, 300)
    const scan = client.keys({ pageEntries: 20, readAheadPages: 1 })
    const found = await scan.nextBatch(20)
    while (handler.openScans > 0) await client.ping()
    found.push(...(await collect(scan)))
    assert.equal(found.length, 300)
    assert.equal(new Set(texts(found)).size, 300)
    assert.equal(scan.resumes, 1)
  })
})
