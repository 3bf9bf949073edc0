// Goal: lookups find the same through every source; what is missing is loaded once, within bounds,
// from files that stay open as long as needed.
// Method: a simulated disk that counts calls, and lookups by the loop of block-source.ts against a
// sorted array, with caches from nothing to plenty.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { BlockMiss, type BlockSource } from '../../src/engine/block-source.ts'
import { LevelCursor } from '../../src/engine/level-cursor.ts'
import { LookupResult } from '../../src/engine/lookup-result.ts'
import { TableCache } from '../../src/engine/table-cache.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { ClosedError, CorruptionError } from '../../src/errors.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { type CallKind, MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import {
  entriesAhead,
  type ModelEntry,
  randomEntries,
  textEntry,
  writeTable,
} from '../support/table-model.ts'

const hasher = await loadHasher()
const KIB = 1024

interface Setup {
  readonly disk: MemoryFileSystem
  readonly tables: TableMetadata[]
  readonly cache: TableCache
  readonly counts: Map<CallKind, number>
}

/** Tables of the given entries, numbered from 1, behind a cache. */
function setUp(
  lists: readonly (readonly ModelEntry[])[],
  budget: number,
  openFilesMax = 100,
  blockSize = 512,
): Setup {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  const options = { blockSize, filterBitsPerKey: 10 }
  const tables = lists.map((list, index) =>
    writeTable(disk, '/db', index + 1, list, hasher, options),
  )
  const counts = new Map<CallKind, number>()
  disk.onCall = (_index, kind) => void counts.set(kind, (counts.get(kind) ?? 0) + 1)
  const cache = new TableCache({ fileSystem: disk, directory: '/db', hasher, budget, openFilesMax })
  return { disk, tables, cache, counts }
}

/** Entries cut at fixed places into tables that do not overlap. */
function cut(entries: readonly ModelEntry[], count: number): ModelEntry[][] {
  const size = Math.ceil(entries.length / count)
  return Array.from({ length: count }, (_, index) =>
    entries.slice(index * size, (index + 1) * size),
  )
}

function ascending(count: number, valueLength = 50): ModelEntry[] {
  return Array.from({ length: count }, (_, index) =>
    textEntry(`key${100_000 + index}`, index + 1, `${index}`.padEnd(valueLength, '.')),
  )
}

function lookup(
  source: BlockSource,
  table: TableMetadata,
  key: Uint8Array,
): Uint8Array | undefined {
  const result = new LookupResult()
  const hash = xxh32(key, 0, key.length, 0)
  const reader = source.open(table)
  if (!reader.get(key, 0, key.length, hash, 2 ** 50, source, result)) return undefined
  return result.valueBytes.slice(result.valueStart, result.valueEnd)
}

async function lookupLater(
  cache: TableCache,
  table: TableMetadata,
  key: Uint8Array,
): Promise<{ value: Uint8Array | undefined; loads: number }> {
  for (let loads = 0; ; loads++) {
    assert.ok(loads < 50, 'a lookup makes progress')
    try {
      return { value: lookup(cache.deferred, table, key), loads }
    } catch (error) {
      if (!(error instanceof BlockMiss)) throw error
      await error.load()
    }
  }
}

function newest(entries: readonly ModelEntry[], key: Uint8Array): Uint8Array | undefined {
  return entries.find(entry => compareBytes(entry.key, key) === 0)?.value
}

describe('table cache', () => {
  for (const budget of [0, 5 * KIB, 64 * KIB, 8 * KIB * KIB]) {
    test(`finds the same by every source with ${budget / KIB} KiB`, async context => {
      const random = seededRandom(printSeed(context))
      const shape = { count: 1500, keySpace: 900, valueLengthMax: 300 }
      const entries = randomEntries(random, shape)
      const { tables, cache } = setUp([entries], budget)
      const table = tables[0]!
      for (let round = 0; round < 300; round++) {
        const { key } = entries[random.below(entries.length)]!
        const sought = random.below(5) === 0 ? Uint8Array.from([...key, 1]) : key
        const expected = newest(entries, sought)
        assert.deepEqual(lookup(cache.points, table, sought), expected)
        assert.deepEqual(lookup(cache.transient, table, sought), expected)
        assert.deepEqual((await lookupLater(cache, table, sought)).value, expected)
        const { blocks, tableBytes } = cache.stats
        // Bookkeeping (at most 2 %) stays when an open table takes the whole of a tiny budget.
        const used = blocks.usedBytes + tableBytes
        assert.ok(used <= Math.max(budget, tableBytes + 0.02 * budget), `${used} bytes`)
      }
    })
  }

  test('loads a block once for all who wait, and then needs no disk', async () => {
    const entries = ascending(2000)
    const { tables, cache, counts } = setUp([entries], 1024 * KIB)
    const { key } = entries[1000]!
    const found = await Promise.all(
      Array.from({ length: 100 }, () => lookupLater(cache, tables[0]!, key)),
    )
    for (const { value, loads } of found) {
      assert.deepEqual(value, entries[1000]!.value)
      assert.ok(loads <= 2)
    }
    assert.equal(counts.get('open'), 1)
    assert.equal(counts.get('read'), 3, 'footer, sections, one block')
    assert.equal((await lookupLater(cache, tables[0]!, key)).loads, 0)
  })

  test('reads ahead for a scan in either direction', async () => {
    const entries = ascending(4000)
    const { tables, cache, counts } = setUp([entries], 4096 * KIB)
    await cache.openTable(tables[0]!)
    const blockCount = cache.deferred.open(tables[0]!).blockCount
    counts.clear()
    for (const isReverse of [false, true]) {
      const cursor = new LevelCursor(tables, cache.deferred)
      let at = isReverse ? 3999 : 0
      while (at >= 0 && at < 4000) {
        try {
          const { key } = entries[at]!
          cursor.seek(key, 0, key.length, 2 ** 50)
          for (; cursor.valid; isReverse ? cursor.prev() : cursor.next()) {
            assert.equal(cursor.sequence, at + 1)
            at += isReverse ? -1 : 1
          }
        } catch (error) {
          if (!(error instanceof BlockMiss)) throw error
          await error.load()
        }
      }
      assert.ok(counts.get('read')! < blockCount / 8, `${counts.get('read')} of ${blockCount}`)
      cache.close(1)
      await cache.openTable(tables[0]!)
      counts.clear()
    }
  })

  test('keeps at most so many tables open, the last used ones', async () => {
    const entries = ascending(600)
    const lists = cut(entries, 10)
    const { tables, cache, counts } = setUp(lists, 1024 * KIB, 4)
    for (let round = 0; round < 3; round++) {
      for (const [index, table] of tables.entries()) {
        const { key, value } = lists[index]![7]!
        assert.deepEqual((await lookupLater(cache, table, key)).value, value)
        assert.deepEqual(
          (await lookupLater(cache, tables[0]!, lists[0]![3]!.key)).loads,
          index === 0 && round === 0 ? 0 : 0,
        )
        assert.deepEqual(lookup(cache.points, table, key), value)
        assert.ok(cache.stats.openTables <= 4)
      }
    }
    assert.equal(counts.get('open')! - counts.get('close')!, 4)
    cache.closeAll()
    assert.equal(counts.get('open'), counts.get('close'))
  })

  test('lets synchronous cursors hold more tables than that for a slice', async () => {
    const entries = ascending(600)
    const lists = cut(entries, 10)
    const { tables, cache } = setUp(lists, 1024 * KIB, 4)
    const cursors = tables.map(table => new LevelCursor([table], cache.transient))
    for (const cursor of cursors) cursor.seekToFirst()
    const seen = cursors.flatMap(cursor => entriesAhead(cursor))
    assert.deepEqual(seen, entries)
    await lookupLater(cache, tables[0]!, entries[0]!.key)
    lookup(cache.points, tables[0]!, entries[0]!.key)
    cache.closeAll()
  })

  test('charges indices and filters to the same budget', async () => {
    const lists = cut(ascending(6000), 12)
    const { tables, cache } = setUp(lists, 60 * KIB)
    for (const [index, table] of tables.entries()) {
      await lookupLater(cache, table, lists[index]![0]!.key)
      const { tableBytes, blocks, openTables } = cache.stats
      assert.ok(tableBytes + blocks.usedBytes <= 60 * KIB, `${tableBytes} and ${blocks.usedBytes}`)
      assert.ok(tableBytes <= 30 * KIB, `${tableBytes} of ${openTables}`)
      assert.ok(openTables < 12, `${openTables}`)
    }
  })

  test('survives the deletion of a table while one of its blocks is loaded', async () => {
    const entries = ascending(2000)
    const { tables, cache, counts } = setUp([entries], 1024 * KIB)
    await cache.openTable(tables[0]!)
    const load = cache.loadBlock(cache.deferred.open(tables[0]!), 3)
    cache.close(1)
    assert.equal(counts.get('close'), undefined)
    await load
    assert.equal(counts.get('close'), 1)
    assert.equal(cache.stats.blocks.blocks, 0)
    const opening = cache.openTable(tables[0]!)
    cache.close(1)
    await assert.rejects(opening, ClosedError)
    assert.equal(counts.get('close'), 2)
    assert.deepEqual(
      (await lookupLater(cache, tables[0]!, entries[0]!.key)).value,
      entries[0]!.value,
    )
  })

  test('fails after it was closed', async () => {
    const { tables, cache } = setUp([ascending(10)], 1024 * KIB)
    const reader = await cache.openTable(tables[0]!)
    cache.closeAll()
    await assert.rejects(cache.loadBlock(reader, 0), ClosedError)
    await assert.rejects(cache.openTable(tables[0]!), ClosedError)
    assert.throws(() => cache.points.open(tables[0]!), ClosedError)
  })

  test('reports damage to whoever asks for it, and to nobody else', async () => {
    const entries = ascending(2000)
    const { disk, tables, cache } = setUp([entries], 1024 * KIB)
    const reader = await cache.openTable(tables[0]!)
    const bytes = disk.peek('/db/000001.sst')
    bytes[reader.blockOffset(20) + 30]! ^= 1
    disk.plant('/db/000001.sst', bytes)
    for (let ordinal = 0; ordinal < 20; ordinal++) await cache.loadBlock(reader, ordinal)
    await assert.rejects(cache.loadBlock(reader, 20), (error: unknown) => {
      return error instanceof CorruptionError && error.offset === reader.blockOffset(20)
    })
    await cache.loadBlock(reader, 21)
    assert.ok(reader.slots[21]! >= 0)
  })

  test('bounds the reads under way and serves all', async () => {
    const entries = ascending(6000)
    const { disk, tables, cache } = setUp([entries], 4096 * KIB)
    const reader = await cache.openTable(tables[0]!)
    let started = 0
    disk.onCall = (_index, kind) => void (kind === 'read' && started++)
    const order = Array.from({ length: reader.blockCount }, (_, index) => index)
    const loads = order
      .filter(ordinal => ordinal % 3 === 0)
      .map(ordinal => cache.loadBlock(reader, ordinal))
    assert.ok(started <= 32, `${started} at once`)
    await Promise.all(loads)
    for (const ordinal of order) assert.equal(reader.slots[ordinal]! >= 0, ordinal % 3 === 0)
  })
})
