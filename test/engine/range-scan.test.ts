// Goal: a scan that is moved about delivers what a sorted array would, from any place, in both
// directions, within its range and limit, in the state of the moment it began; and no scan holds
// the event loop.
// Method: random seeks and reads from a printed seed over a database of several levels, against
// the array of its entries; then the rules of use one by one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode } from '../../src/bytes.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { File, FileAccess } from '../../src/engine/file-system.ts'
import type { Db, LeapEntry } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { ScanOptions } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

/** Reads of tables that are opened while `gate` is set wait for it. */
class GatedDisk extends MemoryFileSystem {
  gate: Promise<void> | undefined

  override openSync(path: string, access?: FileAccess): File {
    const file = super.openSync(path, access)
    const { gate } = this
    if (gate === undefined || !path.endsWith('.sst')) return file
    const read = file.read.bind(file)
    file.read = async (...call) => {
      await gate
      return await read(...call)
    }
    return file
  }
}

const WALKS = 200
const STEPS = 30
const KEY_COUNT = 600

/** Every third key is missing, so that seeks also aim between keys. */
function keyText(index: number): string {
  return `key-${String(index).padStart(4, '0')}`
}

const KEYS = Array.from({ length: KEY_COUNT }, (_, index) => keyText(index)).filter(
  (_, index) => index % 3 !== 0,
)

async function openFilled(): Promise<{ db: Db; clock: SimClock }> {
  const clock = new SimClock()
  const db = await openEngine(new MemoryFileSystem(), { clock })
  for (let round = 0; round < 3; round++) {
    for (let index = 0; index < KEY_COUNT; index++) {
      const key = keyText(index)
      const written = index % 3 === 0 && round === 2 ? db.delete(key) : db.put(key, `${key} value`)
      await drive(clock, written)
    }
  }
  const { levels } = db.stats()
  assert.ok(levels.filter(({ tables }) => tables > 0).length >= 2, 'there are several levels')
  return { db, clock }
}

function randomBound(random: Random): string {
  const key = keyText(random.below(KEY_COUNT))
  return ['', 'a', 'z', key, key, key, `${key}x`][random.below(7)]!
}

function randomOptions(random: Random): ScanOptions {
  const lower = [{}, { gt: randomBound(random) }, { gte: randomBound(random) }][random.below(3)]
  const upper = [{}, { lt: randomBound(random) }, { lte: randomBound(random) }][random.below(3)]
  const limit = random.below(3) === 0 ? { limit: random.below(60) } : {}
  return { ...lower, ...upper, ...limit, reverse: random.below(2) === 0 }
}

/** The keys of the range in the order of the scan. */
function rangeOf({ gt, gte, lt, lte, reverse }: ScanOptions): string[] {
  const inside = KEYS.filter(
    key =>
      (gt === undefined || key > String(gt)) &&
      (gte === undefined || key >= String(gte)) &&
      (lt === undefined || key < String(lt)) &&
      (lte === undefined || key <= String(lte)),
  )
  return reverse === true ? inside.reverse() : inside
}

async function walk(db: Db, random: Random): Promise<void> {
  const options = randomOptions(random)
  const scan = db.entries(options)
  const range = rangeOf(options)
  let at = 0
  let left = options.limit ?? Number.POSITIVE_INFINITY
  let sought = false
  for (let step = 0; step < STEPS; step++) {
    const die = random.below(10)
    if (die < 4) {
      const target = randomBound(random)
      scan.seek(target)
      sought = true
      at = range.findIndex(key => (options.reverse === true ? key <= target : key >= target))
      if (at < 0) at = range.length
      continue
    }
    const countMax = die < 7 ? 1 : 1 + random.below(50)
    const expected = range.slice(at, at + Math.min(countMax, left))
    const found: string[] = []
    while (found.length < expected.length) {
      const [entry, ...more] =
        die < 7
          ? [(await scan.next()).value as [Uint8Array, Uint8Array]]
          : await scan.nextBatch(expected.length - found.length)
      for (const [key, value] of [entry!, ...more]) {
        assert.equal(utf8Decode(value), `${utf8Decode(key)} value`)
        found.push(utf8Decode(key))
      }
    }
    assert.deepEqual(found, expected, JSON.stringify(options))
    at += found.length
    left -= found.length
    if (found.length > 0) continue
    assert.equal((await scan.next()).done, true)
    // Only a scan that was moved once can be moved on from its end.
    if (!sought) return
  }
  await scan.close()
}

describe('a scan of what is in memory', () => {
  for (const [count, valueSize] of [
    [2000, 1000],
    [5000, 1],
  ] as const) {
    test(`lets the event loop turn: ${count} values of ${valueSize} bytes`, async () => {
      const clock = new SimClock()
      const options = { memtableSize: 8 * 1024 * 1024, memoryBudget: 64 * 1024 * 1024 }
      const db = await openEngine(new MemoryFileSystem(), { clock, options })
      const value = new Uint8Array(valueSize)
      const operations = Array.from({ length: count }, (_, index) => {
        return { type: 'put' as const, key: `${index}`, value }
      })
      await drive(clock, db.batch(operations))
      let turns = 0
      let over = false
      const countTurns = async (): Promise<void> => {
        for (; !over; turns++) await yieldToEventLoop()
      }
      const counted = countTurns()
      let found = 0
      for await (const _ of db.values()) found++
      over = true
      await counted
      assert.equal(found, count)
      assert.equal(db.stats().flushes.count, 0, 'it is in memory')
      assert.ok(turns >= Math.max(count / 1200, (count * valueSize) / 400_000), `${turns} turns`)
      await drive(clock, db.close())
    })
  }
})

