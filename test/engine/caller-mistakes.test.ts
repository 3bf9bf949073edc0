// Goal: a mistake of the caller is refused by itself, with KV_INVALID_ARGUMENT and before anything
// is touched: the database stays usable, what is in the log can be read back, and nothing is held.
// Method: junk of every kind at each door of the embedded API; after it a write, a restart, a look.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Db,
  InlineExecutor,
  type Progress,
  repairInEnvironment,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { operate, unlessAborted } from '../../src/engine/maintenance-operation.ts'
import { loadHasher } from '../../src/hash.ts'
import { BATCH_SIZE_MAX, KEY_SIZE_MAX } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const WRONG = { code: 'KV_INVALID_ARGUMENT', outcome: 'rejected' }
const KEY = new Uint8Array([1])
const GOOD = { type: 'put', key: KEY, value: KEY }

/** What is none of the things that calls take. */
const JUNK: readonly unknown[] = [
  null,
  0,
  1n,
  true,
  Symbol('junk'),
  () => undefined,
  new Date(0),
  new Map(),
  new Set(['x']),
  Object.create(null),
]

/** What `instanceof` takes for a Uint8Array, and is nothing to read from. */
function noBytes(): readonly unknown[] {
  const given = new Uint8Array(4)
  structuredClone(given.buffer, { transfer: [given.buffer] })
  return [given, new Proxy(KEY, {}), Object.create(KEY)]
}

interface Subject {
  readonly db: Db
  readonly clock: SimClock
  readonly disk: MemoryFileSystem
  /** Fails unless the database is what it was, now and after a restart. */
  readonly check: () => Promise<void>
}

async function subject(): Promise<Subject> {
  const clock = new SimClock()
  const disk = new MemoryFileSystem()
  const options = { memoryBudget: 16 * 1024 * 1024 }
  const db = await openEngine(disk, { clock, options })
  await drive(clock, db.put('before', 'x'))
  const check = async () => {
    assert.deepEqual(db.stats().walHolds.count, 0, 'nothing is held')
    await drive(clock, db.put('behind', 'x'))
    await drive(clock, db.close())
    const again = await openEngine(disk, { clock, options })
    const keys = await drive(clock, again.keys().nextBatch(10))
    assert.deepEqual(
      keys.map(key => new TextDecoder().decode(key)),
      ['before', 'behind'],
    )
    await drive(clock, again.close())
  }
  return { db, clock, disk, check }
}

/** Awaits the call, which may also throw at once. */
async function refused(clock: SimClock, what: string, call: () => unknown): Promise<void> {
  const answer = async () => {
    await call()
  }
  await assert.rejects(drive(clock, answer()), WRONG, what)
}

/** Operations for the layer above that the log must never hold. */
function badOperations(): readonly unknown[] {
  const empty = new Uint8Array(0)
  const long = new Uint8Array(KEY_SIZE_MAX + 1)
  return [
    ...JUNK,
    undefined,
    'x',
    {},
    { ...GOOD, type: 'get' },
    { ...GOOD, type: 1n },
    { ...GOOD, key: empty },
    { ...GOOD, key: long },
    { ...GOOD, key: 'text' },
    { ...GOOD, key: [1] },
    { ...GOOD, key: undefined },
    { ...GOOD, value: undefined },
    { ...GOOD, value: 'text' },
    { ...GOOD, value: { length: 3 } },
    { ...GOOD, value: new Uint16Array(1) },
    ...noBytes().flatMap(bytes => [
      { ...GOOD, key: bytes },
      { ...GOOD, value: bytes },
      { type: 'del-range', key: KEY, end: bytes },
    ]),
    ...[Number.NaN, Number.POSITIVE_INFINITY, -1, 1e300, '5', 1n, null].map(expiryMs => ({
      ...GOOD,
      expiryMs,
    })),
    { type: 'del', key: empty },
    { type: 'del', key: long },
    { type: 'del', key: null },
    { type: 'del-range', key: empty, end: KEY },
    { type: 'del-range', key: KEY },
    { type: 'del-range', key: KEY, end: 'z' },
    { type: 'del-range', key: KEY, end: KEY },
    { type: 'del-range', key: KEY, end: long },
  ]
}

