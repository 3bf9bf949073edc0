// Goal: the block cache never exceeds its budget, never shows a wrong block, keeps what is used
// again, and works with hardly any memory or none.
// Method: random operations over readers and block sizes with the invariants checked after each;
// a hit ratio on a skewed load with scans in between; tiny and zero budgets.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BlockCache, SLOT_SIZE, UNCACHEABLE } from '../../src/engine/block-cache.ts'
import { BlockView } from '../../src/engine/block-source.ts'
import { S3FifoQueue } from '../../src/engine/eviction-queue.ts'
import { SstableReader } from '../../src/engine/sstable-reader.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { textEntry, writeTable } from '../support/table-model.ts'

const hasher = await loadHasher()
const KIB = 1024
const MIB = 1024 * KIB

/** A reader of a table of that many blocks; what is in them does not matter here. */
function readerOf(blockCount: number, fileNumber = 1): SstableReader {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  const entries = Array.from({ length: blockCount }, (_, index) =>
    textEntry(`key${100_000 + index}`, index, 'v'.repeat(120)),
  )
  const options = { blockSize: 128, filterBitsPerKey: 0 }
  const metadata = writeTable(disk, '/db', fileNumber, entries, hasher, options)
  const [path] = disk.paths()
  const reader = SstableReader.openSync(disk.openSync(path!), metadata, hasher)
  assert.equal(reader.blockCount, blockCount)
  return reader
}

/** Content that tells which block it is. */
function content(reader: SstableReader, ordinal: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(reader.metadata.fileNumber * 31 + ordinal * 7)
}

function insert(cache: BlockCache, reader: SstableReader, ordinal: number, length: number): void {
  const bytes = new Uint8Array(length + 5)
  bytes.set(content(reader, ordinal, length), 2)
  cache.insert(reader, ordinal, bytes, 2, 2 + length)
}

/** Whether the block is cached; checks its content if so. */
function check(cache: BlockCache, reader: SstableReader, ordinal: number, length: number): boolean {
  const view = new BlockView()
  if (!cache.show(reader, ordinal, view)) return false
  assert.deepEqual(view.bytes.slice(view.start, view.end), content(reader, ordinal, length))
  return true
}