describe('a scan that is moved', () => {
  test(`delivers what a sorted array would, on ${WALKS} random walks`, async t => {
    const seed = printSeed(t)
    const { db, clock } = await openFilled()
    for (let walkNumber = 0; walkNumber < WALKS; walkNumber++) {
      await walk(db, seededRandom(seed + walkNumber))
    }
    assert.equal(db.stats().snapshots, 0, 'every scan released its snapshot')
    await drive(clock, db.close())
  })

  test('stays in the state of the moment it began', async () => {
    const { db, clock } = await openFilled()
    const scan = db.keys()
    await scan.next()
    await drive(clock, db.delete(keyText(1)))
    await drive(clock, db.put(keyText(0), 'late'))
    scan.seek('')
    assert.equal(utf8Decode((await scan.next()).value!), keyText(1))
    await scan.close()
    await drive(clock, db.close())
  })

  test('nor does a range that is read by hand, or a leap, see what comes while it waits', async () => {
    const clock = new SimClock()
    const disk = new GatedDisk()
    const keys = Array.from({ length: 300 }, (_, index) => keyText(index))
    const write = async (db: Db, value: string) => {
      await drive(clock, db.batch(keys.map(key => ({ type: 'put', key, value }))))
      await drive(clock, db.compact())
    }
    const from = Buffer.from('key')
    const chunks = { reverse: false, keysOnly: false, countMax: 1000, bytesMax: 1e6 }
    const readers: ((db: Db, found: string[]) => unknown)[] = [
      async (db, found) => found.push(...(await db.readRange(chunks)).values.map(utf8Decode)),
      (db, found) => {
        const arrive = ({ valueBytes, valueStart, valueEnd }: LeapEntry) => {
          found.push(utf8Decode(valueBytes.subarray(valueStart, valueEnd)))
          return 'next' as const
        }
        return db.leap({ reverse: false, from, isInclusive: true, end: undefined, arrive })
      },
    ]
    for (const read of readers) {
      const before = await openEngine(disk, { clock })
      await write(before, 'first')
      await drive(clock, before.close())
      const db = await openEngine(disk, { clock })
      const found: string[] = []
      let open: () => void = () => undefined
      disk.gate = new Promise(resolve => {
        open = resolve
      })
      const reading = read(db, found)
      disk.gate = undefined
      await write(db, 'second')
      assert.equal(found.length, 0, 'it waits for the disk')
      open()
      await reading
      assert.deepEqual(found, Array(keys.length).fill('first'))
      await drive(clock, db.close())
    }
  })

  test('is refused when too many reads wait already, were it for one table', async () => {
    const disk = new GatedDisk()
    const clock = new SimClock()
    const before = await openEngine(disk, { clock })
    await drive(clock, before.put('key', 'value'))
    await drive(clock, before.close())
    const db = await openEngine(disk, { clock, options: { waitingReadsMax: 2000 } })
    let open: () => void = () => undefined
    disk.gate = new Promise(resolve => {
      open = resolve
    })
    let answered = 0
    const reads = Array.from({ length: 2512 }, async () => {
      assert.equal((await db.get('key'))?.length, 5)
      answered++
    })
    await yieldToEventLoop()
    const refused = [db.get('key'), db.has('key'), db.entries().nextBatch(1), db.getMany(['key'])]
    for (const read of refused) await assert.rejects(read, hasCode('KV_OVERLOADED'))
    open()
    let isDone = false
    const all = Promise.all(reads).finally(() => {
      isDone = true
    })
    for (let last = 0; !isDone; last = answered) {
      await yieldToEventLoop()
      assert.ok(answered - last <= 512, `${answered - last} reads were answered in one turn`)
    }
    await all
    assert.equal((await db.getMany(['key']))[0]?.length, 5)
    await drive(clock, db.close())
  })

  test('is closed by the end of a loop, and by close() otherwise', async () => {
    const { db, clock } = await openFilled()
    const looped = db.keys()
    looped.seek(keyText(KEY_COUNT - 2))
    const found: string[] = []
    for await (const key of looped) found.push(utf8Decode(key))
    assert.deepEqual(found, KEYS.slice(-2))
    assert.equal(db.stats().snapshots, 0)
    assert.throws(() => looped.seek('a'), hasCode('KV_CLOSED'))

    const held = db.keys()
    held.seek('zzz')
    assert.deepEqual(await held.nextBatch(5), [])
    assert.equal(db.stats().snapshots, 1)
    held.seek(KEYS[0]!)
    assert.equal(utf8Decode((await held.next()).value!), KEYS[0])
    await held.close()
    assert.equal(db.stats().snapshots, 0)
    assert.throws(() => held.seek('a'), hasCode('KV_CLOSED'))
    await drive(clock, db.close())
  })

  test('is not moved while it reads, nor by what is no key', async () => {
    const { db, clock } = await openFilled()
    const scan = db.keys()
    const reading = scan.next()
    assert.throws(() => scan.seek('a'), hasCode('KV_INVALID_ARGUMENT'))
    assert.equal(utf8Decode((await reading).value!), KEYS[0])
    assert.throws(() => scan.seek(7 as never), hasCode('KV_INVALID_ARGUMENT'))
    assert.equal(utf8Decode((await scan.next()).value!), KEYS[1], 'nothing was moved')
    await scan.close()
    await drive(clock, db.close())
  })
})

function hasCode(code: string) {
  return (error: unknown) => error instanceof KvError && error.code === code
}