describe('operations that the log cannot hold', () => {
  for (const count of [0, 3, 600]) {
    test(`are refused by write and commit, behind ${count} good ones`, async () => {
      const { db, clock, check } = await subject()
      const good = Array.from({ length: count }, () => GOOD)
      for (const [at, bad] of badOperations().entries()) {
        const operations = [...good, bad] as never
        for (const durability of ['sync', 'interval', 'none'] as const) {
          const what = `operation ${at}, ${durability}`
          await refused(clock, what, () => db.write(operations, { durability }))
          await refused(clock, what, () => db.commit(operations, { durability }))
        }
      }
      await check()
    })

    test(`are refused by batch, behind ${count} good ones`, async () => {
      const { db, clock, check } = await subject()
      const good = Array.from({ length: count }, () => ({ type: 'put', key: 'k', value: 'v' }))
      for (const bad of [
        ...JUNK,
        undefined,
        'x',
        { type: 1n },
        { type: 'put', key: Symbol('k') },
      ]) {
        await refused(clock, 'batch', () => db.batch([...good, bad] as never))
      }
      await check()
    })
  }

  test('are refused where they are no list, with log data that is none', async () => {
    const { db, clock, check } = await subject()
    for (const junk of [...JUNK, undefined, 'x', {}, { length: 1 }]) {
      await refused(clock, 'write', () => db.write(junk as never))
      await refused(clock, 'commit', () => db.commit(junk as never))
      await refused(clock, 'batch', () => db.batch(junk as never))
      await refused(clock, 'getMany', () => db.getMany(junk as never))
      if (junk === undefined) continue
      const options = { logData: junk } as never
      await refused(clock, 'log data', () => db.write([GOOD as never], options))
      await refused(clock, 'log data', () => db.commit([GOOD as never], options))
    }
    await check()
  })

  test('are refused by putBytes and by a prepared batch, which can go on', async () => {
    const { db, clock, check } = await subject()
    const bytes = [...JUNK, ...noBytes(), undefined, new Uint16Array(1)]
    const keys = [...bytes, new Uint8Array(0), new Uint8Array(KEY_SIZE_MAX + 1)] as never[]
    const prepared = db.prepareWrite(1)
    for (const key of keys) {
      await refused(clock, 'key', () => db.putBytes(key, KEY))
      await refused(clock, 'key', () => prepared.put(key, KEY, 0))
    }
    for (const value of bytes as never[]) {
      await refused(clock, 'value', () => db.putBytes(KEY, value))
      await refused(clock, 'value', () => prepared.put(KEY, value, 0))
    }
    await refused(clock, 'value', () => db.putBytes(KEY, new Uint8Array(BATCH_SIZE_MAX + 1)))
    for (const expiryMs of [Number.NaN, -1, 1e300, '5', 1n, undefined] as never[]) {
      await refused(clock, 'expiry', () => prepared.put(KEY, KEY, expiryMs))
    }
    prepared.put(new TextEncoder().encode('before'), KEY, 0)
    await drive(clock, prepared.commit())
    await check()
  })

  test('are refused when what they have for bytes cannot be read', async () => {
    const { db, clock, check } = await subject()
    for (const bytes of noBytes() as never[]) {
      await refused(clock, 'key', () => db.put(bytes, 'x'))
      await refused(clock, 'value', () => db.put('x', bytes))
      await refused(clock, 'in a batch', () => db.batch([{ type: 'put', key: 'x', value: bytes }]))
      await refused(clock, 'get', () => db.get(bytes))
      await refused(clock, 'getMany', () => db.getMany([bytes]))
      await refused(clock, 'bound', () => db.keys({ gte: bytes }))
      await refused(clock, 'deleteRange', () => db.deleteRange({ gte: bytes }))
    }
    assert.ok(await drive(clock, db.has('before')))
    await check()
  })

  test('are refused by a prepared batch that is not committed as announced', async () => {
    const { db, clock, check } = await subject()
    await refused(clock, 'count', () => db.prepareWrite(Symbol('1') as never))
    await refused(clock, 'none', () => db.prepareWrite(1).commit())
    const prepared = db.prepareWrite(2)
    prepared.put(KEY, KEY, 0)
    await refused(clock, 'one of two', () => prepared.commit())
    for (let index = 0; index < 2; index++) prepared.put(KEY, KEY, 0)
    await refused(clock, 'three of two', () => prepared.commit())
    const whole = db.prepareWrite(1)
    whole.put(new TextEncoder().encode('before'), KEY, 0)
    await drive(clock, whole.commit())
    await refused(clock, 'put behind it', () => whole.put(KEY, KEY, 0))
    await refused(clock, 'twice', () => whole.commit())
    await check()
  })

  test('reject their batch alone also when reading them throws', async () => {
    const { db, clock, check } = await subject()
    const trap = {
      type: 'put',
      get key(): never {
        throw new Error('from the getter')
      },
    }
    const good = Array.from({ length: 600 }, () => GOOD)
    const batch = db.batch([...good, trap] as never)
    const beside = db.put('before', 'x')
    await assert.rejects(drive(clock, batch), WRONG)
    await drive(clock, beside)
    await check()
  })
})

