// Goal: reads of blocks that no cache takes load each of them about once, however little memory
// there is and however many runs a scan merges; what such blocks take is in the stats and at the
// cost of the cache; and none is decompressed on the event loop because it was stored small.
// Method: values of megabytes in several tables of level 0 below a tiny budget, and a count of the
// reads; a model of who holds which block; values of zeros with a watch on the calls of zlib.
import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import { describe, test } from 'node:test'
import zlib from 'node:zlib'
import { yieldToEventLoop } from '../../src/clock.ts'
import { Admission } from '../../src/engine/admission.ts'
import type { Db, DbOptions, DbTuning } from '../../src/engine/index.ts'
import { type LargeBlock, type LargeBlockHold, LargeBlocks } from '../../src/engine/large-blocks.ts'
import { LARGE_SIZE_MIN } from '../../src/engine/slices.ts'
import type { SstableReader } from '../../src/engine/sstable-reader.ts'
import { seededRandom } from '../../src/random.ts'
import { openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const MIB = 1024 * 1024
/** Of a value: a block of it is large. */
const SIZE = LARGE_SIZE_MIN + 50_000
const TABLES = 6
const ROUNDS = 3
const TINY: DbOptions & DbTuning = {
  memoryBudget: 4 * MIB,
  memtableSize: 16 * MIB,
  level0CompactionTrigger: 100,
  baseLevelSize: 1024 * MIB,
  tableSizeTarget: 64 * MIB,
  openFilesMax: 100,
}

interface Subject {
  readonly db: Db
  readonly disk: MemoryFileSystem
  /** Reads of tables so far. */
  readonly reads: () => number
}

/** Tables of level 0 with every TABLES-th key each. */
async function subject(
  options: DbOptions & DbTuning,
  makeValue: (seed: number) => Uint8Array,
): Promise<Subject> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const first = await openEngine(disk, { clock, options })
  for (let table = 0; table < TABLES; table++) {
    for (let round = 0; round < ROUNDS; round++) {
      const seed = round * TABLES + table
      await first.put(keyOf(seed), makeValue(seed), { durability: 'none' })
    }
    await first.put(`other ${table}`, 'small'.repeat(100))
    // Nothing is left in memory for the log to hold.
    await first.checkpoint(`/copy ${table}`)
  }
  await first.close()
  const db = await openEngine(disk, { clock, options })
  let count = 0
  disk.onCall = (_index, kind) => void (kind === 'read' && count++)
  return { db, disk, reads: () => count }
}

function keyOf(seed: number): string {
  return `key ${String(seed).padStart(3, '0')}`
}

describe('a scan that merges large blocks in little memory', () => {
  const value = (seed: number) => new Uint8Array(SIZE + seed).fill(seed)

  for (const reverse of [false, true]) {
    test(`${reverse ? 'in reverse' : 'forwards'} loads each about once`, async () => {
      const keysOnly = reverse
      const { db, reads } = await subject(TINY, value)
      const tables = db.stats().levels[0]!.tables
      assert.ok(tables === TABLES, `${tables} tables of level 0`)
      const [gte, lt] = [new TextEncoder().encode('key'), new TextEncoder().encode('l')]
      const range = { gte, lt, reverse, keysOnly, countMax: 100, bytesMax: 2 ** 30 }
      const before = reads()
      const { keys } = await db.readRange(range)
      assert.equal(keys.length, TABLES * ROUNDS)
      const taken = reads() - before
      assert.ok(taken <= 3 * keys.length, `${taken} reads of ${keys.length} blocks`)
      await db.close()
    })
  }

  test('in chunks of an entry loads a block for each run and entry at most', async () => {
    const { db, reads } = await subject(TINY, value)
    const before = reads()
    let count = 0
    for (const scan = db.entries({ gte: 'key', lt: 'l' }); ; count++) {
      const [entry] = await scan.nextBatch(1)
      if (entry === undefined) break
      assert.equal(Buffer.compare(entry[1], value(count)), 0)
    }
    const taken = reads() - before
    assert.ok(taken <= count * (TABLES + 2) + 2 * TABLES, `${taken} reads of ${count} entries`)
    await db.close()
  })
})

