// Goal: users see a plain map with times to live; the store below sees partitions, versions and
// tombstones that older writes cannot undo, now or after a restart.
// Method: random operations against a Map, and the cases in which time and order matter.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, DecodeError, utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import {
  REPLICAS_AHEAD_MAX_MS,
  SKEW_BEHIND_MAX_MS,
} from '../../src/cluster/hybrid-logical-clock.ts'
import { keyText } from '../../src/cluster/key-text.ts'
import { joinEngineKey } from '../../src/cluster/partition.ts'
import {
  LARGE_COUNT,
  type PartitionedStore,
  type StoredEntry,
  TOMBSTONE_RETENTION_MS,
  type WriteTerms,
} from '../../src/cluster/partitioned-store.ts'
import type { StoreWrite } from '../../src/cluster/store-operation.ts'
import { holdsUserData } from '../../src/cluster/user-data.ts'
import {
  encodeTombstone,
  encodeValue,
  isTombstone,
  storedVersion,
} from '../../src/cluster/versioned-value.ts'
import {
  AbortedError,
  ClockSkewError,
  CorruptionError,
  InvalidArgumentError,
  IoError,
} from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { startFakeNode } from '../support/fake-node.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const OWN: WriteTerms = { durability: undefined, version: undefined }
const STRANGER = new Uint8Array(8).fill(9)
const KEY = utf8Encode('key')

function from(timeMs: number): WriteTerms {
  return { durability: undefined, version: encodeVersion(timeMs, 0, STRANGER) }
}

/** A call borrows its buffers only until it returns: then the server reads into them again. */
function overwrite(buffers: readonly Uint8Array[]): void {
  for (const buffer of buffers) buffer.fill(0xa5)
}

async function textAt(store: PartitionedStore, key = KEY): Promise<string | undefined> {
  const value = await store.get(key)
  return value && utf8Decode(value)
}