describe('what is no range', () => {
  const junk = [
    ...JUNK.filter(value => value !== null && typeof value !== 'object'),
    '',
    'x',
    [],
    KEY,
  ]
  const objects = [null, new Date(0), new Map(), new Set(), /x/u]

  test('is never taken for everything', async () => {
    const { db, clock, check } = await subject()
    const inherited = Object.create({ gte: 'x' })
    const others = [undefined, inherited, { prefix: 'x' }, { type: 'put', key: 'x', value: 'x' }]
    const bounds = [undefined, null, 0, 1n, [], {}, new Date(0)].flatMap(bound => [
      { gte: bound },
      { lt: bound },
    ])
    for (const range of [...junk, ...objects, ...others, ...bounds] as never[]) {
      await refused(clock, 'deleteRange', () => db.deleteRange(range))
    }
    for (const bound of bounds) {
      await refused(clock, 'batch', () => db.batch([{ type: 'del-range', ...bound } as never]))
    }
    await check()
  })

  test('is no range to read or to compact, and none of their options', async () => {
    const { db, clock, check } = await subject()
    for (const range of [...junk, ...objects, { gte: null }, { lt: 1n }] as never[]) {
      for (const call of ['entries', 'keys', 'values', 'compact', 'approximateSize'] as const) {
        await refused(clock, call, () => db[call](range))
      }
    }
    for (const limit of [-1, 1.5, '1', 1n, Symbol('1')] as never[]) {
      await refused(clock, 'limit', () => db.entries({ limit, gt: 'b', lt: 'a' }))
    }
    for (const signal of [null, 1, {}, { aborted: false }] as never[]) {
      await refused(clock, 'signal', () => db.entries({ signal }))
    }
    await check()
  })

  test('without bounds is everything, however the object was made', async () => {
    for (const range of [{}, Object.create(null)]) {
      const { db, clock } = await subject()
      await drive(clock, db.deleteRange(range))
      assert.equal(await drive(clock, db.get('before')), undefined)
      await drive(clock, db.close())
    }
  })
})

test('a change feed that is refused holds no log', async () => {
  const { db, clock, check } = await subject()
  const deaf = { aborted: false, addEventListener() {} }
  for (const signal of [null, 1, 'x', {}, { aborted: false }, deaf] as never[]) {
    await refused(clock, 'signal', () => db.changes({ signal }))
  }
  for (const after of [-1, '0', 1n, Symbol('0')] as never[]) {
    await refused(clock, 'after', () => db.changes({ after }))
  }
  for (const options of [null, 1, []] as never[]) {
    await refused(clock, 'options', () => db.changes(options))
  }
  await check()
})