describe('block cache', () => {
  test('says how much comes in before something must go', () => {
    const cache = new BlockCache(MIB)
    const reader = readerOf(400)
    assert.ok(cache.room > MIB * 0.9 && cache.room <= MIB)
    let ordinal = 0
    for (; cache.room >= SLOT_SIZE; ordinal++) {
      const before = cache.room
      insert(cache, reader, ordinal, 100)
      assert.equal(cache.stats.evictions, 0)
      assert.ok(cache.room <= before)
    }
    assert.ok(ordinal > 200)
    insert(cache, reader, ordinal, 100)
    assert.equal(cache.stats.evictions, 1)
    cache.forget(reader)
    assert.ok(cache.room > MIB * 0.9)
  })

  for (const budget of [0, 3 * KIB, 64 * KIB, 300 * KIB, 4 * MIB]) {
    test(`keeps its invariants with ${budget / KIB} KiB`, context => {
      const random = seededRandom(printSeed(context))
      const cache = new BlockCache(budget)
      const readers = [readerOf(300, 1), readerOf(300, 2), readerOf(40, 3)]
      let shown = 0
      let limit = budget
      for (let step = 0; step < 20_000; step++) {
        const reader = readers[random.below(3)]!
        const ordinal = random.below(reader.blockCount)
        // A block always has the same size: mostly slots, some bigger, some far too big.
        const length = [100, 4000, 4096, 4097, 20_000, 9 * MIB][(ordinal * 5) % 6]!
        const draw = random.below(1000)
        if (draw === 0) cache.forget(reader)
        else if (draw === 1) {
          limit = random.below(budget + 1)
          cache.resize(limit)
        } else if (check(cache, reader, ordinal, length)) shown++
        else if (draw < 700 && length <= 20_000) insert(cache, reader, ordinal, length)
        assert.ok(cache.usedBytes <= Math.max(limit, 0.02 * budget), `at step ${step}`)
      }
      if (budget >= 64 * KIB) assert.ok(shown > 100)
      for (const reader of readers) cache.forget(reader)
      assert.equal(cache.stats.blocks, 0)
    })
  }

  test('uses all of its budget for slots when there are only slots, and for buffers alike', () => {
    for (const length of [SLOT_SIZE, 5000]) {
      const cache = new BlockCache(4 * MIB)
      const reader = readerOf(3000)
      for (let ordinal = 0; ordinal < 3000; ordinal++) insert(cache, reader, ordinal, length)
      assert.ok(cache.usedBytes <= 4 * MIB)
      assert.ok(cache.stats.blocks * length > 3.8 * MIB, `${cache.stats.blocks} blocks`)
    }
  })

  test('gives each kind of block half when both are in demand', () => {
    const cache = new BlockCache(4 * MIB)
    const reader = readerOf(6000)
    for (let ordinal = 0; ordinal < 6000; ordinal++) {
      insert(cache, reader, ordinal, ordinal % 2 === 0 ? 4000 : 8000)
    }
    let small = 0
    let big = 0
    for (let ordinal = 0; ordinal < 6000; ordinal++) {
      if (reader.slots[ordinal]! < 0) continue
      if (ordinal % 2 === 0) small += 4096
      else big += 8000
    }
    assert.ok(small > 1.5 * MIB && big > 1.5 * MIB, `${small} and ${big}`)
  })

  test('notes a block that is too big for it', () => {
    const cache = new BlockCache(MIB)
    const reader = readerOf(2)
    insert(cache, reader, 1, MIB / 2)
    assert.equal(reader.slots[1], UNCACHEABLE)
    assert.equal(cache.canHold(MIB / 2), false)
    assert.equal(cache.canHold(MIB / 16), true)
    assert.equal(cache.stats.blocks, 0)
  })

  test('keeps hot blocks through scans', context => {
    const random = seededRandom(printSeed(context))
    const cache = new BlockCache(MIB)
    const hot = readerOf(150, 1)
    const cold = readerOf(3000, 2)
    let hits = 0
    let reads = 0
    for (let round = 0; round < 20; round++) {
      for (let step = 0; step < 1500; step++) {
        const ordinal = random.below(150)
        if (round > 1) reads++
        if (check(cache, hot, ordinal, 4000)) {
          if (round > 1) hits++
        } else insert(cache, hot, ordinal, 4000)
      }
      // A scan of ten times the cache: each block is loaded, shown once, and never wanted again.
      for (let ordinal = 0; ordinal < 3000; ordinal++) {
        if (!check(cache, cold, ordinal, 4000)) insert(cache, cold, ordinal, 4000)
        check(cache, cold, ordinal, 4000)
      }
    }
    assert.ok(hits / reads > 0.95, `hit ratio ${hits / reads}`)
  })
})

describe('eviction queue', () => {
  test('keeps what was used, and brings back what returns', () => {
    const queue = new S3FifoQueue(10)
    for (let slot = 0; slot < 10; slot++) queue.insert(slot, false)
    queue.frequency[3] = 2
    assert.equal(queue.evict(), 0)
    assert.equal(queue.evictedOnProbation, true)
    queue.insert(0, true)
    for (const expected of [1, 2, 4, 5, 6, 7, 8, 9]) {
      assert.equal(queue.evict(), expected)
      queue.insert(expected, false)
      queue.frequency[0] = 1
    }
    assert.equal(queue.count, 10)
  })

  test('always finds one, whatever was used', () => {
    const queue = new S3FifoQueue(5)
    for (let slot = 0; slot < 5; slot++) queue.insert(slot, slot % 2 === 0)
    queue.frequency.fill(3)
    const evicted = new Set([0, 1, 2, 3, 4].map(() => queue.evict()))
    assert.equal(evicted.size, 5)
    assert.throws(() => queue.evict(), /can be evicted/)
  })
})