describe('partitioned store', () => {
  test('is a map with times to live', async t => {
    const random = seededRandom(printSeed(t))
    const { store, clock, engine } = await startFakeNode({ random })
    const model = new Map<string, { text: string; untilMs: number }>()
    const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
    for (let step = 0; step < 1500; step++) {
      const operations = Array.from({ length: 1 + random.below(3) }, (): StoreWrite => {
        const name = keys[random.below(keys.length)]!
        const key = utf8Encode(name)
        if (random.below(3) === 0) {
          model.delete(name)
          return { type: 'del', key }
        }
        const ttlMs = random.below(2) * (1 + random.below(1000))
        const untilMs = ttlMs === 0 ? Infinity : clock.wallMs() + ttlMs
        model.set(name, { text: `v${step}`, untilMs })
        return { type: 'put', key, value: utf8Encode(`v${step}`), ttlMs }
      })
      const written = store.batch(operations, OWN)
      overwrite(operations.flatMap(write => (write.type === 'put' ? [write.value] : [])))
      overwrite(operations.map(({ key }) => key))
      await written
      if (random.below(5) === 0) clock.advance(random.below(400))
      const asked = keys.filter(() => random.below(3) === 0)
      const askedKeys = asked.map(utf8Encode)
      const reading = store.getMany(askedKeys, Number.POSITIVE_INFINITY)
      overwrite(askedKeys)
      const found = await reading
      for (const [index, name] of asked.entries()) {
        const known = model.get(name)
        const expected = known && known.untilMs > clock.wallMs() ? known.text : undefined
        assert.equal(found[index] && utf8Decode(found[index]), expected, `step ${step}`)
        assert.equal(await textAt(store, utf8Encode(name)), expected)
      }
    }
    assert.equal(engine.openSnapshots, 0)
  })

  test('replicas that exchange what they hold come to the same bytes, in any order', async t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const nodes = await Promise.all(
      [1, 2].map(() => startFakeNode({ random, clock, isReplicated: true })),
    )
    const forms: StoredEntry[] = []
    for (let index = 0; index < 300; index++) {
      const engineKey = nodes[0]!.store.partitioner.engineKey(utf8Encode(`k${random.below(20)}`))
      // Long ago, now, and further ahead than this clock would go.
      const timeMs = clock.wallMs() - random.below(3) * 4_000_000 + random.below(2) * 5000
      const version = encodeVersion(timeMs + random.below(3), random.below(2), STRANGER)
      const stored =
        random.below(3) === 0
          ? encodeTombstone(version)
          : encodeValue(version, random.bytes(3), random.below(2) * clock.wallMs())
      forms.push({ engineKey, stored })
    }
    for (const { store } of nodes) {
      const waiting = [...forms]
      const written: Promise<void>[] = []
      while (waiting.length > 0) {
        const part: StoredEntry[] = []
        for (let left = 1 + random.below(5); left > 0 && waiting.length > 0; left--) {
          part.push(...waiting.splice(random.below(waiting.length), 1))
        }
        written.push(store.applyStored(part))
        if (random.below(4) === 0) await Promise.all(written)
      }
      await Promise.all(written)
    }
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    const dump = (node: (typeof nodes)[number]) =>
      node.engine.rows
        .filter(({ key }) => key.length > 2)
        .map(({ key, value }) => `${hex(key)} ${hex(value)}`)
    assert.equal(dump(nodes[0]!).length, 20)
    assert.deepEqual(dump(nodes[0]!), dump(nodes[1]!))
    const broken = { engineKey: forms[0]!.engineKey, stored: new Uint8Array(3) }
    assert.throws(() => nodes[0]!.store.applyStored([broken]), DecodeError)
  })

  test('answers a read without a promise when memory has it', async () => {
    const { store } = await startFakeNode()
    await store.put(KEY, utf8Encode('v'), 0, OWN)
    assert.deepEqual(store.get(KEY), utf8Encode('v'))
    assert.equal(store.get(utf8Encode('absent')), undefined)
  })

  test('getMany stops once the values come to the bytes asked for', async () => {
    const { store } = await startFakeNode()
    const keys = Array.from({ length: 200 }, (_, index) => utf8Encode(`k${index}`))
    for (const key of keys) await store.put(key, new Uint8Array(10), 0, OWN)
    assert.equal((await store.getMany(keys, 25)).length, 3)
    assert.equal((await store.getMany(keys, 0)).length, 1)
    assert.equal((await store.getMany(keys, 1e9)).length, 200)
  })

  test('getMany reads little beyond the bytes asked for, whatever it expected', async t => {
    const random = seededRandom(printSeed(t))
    const { store, engine } = await startFakeNode({ random })
    const size = 64 * 1024
    const keys = Array.from({ length: 64 }, (_, index) => utf8Encode(`k${index}`))
    let bytesRead = 0
    const { read } = engine
    engine.read = (key, snapshot) => {
      const row = engine.rows.find(candidate => Buffer.compare(candidate.key, key) === 0)
      bytesRead += row?.value.length ?? 0
      return read.call(engine, key, snapshot)
    }
    async function bytesOf(valueSizes: (index: number) => number): Promise<number> {
      for (const [index, key] of keys.entries()) {
        await store.put(key, new Uint8Array(valueSizes(index)), 0, OWN)
      }
      bytesRead = 0
      const found = await store.getMany(keys, 8 * size)
      const bytes = found.reduce((sum, value) => sum + (value?.length ?? 0), 0)
      assert.ok(bytes >= 8 * size && bytes < 9 * size)
      return bytesRead
    }
    assert.ok((await bytesOf(() => size)) <= 9 * (size + 100))
    // Small values first, so that many large ones are read at once.
    assert.ok((await bytesOf(index => (index < 40 ? 1 : size))) <= 16 * (size + 100))
  })

  test('a retry of an old put does not undo a deletion', async () => {
    const { store, clock } = await startFakeNode()
    const put = from(clock.wallMs())
    await store.put(KEY, utf8Encode('old'), 0, put)
    clock.advance(10)
    await store.delete(KEY, OWN)
    await store.put(KEY, utf8Encode('old'), 0, put)
    assert.equal(await textAt(store), undefined)
  })

  test('the larger version wins whatever the arrival order', async () => {
    const { store, clock } = await startFakeNode()
    const nowMs = clock.wallMs()
    await store.put(KEY, utf8Encode('late'), 0, from(nowMs + 2))
    await Promise.all([
      store.put(KEY, utf8Encode('early'), 0, from(nowMs + 1)),
      store.delete(KEY, from(nowMs)),
    ])
    assert.equal(await textAt(store), 'late')
    await store.put(KEY, utf8Encode('own'), 0, OWN)
    assert.equal(await textAt(store), 'own')
    // So soon after the start all are compared.
    assert.deepEqual(store.stats, { compared: 4, superseded: 2 })
  })

  test('a large batch orders like any write, with a version of its own or of a client', async () => {
    const { store, clock } = await startFakeNode()
    // Away from what an earlier process may have accepted, so that slots decide.
    clock.advance(2 * SKEW_BEHIND_MAX_MS)
    const nowMs = clock.wallMs()
    const batch = (text: string): StoreWrite[] =>
      Array.from({ length: 10 * LARGE_COUNT }, (_, index) => {
        return { type: 'put', key: utf8Encode(`k${index}`), value: utf8Encode(text), ttlMs: 0 }
      })
    const first = utf8Encode('k0')
    await store.batch(batch('own'), OWN)
    await store.put(first, utf8Encode('older'), 0, from(nowMs - 1000))
    assert.equal(await textAt(store, first), 'own')
    const { compared } = store.stats
    await store.batch(batch('client'), from(nowMs + 100))
    assert.equal(store.stats.compared, compared, 'what is surely the latest is not compared')
    await store.batch(batch('client, older'), from(nowMs + 50))
    await store.batch(batch('client'), from(nowMs + 100))
    assert.equal(await textAt(store, first), 'client')
    await store.put(first, utf8Encode('newer'), 0, from(nowMs + 200))
    await store.batch(batch('client, in between'), from(nowMs + 150))
    assert.equal(await textAt(store, first), 'newer')
    assert.equal(await textAt(store, utf8Encode('k1')), 'client, in between')
    await assert.rejects(store.batch(batch('far'), from(nowMs + 10_000)), ClockSkewError)
  })

  test('of many large batches the engine has one or two, and others in between', async () => {
    const { store, engine } = await startFakeNode()
    const submitted: string[] = []
    const write = engine.write.bind(engine)
    engine.write = operations => {
      submitted.push(operations.length > 1 ? 'large' : 'small')
      return write(operations)
    }
    const large = Array.from({ length: LARGE_COUNT + 1 }, (_, index): StoreWrite => {
      return { type: 'put', key: utf8Encode(`k${index}`), value: KEY, ttlMs: 0 }
    })
    const batches = Array.from({ length: 10 }, () => store.batch(large, OWN))
    while (!submitted.includes('large')) await yieldToEventLoop()
    const before = submitted.filter(what => what === 'large').length
    await store.put(KEY, KEY, 0, OWN)
    assert.ok(before <= 2, `${before} large batches are in front of it`)
    await Promise.all(batches)
    assert.equal(submitted.filter(what => what === 'large').length, 10)
  })

  test('is not empty while anything that was asked for is not submitted yet', async () => {
    const many = Array.from({ length: 2 * LARGE_COUNT }, (_, at): StoreWrite => {
      return { type: 'put', key: utf8Encode(`k${at}`), value: KEY, ttlMs: 0 }
    })
    const asked: Record<string, (store: PartitionedStore, nowMs: number) => Promise<void>> = {
      'one that is large': store => store.batch(many, OWN),
      'one behind that': async store => {
        await Promise.all([store.batch(many, OWN), store.put(KEY, KEY, 0, OWN)])
      },
      'one that is compared': (store, nowMs) => store.put(KEY, KEY, 0, from(nowMs)),
      'one from far ahead': (store, nowMs) => {
        const version = encodeVersion(nowMs + 60_000, 0, STRANGER)
        const engineKey = store.partitioner.engineKey(KEY)
        return store.applyStored([{ engineKey, stored: encodeValue(version, KEY, 0) }])
      },
    }
    for (const [name, ask] of Object.entries(asked)) {
      const { store, engine, clock } = await startFakeNode()
      const read = engine.read.bind(engine)
      engine.read = async (...what) => {
        for (let turns = 0; turns < 5; turns++) await yieldToEventLoop()
        return read(...what)
      }
      const holds = (): Promise<boolean> => holdsUserData(engine, 16, () => store.prepared())
      assert.equal(await holds(), false)
      const writing = ask(store, clock.wallMs())
      assert.equal(await holds(), true, name)
      await writing
      assert.equal(store.prepared(), undefined, name)
    }
    const { store, engine } = await startFakeNode()
    const writing = store.batch(many, { ...OWN, cancelled: true })
    const holds = holdsUserData(engine, 16, () => store.prepared())
    await assert.rejects(writing, AbortedError)
    assert.equal(await holds, false, 'what failed is nowhere')
  })

  test('no accepted write is older than a forgotten tombstone', async t => {
    const random = seededRandom(printSeed(t))
    const { store, clock, engine } = await startFakeNode()
    const deletedMs = clock.wallMs() + 300
    await store.delete(KEY, from(deletedMs))
    const row = engine.rows.find(({ value }) => value.length > 7 && isTombstone(value))
    assert.equal(row?.expiryMs, deletedMs + TOMBSTONE_RETENTION_MS)
    const endMs = deletedMs + 2 * TOMBSTONE_RETENTION_MS
    while (clock.wallMs() < endMs) {
      const lateMs = deletedMs - random.below(SKEW_BEHIND_MAX_MS)
      try {
        await store.put(KEY, utf8Encode('zombie'), 0, from(lateMs))
      } catch (error) {
        assert.ok(error instanceof ClockSkewError)
      }
      assert.equal(await textAt(store), undefined)
      clock.advance(random.below(100_000))
    }
  })

  test('an expired value still wins over older writes', async () => {
    const { store, clock } = await startFakeNode()
    const olderMs = clock.wallMs()
    await store.put(KEY, utf8Encode('short'), 10, from(olderMs + 5))
    clock.advance(60_000)
    await store.put(KEY, utf8Encode('older'), 0, from(olderMs))
    assert.equal(await textAt(store), undefined)
  })

  test('a retry stores the same bytes, expiry included', async () => {
    const { store, clock, engine } = await startFakeNode()
    const terms = from(clock.wallMs())
    await store.put(KEY, utf8Encode('v'), 5000, terms)
    const before = engine.rows
    clock.advance(1000)
    await store.put(KEY, utf8Encode('v'), 5000, terms)
    const users = (rows: typeof before) => rows.filter(row => row.key.length > 2)
    assert.deepEqual(users(engine.rows), users(before))
  })

  test('own writes win over everything from before a restart with an earlier clock', async () => {
    const first = await startFakeNode()
    await first.store.put(KEY, utf8Encode('before'), 0, OWN)
    await first.store.put(KEY, utf8Encode('before'), 0, from(first.clock.wallMs() + 400))
    first.clock.jumpWall(-3000)
    const second = await startFakeNode({ clock: first.clock, engine: first.engine.crashed() })
    await second.store.put(KEY, utf8Encode('after'), 0, OWN)
    await second.store.put(KEY, utf8Encode('retry'), 0, from(first.clock.wallMs() + 400))
    assert.equal(await textAt(second.store), 'after')
  })

  test('what a replica with a fast clock sent wins after a restart, too', async () => {
    const first = await startFakeNode({ isReplicated: true })
    const { partitioner } = first.store
    const wallMs = first.clock.wallMs()
    const version = encodeVersion(wallMs + 1500, 0, new Uint8Array(8).fill(9))
    const stored = encodeValue(version, utf8Encode('theirs'), 0)
    await first.store.applyStored([{ engineKey: partitioner.engineKey(KEY), stored }])
    const engine = first.engine.crashed()
    const second = await startFakeNode({ isReplicated: true, clock: first.clock, engine })
    first.clock.advance(600)
    await second.store.put(KEY, utf8Encode('earlier'), 0, from(wallMs + 1000))
    assert.equal(await textAt(second.store), 'theirs')
  })

  test('own writes win over what a replica made ahead of them, but not from far ahead', async () => {
    for (const [aheadMs, wins, sinceStartMs] of [
      [400, true, 10_000],
      [400, true, 0],
      [900, true, 10_000],
      [900, true, 0],
      [REPLICAS_AHEAD_MAX_MS, true, 10_000],
      [REPLICAS_AHEAD_MAX_MS, true, 0],
      [REPLICAS_AHEAD_MAX_MS, true, 1000],
      [REPLICAS_AHEAD_MAX_MS + 1, false, 10_000],
      [REPLICAS_AHEAD_MAX_MS + 1, false, 0],
      [1_800_000, false, 10_000],
    ] as const) {
      const node = await startFakeNode({ isReplicated: true })
      node.clock.advance(sinceStartMs)
      const engineKey = node.store.partitioner.engineKey(KEY)
      const version = encodeVersion(node.clock.wallMs() + aheadMs, 3, STRANGER)
      const stored = encodeValue(version, utf8Encode('theirs'), 0)
      await node.store.applyStored([{ engineKey, stored }])
      await node.store.put(KEY, utf8Encode('own'), 0, OWN)
      assert.equal(await textAt(node.store), wins ? 'own' : 'theirs', `${aheadMs} ms ahead`)
      // In a large batch a key that was overtaken loses: never does its version go back.
      const others = Array.from({ length: LARGE_COUNT }, (_, at): StoreWrite => {
        return { type: 'put', key: utf8Encode(`other-${at}`), value: KEY, ttlMs: 0 }
      })
      await node.store.batch([...others, { type: 'put', key: KEY, value: KEY, ttlMs: 0 }], OWN)
      const now = storedVersion((await node.store.readStored(engineKey))!)
      assert.ok(compareBytes(now, version) >= 0)
    }
  })

  test('what was stored from far ahead wins after a restart, too', async t => {
    const random = seededRandom(printSeed(t))
    for (const aheadMs of [3000, 1_800_000]) {
      for (const isOwn of [false, true]) {
        const { clock, engine, store, versions } = await startFakeNode({ isReplicated: true })
        const engineKey = store.partitioner.engineKey(KEY)
        if (isOwn) {
          clock.jumpWall(aheadMs)
          await store.put(KEY, utf8Encode('ahead'), 0, OWN)
          clock.jumpWall(-aheadMs)
          versions.setBack(clock.wallMs())
          await store.put(utf8Encode('other'), KEY, 0, OWN)
        } else {
          const version = encodeVersion(clock.wallMs() + aheadMs, 0, STRANGER)
          const stored = encodeValue(version, utf8Encode('ahead'), 0)
          await store.applyStored([{ engineKey, stored }])
        }
        const after = { isReplicated: true, clock, engine: engine.crashed() }
        const second = await startFakeNode(after)
        clock.advance(2600 + random.below(300))
        for (const terms of [OWN, from(clock.wallMs())]) {
          await second.store.put(KEY, utf8Encode('earlier'), 0, terms)
          assert.equal(await textAt(second.store), 'ahead', `${aheadMs} ms ahead`)
        }
        clock.advance(aheadMs + 60_000)
        await second.store.put(KEY, utf8Encode('later'), 0, OWN)
        assert.equal(await textAt(second.store), 'later')
      }
    }
  })

  test('what a large batch stored wins after a restart, too, though its mark failed', async () => {
    for (const count of [1, LARGE_COUNT + 1]) {
      const { clock, engine, store, versions } = await startFakeNode({ isReplicated: true })
      const aheadMs = 1_800_000
      versions.setLead(aheadMs)
      const terms = from(clock.wallMs() + aheadMs)
      const batch = Array.from({ length: count }, (_, at): StoreWrite => {
        const key = at === 0 ? KEY : utf8Encode(`other-${at}`)
        return { type: 'put', key, value: utf8Encode('ahead'), ttlMs: 0 }
      })
      engine.failNextWrite = new IoError('no mark')
      await assert.rejects(store.batch(batch, terms), { code: 'KV_UNAVAILABLE' })
      assert.equal(await textAt(store), 'ahead')
      const after = { isReplicated: true, clock, engine: engine.crashed() }
      const second = await startFakeNode(after)
      clock.advance(REPLICAS_AHEAD_MAX_MS + 1)
      await second.store.put(KEY, utf8Encode('earlier'), 0, from(clock.wallMs()))
      assert.equal(await textAt(second.store), 'ahead', `in a batch of ${count}`)
    }
  })

  // A promise that nobody owns fails the test when it rejects.
  test('getMany leaves no read to itself when another one fails at once', async () => {
    const { store, engine } = await startFakeNode()
    let reads = 0
    engine.read = () => {
      // The first is read alone.
      if (reads++ === 0) return undefined
      if (reads === 3) throw new IoError('fails at once')
      return yieldToEventLoop().then(() => Promise.reject(new IoError('fails late')))
    }
    await assert.rejects(store.getMany([KEY, KEY, KEY], 1000), /at once/)
    await yieldToEventLoop()
    await yieldToEventLoop()
    assert.equal(reads, 3)
    assert.equal(engine.openSnapshots, 0)
  })

  test('names the key whose stored form is damaged', async () => {
    const { store, engine } = await startFakeNode()
    const key = joinEngineKey(store.partitioner.partitionOf(KEY), KEY)
    for (const value of [new Uint8Array(5), new Uint8Array(40).fill(255), new Uint8Array(18)]) {
      await engine.write([{ type: 'put', key, value, expiryMs: 0 }])
      assert.throws(
        () => store.get(KEY),
        (error: unknown) => error instanceof CorruptionError && /key "key"/.test(error.message),
      )
      await assert.rejects(store.getMany([KEY], 100), CorruptionError)
    }
    await store.put(KEY, utf8Encode('healed'), 0, OWN)
    assert.equal(await textAt(store), 'healed')
  })

  test('refuses keys that are empty or too long, and writes nothing then', async () => {
    const { store, engine } = await startFakeNode()
    for (const size of [0, 65_534]) {
      const key = new Uint8Array(size)
      assert.throws(() => store.get(key), InvalidArgumentError)
      const batch: StoreWrite[] = [
        { type: 'del', key: KEY },
        { type: 'del', key },
      ]
      assert.throws(() => store.batch(batch, OWN), InvalidArgumentError)
    }
    assert.equal(engine.writes, 0)
    const longest = new Uint8Array(65_533)
    await store.put(longest, utf8Encode('v'), 0, OWN)
    assert.equal(await textAt(store, longest), 'v')
  })

  test('shows keys as text or hex, cut', () => {
    assert.equal(keyText(utf8Encode('a"é')), '"a\\"é"')
    assert.equal(keyText(Uint8Array.of(0, 255)), '00ff')
    assert.equal(keyText(new Uint8Array(1000).fill(97)).length, 81)
  })
})