describe('long work', () => {
  type Options = { readonly onProgress?: (progress: Progress) => void }
  type Work = (options: Options) => Promise<unknown>

  interface Shop extends Subject {
    readonly works: readonly (readonly [string, Work])[]
  }

  /** Every kind of long work, on a database that has something to do for it. */
  async function shop(): Promise<Shop> {
    const made = await subject()
    const { db, clock, disk } = made
    for (let at = 0; at < 300; at++) await drive(clock, db.put(`key ${at}`, new Uint8Array(500)))
    await drive(clock, db.backup('/backups'))
    await drive(clock, db.checkpoint('/closed'))
    let name = 0
    const environment = async () => {
      const hasher = await loadHasher()
      const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
      return { fileSystem: disk, executor, clock, random: seededRandom(++name) }
    }
    const works = [
      ['verify', options => db.verify(options)],
      ['checkpoint', options => db.checkpoint(`/copy ${++name}`, options)],
      ['backup', options => db.backup('/backups', options)],
      ['compact', options => db.compact({ ...options, rewrite: true })],
      [
        'restore',
        async options =>
          restoreInEnvironment('/backups', `/new ${++name}`, options, await environment()),
      ],
      ['repair', async options => repairInEnvironment('/closed', options, await environment())],
      [
        'verify of a directory',
        async options => verifyInEnvironment('/closed', options, await environment()),
      ],
    ] as const satisfies readonly (readonly [string, Work])[]
    return { ...made, works }
  }

  test('refuses options, callbacks and signals that are none', async () => {
    const { db, clock, works } = await shop()
    for (const [name, work] of works) {
      for (const onProgress of [null, 1, 'x', {}] as never[]) {
        await refused(clock, name, () => work({ onProgress }))
      }
      await refused(clock, name, () => work({ signal: 1 } as never))
      // compact() is given a copy here, and a copy of null is an object.
      if (name !== 'compact') await refused(clock, name, () => work(null as never))
    }
    await refused(clock, 'keep', () => db.backup('/backups', { keep: Symbol('1') } as never))
    await drive(clock, db.close())
  })

  test('rejects with what its callback throws, at once or later', async () => {
    const { db, clock, works } = await shop()
    for (const [name, work] of works) {
      const thrown = new Error('from the callback')
      let calls = 0
      const onProgress = () => {
        calls++
        throw thrown
      }
      await assert.rejects(drive(clock, work({ onProgress })), thrown, name)
      assert.equal(calls, 1, `${name}: it is not called again`)
      await drive(clock, work({}))
    }
    await drive(clock, db.close())
    assert.equal(clock.timerCount, 0)
  })

  test('tells parts from 0 to 1, and 1 at the end, also where there is nothing to do', async () => {
    const { db, clock, works } = await shop()
    await drive(clock, db.deleteRange({}))
    await drive(clock, db.compact())
    for (const [name, work] of works) {
      const parts: number[] = []
      const onProgress = (now: Progress) => void parts.push(now.doneBytes / now.totalBytes)
      await drive(clock, work({ onProgress }))
      assert.ok(
        parts.every(part => part >= 0 && part <= 1),
        `${name}: ${parts}`,
      )
      assert.equal(parts.at(-1), 1, name)
    }
    await drive(clock, db.close())
  })

  test('is cancelled when its callback throws while it is under way', async () => {
    const clock = new SimClock()
    const thrown = new Error('from the callback')
    for (const onProgress of [
      () => {
        throw thrown
      },
      () => Promise.reject(thrown),
    ]) {
      const executor = new InlineExecutor({
        fileSystem: new MemoryFileSystem(),
        hasher: await loadHasher(),
        clock,
      })
      const host = { executor, clock, closing: new AbortController().signal }
      let isCancelled = false
      const call = operate(host, { onProgress }, ({ signal, control }) => {
        control.progress[1] = 1
        signal.addEventListener('abort', () => {
          isCancelled = control.cancel[0] === 1
        })
        return unlessAborted(signal, new Promise<void>(() => undefined))
      })
      await assert.rejects(drive(clock, call), thrown)
      assert.ok(isCancelled)
      assert.equal(clock.timerCount, 0)
    }
  })
})
