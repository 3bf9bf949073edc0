// Goal: of all writes to a key the one with the latest version stays, whatever the order in which
// they arrive, start, finish or fail.
// Method: concurrent random writes with versions from here and elsewhere, over a store that makes
// them visible late and answers reads late; then each key must hold its latest acknowledged write.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { compareStored, encodeValue, liveValue } from '../../src/cluster/versioned-value.ts'
import { VersionedWriter } from '../../src/cluster/versioned-writer.ts'
import type { WriteDuties } from '../../src/cluster/write-duties.ts'
import { IoError, OverloadedError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { printSeed } from '../support/seed.ts'

const WRITER = new Uint8Array(8)
const NOTHING = new Uint8Array(0)
const BARRIER = Uint8Array.of(3)
const STRANGER = new Uint8Array(8).fill(1)

function newWriter(random?: Random): { store: FakeEngine; writer: VersionedWriter } {
  const store = new FakeEngine({ wallMs: () => 0, ...(random === undefined ? {} : { random }) })
  const barrier = () => store.write([{ type: 'put', key: BARRIER, value: NOTHING, expiryMs: 0 }])
  return { store, writer: new VersionedWriter({ store, forgetMs: () => 0, barrier }) }
}

function form(timeMs: number, writer = WRITER): Uint8Array {
  return encodeValue(encodeVersion(timeMs, 0, writer), utf8Encode(`at ${timeMs}`), 0)
}

/** A stored number, and what it is. */
function counted(timeMs: number, count: number): Uint8Array {
  return encodeValue(encodeVersion(timeMs, 0, WRITER), utf8Encode(String(count)), 0)
}

function countOf(stored: Uint8Array): number {
  return Number(utf8Decode(liveValue(stored, 0)!)) || 0
}

const KEY = utf8Encode('00key')

/** The first read fails late, the second at once. */
function failingReads(): () => Promise<undefined> {
  let reads = 0
  return () => {
    if (reads++ > 0) throw new IoError('fails at once')
    return yieldToEventLoop().then(() => Promise.reject(new IoError('fails late')))
  }
}

/** Fails when a key is given a version that is older than one it was given before. */
function watchOrder(store: FakeEngine): void {
  const last = new Map<string, Uint8Array>()
  const write = store.write.bind(store)
  store.write = operations => {
    for (const operation of operations) {
      assert.ok(operation.type === 'put', 'the writer deletes nothing')
      const { key, value } = operation
      if (key === BARRIER) continue
      const before = last.get(String(key))
      assert.ok(before === undefined || compareStored(value, before) > 0, 'versions ascend')
      last.set(String(key), value.slice())
    }
    return write(operations)
  }
}

/** Duties that tell what was owed. */
function owing(): WriteDuties & { readonly owed: Uint8Array[] } {
  const owed: Uint8Array[] = []
  const submitting: WriteDuties['submitting'] = (_keys, stored) => {
    owed.push(...stored)
    return { logData: undefined, puts: [] }
  }
  return { owed, asked: () => undefined, submitting, failed: () => undefined }
}

function testRestless(duties: WriteDuties | undefined): void {
  const owed = duties === undefined ? '' : ' that is owed'
  test(`a retry${owed} on a key that never comes to rest is answered`, async () => {
    const { writer } = newWriter()
    let timeMs = 10
    let isBusy = true
    const keepBusy = async (): Promise<void> => {
      while (isBusy) {
        void writer.write([KEY], [form(timeMs++)], true, undefined)
        await Promise.resolve()
        if (timeMs % 50 === 0) await yieldToEventLoop()
      }
    }
    const busy = keepBusy()
    for (let turn = 0; turn < 3; turn++) {
      await writer.write([KEY], [form(5, STRANGER)], false, undefined, duties)
    }
    isBusy = false
    await busy
    assert.equal(writer.stats.superseded, 3)
  })
}

describe('versioned writer', () => {
  test('keeps the latest version of concurrent writes, own and foreign', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 300; round++) {
      const { store, writer } = newWriter(random)
      const keys = ['a', 'b', 'c'].map(name => utf8Encode(`00${name}`))
      const latest = new Map<Uint8Array, Uint8Array>()
      const writes: Promise<void>[] = []
      let newestMs = 1000
      for (let step = 0; step < 40; step++) {
        if (random.below(4) === 0) await yieldToEventLoop()
        if (random.below(10) === 0) store.failNextWrite = new OverloadedError('full', 1)
        const isOwn = random.below(2) === 0
        // Own versions are newer than everything met before; foreign ones may be older.
        const timeMs = isOwn ? newestMs + 1 : newestMs - random.below(20) + 5
        newestMs = Math.max(newestMs, timeMs)
        const some = keys.filter(() => random.below(2) === 0)
        if (some.length === 0) continue
        const stored = some.map(() => form(timeMs, isOwn ? WRITER : STRANGER))
        const write = writer.write(some, stored, isOwn, undefined).then(
          () => {
            for (const [index, key] of some.entries()) {
              const asked = stored[index]!
              const known = latest.get(key)
              if (known === undefined || compareStored(asked, known) > 0) latest.set(key, asked)
            }
          },
          (error: unknown) => assert.ok(error instanceof OverloadedError),
        )
        writes.push(write)
      }
      await Promise.all(writes)
      for (const key of keys) {
        const found = await store.read(key)
        const expected = latest.get(key)
        assert.deepEqual(found, expected, `round ${round}`)
      }
    }
  })

  test('submits own writes at once, and pipelines those to one key', async () => {
    const { store, writer } = newWriter()
    const writes = [1, 2, 3].map(timeMs => writer.write([KEY], [form(timeMs)], true, undefined))
    assert.equal(store.writes, 3)
    await Promise.all(writes)
    assert.deepEqual(await store.read(KEY), form(3))
  })

  test('a late retry is acknowledged and changes nothing', async () => {
    const { store, writer } = newWriter()
    await writer.write([KEY], [form(5)], true, undefined)
    await writer.write([KEY], [form(4, STRANGER)], false, 'sync')
    assert.deepEqual(await store.read(KEY), form(5))
    assert.deepEqual(writer.stats, { compared: 1, superseded: 1 })
    // Its answer waited for a write that is as durable as it asked for.
    assert.equal(store.writes, 2)
  })

  test('a write that lost against one that then failed is written after all', async () => {
    const { store, writer } = newWriter()
    const rejected: Promise<void>[] = []
    store.write = () => {
      const failed = yieldToEventLoop().then(() => Promise.reject(new OverloadedError('full', 1)))
      rejected.push(failed)
      return failed
    }
    const newer = writer.write([KEY], [form(9)], true, undefined)
    store.write = FakeEngine.prototype.write
    const older = writer.write([KEY], [form(8, STRANGER)], false, undefined)
    await assert.rejects(newer, OverloadedError)
    await older
    assert.deepEqual(await store.read(KEY), form(8, STRANGER))
  })

  for (const duties of [undefined, owing()]) testRestless(duties)

  test('what has lost is written again as what is there, when others are owed it', async () => {
    const { store, writer } = newWriter()
    const { owed, ...duties } = owing()
    const [earlier, later] = [form(1, STRANGER), form(2, STRANGER)]
    await writer.write([KEY], [later], true, undefined)
    for (const retry of [later, earlier]) {
      await writer.write([KEY], [retry], false, undefined, duties)
    }
    assert.deepEqual(owed, [later, later])
    assert.deepEqual(await store.read(KEY), later)
    // What is on its way, and owed already, need not be owed again.
    const writing = writer.write([KEY], [form(3)], true, undefined, duties)
    await writer.write([KEY], [later], false, undefined, duties)
    await writing
    assert.deepEqual(owed, [later, later, form(3)])
  })

  test('of several operations on a key in one call the last one counts', async () => {
    const { store, writer } = newWriter()
    const other = utf8Encode('00other')
    const [first, second] = [form(1), encodeValue(encodeVersion(1, 0, WRITER), utf8Encode('!'), 0)]
    await writer.write([KEY, other, KEY], [first, first, second], true, undefined)
    assert.deepEqual(await store.read(KEY), second)
    assert.deepEqual(await store.read(other), first)
  })

  test('a damaged record is overwritten', async () => {
    const { store, writer } = newWriter()
    await store.write([{ type: 'put', key: KEY, value: Uint8Array.of(1, 77), expiryMs: 0 }])
    await writer.write([KEY], [form(1, STRANGER)], false, undefined)
    assert.deepEqual(await store.read(KEY), form(1, STRANGER))
  })

  // A promise that nobody owns fails the test when it rejects.
  test('leaves no read to itself when another one fails at once', async () => {
    const { store, writer } = newWriter()
    store.read = failingReads()
    const keys = [KEY, utf8Encode('00other')]
    const write = writer.write(keys, [form(1, STRANGER), form(1, STRANGER)], false, undefined)
    await assert.rejects(write, /at once/)
    await yieldToEventLoop()
    await yieldToEventLoop()
    store.read = FakeEngine.prototype.read
    await writer.write([KEY], [form(2, STRANGER)], false, undefined)
    assert.deepEqual(await store.read(KEY), form(2, STRANGER), 'no lock is left')
  })

  test('an update reads each key once, some at a time, and leaves no read to itself', async () => {
    const { store, writer } = newWriter()
    const keys = Array.from({ length: 1500 }, (_, index) => utf8Encode(`00key ${index}`))
    let reads = 0
    let atOnce = 0
    let atOnceMax = 0
    store.read = key => {
      reads++
      if (key === keys[1400]) throw new IoError('fails at once')
      if (reads % 3 === 0) return form(reads)
      atOnceMax = Math.max(atOnceMax, ++atOnce)
      return yieldToEventLoop().then(() => {
        atOnce--
        if (key === keys[1401]) throw new IoError('fails late')
        return key
      })
    }
    const decide = (result: readonly (Uint8Array | undefined)[]) => ({
      result,
      keys: [],
      stored: [],
    })
    const seen = await writer.update(keys.slice(0, 1200), decide, undefined)
    const expected = keys.slice(0, 1200).map((key, at) => ((at + 1) % 3 === 0 ? form(at + 1) : key))
    assert.deepEqual(seen.result, expected)
    assert.equal(reads, 1200)
    assert.ok(atOnceMax <= 256, `${atOnceMax} reads at once`)
    await assert.rejects(async () => await writer.update(keys, decide, undefined), /at once/)
    await yieldToEventLoop()
    await yieldToEventLoop()
    store.read = FakeEngine.prototype.read
    await writer.write([keys[0]!], [form(2, STRANGER)], false, undefined)
    assert.deepEqual(await store.read(keys[0]!), form(2, STRANGER), 'no lock is left')
  })

  test('forgets keys whose writes are over', async () => {
    const { store, writer } = newWriter()
    const forms = Array.from({ length: 50 }, (_, index) => form(index + 1))
    for (const stored of forms) await writer.write([KEY], [stored], true, undefined)
    // A read of the store, not of leftovers, decides now.
    await store.write([{ type: 'put', key: KEY, value: form(1), expiryMs: 0 }])
    await writer.write([KEY], [form(20, STRANGER)], false, undefined)
    assert.deepEqual(await store.read(KEY), form(20, STRANGER))
  })

  test('a large write, prepared over many turns, is one among the others', async t => {
    const random = seededRandom(printSeed(t))
    const keys = ['a', 'b', 'c', 'd', 'e'].map(name => utf8Encode(`00${name}`))
    let waited = 0
    for (let round = 0; round < 200; round++) {
      const { store, writer } = newWriter(random)
      watchOrder(store)
      const latest = new Map<Uint8Array, Uint8Array>()
      const writes: Promise<void>[] = []
      let newestMs = 1000
      let hasLarge = false
      const note = (key: Uint8Array, stored: Uint8Array): void => {
        const known = latest.get(key)
        if (known === undefined || compareStored(stored, known) > 0) latest.set(key, stored)
      }
      const writeLarge = async (): Promise<void> => {
        hasLarge = true
        const asked = Array.from({ length: 1 + random.below(9) }, () => keys[random.below(5)]!)
        const isOwn = random.below(2) === 0
        let timeMs = 0
        const submitted = await writer.writeLarge({
          count: asked.length,
          durability: undefined,
          keyAt: at => asked[at]!,
          begin() {
            timeMs = isOwn ? newestMs + 1 : newestMs - random.below(20) + 5
            newestMs = Math.max(newestMs, timeMs)
            return random.below(2) === 0 ? undefined : yieldToEventLoop()
          },
          isLatestAt: () => isOwn,
          storedAt: at => form(timeMs, new Uint8Array(8).fill(at)),
          pause() {
            if (random.below(3) === 0) return undefined
            waited++
            return yieldToEventLoop()
          },
        })
        hasLarge = false
        await submitted.done
        for (const [at, key] of asked.entries()) note(key, form(timeMs, new Uint8Array(8).fill(at)))
      }
      for (let step = 0; step < 40; step++) {
        if (random.below(3) === 0) await yieldToEventLoop()
        if (!hasLarge && random.below(6) === 0) writes.push(writeLarge())
        const isOwn = random.below(2) === 0
        const timeMs = isOwn ? newestMs + 1 : newestMs - random.below(20) + 5
        newestMs = Math.max(newestMs, timeMs)
        const some = keys.filter(() => random.below(3) === 0)
        if (some.length === 0) continue
        const stored = some.map(() => form(timeMs, isOwn ? WRITER : STRANGER))
        const done = writer.write(some, stored, isOwn, undefined)
        writes.push(done.then(() => some.forEach((key, index) => void note(key, stored[index]!))))
      }
      await Promise.all(writes)
      for (const key of keys) {
        const row = store.rows.find(row => String(row.key) === String(key))
        assert.deepEqual(row?.value, latest.get(key), `key ${key[2]} of round ${round}`)
      }
    }
    assert.ok(waited > 100, 'it took turns')
  })

  test('a large write that is given up lets go of its keys', async () => {
    const { store, writer } = newWriter()
    const gaveUp = writer.writeLarge({
      count: 100,
      durability: undefined,
      keyAt: at => utf8Encode(`00${at}`),
      begin: () => undefined,
      isLatestAt: () => true,
      storedAt: () => form(5),
      pause() {
        throw new OverloadedError('not now', 1)
      },
    })
    await assert.rejects(gaveUp, OverloadedError)
    await writer.write([KEY], [form(6)], true, undefined)
    assert.deepEqual(
      store.rows.map(({ value }) => value),
      [form(6)],
    )
  })

  test('updates see what came before them, and nothing comes between', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 100; round++) {
      const { store, writer } = newWriter(random)
      const keys = ['a', 'b'].map(name => utf8Encode(`00${name}`))
      let timeMs = 0
      const acknowledged: number[][] = [[], []]
      const calls: Promise<void>[] = []
      let overwritten = 0
      const increment = async (at: number): Promise<void> => {
        const key = keys[at]!
        const decide = ([current]: readonly (Uint8Array | undefined)[]) => {
          const result = current === undefined ? 1 : countOf(current) + 1
          return { result, keys: [key], stored: [counted(++timeMs, result)] }
        }
        try {
          const { result, done } = await writer.update([key], decide, undefined)
          await done
          acknowledged[at]!.push(result)
        } catch (error) {
          assert.ok(error instanceof OverloadedError)
        }
      }
      for (let step = 0; step < 60; step++) {
        if (random.below(4) === 0) await yieldToEventLoop()
        if (random.below(20) === 0) store.failNextWrite = new OverloadedError('full', 1)
        calls.push(increment(random.below(2)))
        if (random.below(8) > 0) continue
        // Somebody overwrites one of them, by a step that no increment takes.
        const key = keys[random.below(2)]!
        const next = 1000 * ++overwritten
        const written = writer.write([key], [counted(++timeMs, next)], true, undefined)
        calls.push(
          written.then(
            () => undefined,
            () => undefined,
          ),
        )
      }
      await Promise.all(calls)
      store.failNextWrite = undefined
      for (const [at, key] of keys.entries()) {
        const seen = await writer.update(
          [key],
          ([current]) => ({ result: current && countOf(current), keys: [], stored: [] }),
          undefined,
        )
        const unique = new Set(acknowledged[at]!)
        assert.equal(unique.size, acknowledged[at]!.length, 'no two increments have one result')
        const last = acknowledged[at]!.at(-1)
        if (last === undefined || overwritten > 0) continue
        assert.ok(seen.result !== undefined && seen.result >= last, 'no acknowledged one is lost')
      }
    }
  })

  test('an update that decides to fail writes nothing, and lets go of its keys', async () => {
    const { store, writer } = newWriter()
    const failing = () =>
      writer.update(
        [KEY],
        () => {
          throw new OverloadedError('not now', 1)
        },
        undefined,
      )
    assert.throws(failing, OverloadedError)
    store.read = () => Promise.resolve(undefined)
    await assert.rejects(async () => failing(), OverloadedError)
    await writer.write([KEY], [form(6)], true, undefined)
    assert.deepEqual(
      store.rows.map(({ value }) => value),
      [form(6)],
    )
  })
})