test('large blocks are in the stats, at the cost of the cache, and do not stay', async () => {
  const { db } = await subject(TINY, seed => new Uint8Array(SIZE).fill(seed))
  const reads = Array.from({ length: 3 }, (_, seed) => db.get(keyOf(seed)))
  let most = 0
  const all = Promise.all(reads).then(() => {
    most = -1
  })
  let largest = 0
  while (most >= 0) {
    await yieldToEventLoop()
    most = most < 0 ? most : db.stats().memory.largeBlocks
    largest = Math.max(largest, most)
  }
  await all
  assert.ok(largest >= 2 * SIZE, `${largest} bytes at once`)
  const { memory } = db.stats()
  const { budget, total, ...consumers } = memory
  const sum = Object.values(consumers).reduce((bytes, more) => bytes + more, 0)
  assert.equal(total, sum)
  assert.ok(memory.largeBlocks <= SIZE + 1024, 'one stays, for who comes again')
  for (let table = 0; table < TABLES; table++) await db.get(`other ${table}`)
  assert.equal(db.stats().memory.largeBlocks, 0, 'until something else is read')
  assert.ok(budget > 0)
  await db.close()
})

/** How much is under way, now and at most. */
class Meter {
  now = 0
  most = 0

  enter(amount: number): void {
    this.now += amount
    this.most = Math.max(this.most, this.now)
  }
}

/** Counts bytes of large reads; `during` is called while each is under way. */
function meterReads(disk: MemoryFileSystem, during: (bytes: number) => void): Meter {
  const meter = new Meter()
  const { openSync } = disk
  disk.openSync = (...args) => {
    const file = openSync.apply(disk, args)
    const { read } = file
    file.read = async (target, offset, length, position) => {
      const bytes = length > LARGE_SIZE_MIN ? length : 0
      meter.enter(bytes)
      await yieldToEventLoop()
      during(meter.now)
      const taken = await read.call(file, target, offset, length, position)
      meter.now -= bytes
      return taken
    }
    return file
  }
  return meter
}

test('large blocks on their way are in the stats, and at most their share, or one', async () => {
  const value = (seed: number) => new Uint8Array(SIZE).fill(seed)
  for (const [memoryBudget, most] of [
    [4 * MIB, 1],
    [128 * MIB, 10],
  ] as const) {
    const { db, disk } = await subject({ ...TINY, memoryBudget }, value)
    let isCharged = true
    const meter = meterReads(disk, bytes => {
      isCharged &&= db.stats().memory.largeBlocks >= bytes
    })
    const seeds = Array.from({ length: TABLES * ROUNDS }, (_, seed) => seed)
    const values = await Promise.all(seeds.map(seed => db.get(keyOf(seed))))
    for (const seed of seeds) assert.equal(values[seed]?.[seed], seed)
    assert.ok(meter.most <= most * (SIZE + 1000), `${meter.most} bytes at once`)
    assert.ok(most === 1 || meter.most > 2 * SIZE, 'several where there is room')
    assert.ok(isCharged, 'what is read counts')
    assert.equal(meter.now, 0)
    await db.close()
  }
})

test('large blocks are decompressed no more at once than their share, or one', async t => {
  const meter = new Meter()
  const { inflateRaw } = zlib
  t.after(() => {
    zlib.inflateRaw = inflateRaw
    syncBuiltinESMExports()
  })
  zlib.inflateRaw = ((...args: unknown[]) => {
    const done = args.pop() as (...results: unknown[]) => void
    meter.enter(1)
    const end = (...results: unknown[]) => {
      meter.now--
      done(...results)
    }
    Reflect.apply(inflateRaw, zlib, [...args, end])
  }) as typeof inflateRaw
  syncBuiltinESMExports()
  // Half of it does not shrink: stored large, too; then all of it does.
  for (const noise of [SIZE, 0]) {
    const random = seededRandom(1)
    const value = (seed: number) => {
      const bytes = new Uint8Array(2 * SIZE).fill(seed)
      bytes.set(random.bytes(noise))
      return bytes
    }
    const { db } = await subject({ ...TINY, compression: 'deflate' }, value)
    meter.most = 0
    const seeds = Array.from({ length: TABLES * ROUNDS }, (_, seed) => seed)
    const values = await Promise.all(seeds.map(seed => db.get(keyOf(seed))))
    for (const seed of seeds) assert.equal(values[seed]?.at(-1), seed)
    assert.equal(meter.most, 1)
    await db.close()
  }
})

test('who waits is admitted in order, as soon as what is in leaves room', async t => {
  const random = seededRandom(printSeed(t))
  for (let run = 0; run < 50; run++) {
    const admission = new Admission(10)
    const inside: number[] = []
    const waiting: number[] = []
    const admitted: number[] = []
    const weight = () => inside.reduce((sum, more) => sum + more, 0)
    for (let step = 0; step < 60; step++) {
      if (random.below(2) === 0) {
        const more = 1 + random.below(14)
        const entering = admission.enter(more)
        const isFree = waiting.length === 0 && (inside.length === 0 || weight() + more <= 10)
        assert.equal(entering === undefined, isFree)
        if (isFree) inside.push(more)
        else waiting.push(more)
        void entering?.then(() => admitted.push(more))
      } else if (inside.length > 0) {
        const [gone] = inside.splice(random.below(inside.length), 1)
        admission.leave(gone!)
        const expected: number[] = []
        while (waiting[0] !== undefined && (inside.length === 0 || weight() + waiting[0] <= 10)) {
          expected.push(waiting[0])
          inside.push(waiting.shift()!)
        }
        await yieldToEventLoop()
        assert.deepEqual(admitted.splice(0), expected)
      }
      assert.equal(admission.waiting, waiting.length)
    }
  }
})

test('large blocks are decompressed elsewhere, however small they were stored', async t => {
  const calls: number[] = []
  const { inflateRawSync } = zlib
  t.after(() => {
    zlib.inflateRawSync = inflateRawSync
    syncBuiltinESMExports()
  })
  zlib.inflateRawSync = ((...args: Parameters<typeof inflateRawSync>) => {
    const block = inflateRawSync(...args)
    calls.push(block.length)
    return block
  }) as typeof inflateRawSync
  syncBuiltinESMExports()
  for (const memoryBudget of [4 * MIB, 256 * MIB]) {
    const options = { ...TINY, memoryBudget, compression: 'deflate' } as const
    const { db } = await subject(options, seed => new Uint8Array(SIZE).fill(seed))
    for (const reverse of [false, true]) {
      let count = 0
      for await (const [, value] of db.entries({ gte: 'key', lt: 'l', reverse })) {
        assert.equal(value.length, SIZE)
        count++
      }
      assert.equal(count, TABLES * ROUNDS)
    }
    assert.equal((await db.get(keyOf(7)))?.[5], 7)
    assert.equal((await db.get('other 1'))?.length, 500)
    await db.close()
  }
  assert.ok(calls.length > 0, 'small blocks are decompressed at once')
  const large = calls.filter(size => size > LARGE_SIZE_MIN)
  assert.deepEqual(large, [], 'large ones are not')
})

test('what is held stays, and of the rest what fits and the latest', t => {
  const random = seededRandom(printSeed(t))
  const reader = { closed: false } as SstableReader
  for (let run = 0; run < 200; run++) {
    let told = 0
    const max = 100
    const large = new LargeBlocks(max, () => {
      told = large.bytes
    })
    const loaded: LargeBlock[] = []
    const holds: { hold: LargeBlockHold; blocks: Set<LargeBlock> }[] = []
    for (let step = 0; step < 60; step++) {
      const choice = random.below(6)
      if (choice === 0) holds.push({ hold: large.hold(), blocks: new Set() })
      else if (choice === 1) loaded.push(large.add(reader, step, new Uint8Array(random.below(90))))
      else if (choice === 2) large.passedOver()
      const [some, block] = [
        holds[random.below(holds.length + 1)],
        loaded[random.below(loaded.length + 1)],
      ]
      if (choice === 3 && some !== undefined && block !== undefined) {
        some.hold.keep(block)
        some.blocks.add(block)
      } else if (choice === 4 && some !== undefined) {
        some.hold[Symbol.dispose]()
        holds.splice(holds.indexOf(some), 1)
      } else if (choice === 5 && some !== undefined) {
        some.hold.beginSlice()
        const seen = [...some.blocks].filter(() => random.below(2) === 0)
        for (const { ordinal, bytes } of seen) assert.equal(large.find(reader, ordinal), bytes)
        some.hold.dropPassed()
        some.blocks = new Set(seen)
      }
      const held = new Set(holds.flatMap(({ blocks }) => [...blocks]))
      let heldBytes = 0
      for (const { bytes } of held) heldBytes += bytes.length
      const unheld = large.bytes - heldBytes
      for (const { ordinal, bytes } of held) assert.equal(large.find(reader, ordinal), bytes)
      assert.ok(unheld >= 0 && unheld <= max + 90, `${unheld} bytes that nobody holds`)
      if (choice === 2) assert.ok(unheld <= max, `${unheld} bytes that nobody holds`)
      assert.equal(told, large.bytes)
    }
  }
})
