// Goal: the memtable is a sorted multi-version map, through the list and through the index alike.
// Method: random inserts against a sorted array; every read of it must agree, at every sequence. A
// memtable that puts its entries in order later agrees with one that does so at once.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Encode } from '../../src/bytes.ts'
import { BufferPool } from '../../src/engine/buffer-pool.ts'
import type { Cursor } from '../../src/engine/cursor.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { LookupResult } from '../../src/engine/lookup-result.ts'
import { LINKED_AT_ONCE, Memtable } from '../../src/engine/memtable.ts'
import { MemtableArena } from '../../src/engine/memtable-arena.ts'
import { MemtableMemory } from '../../src/engine/memtable-memory.ts'
import { xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

interface Row {
  readonly key: Uint8Array
  readonly sequence: number
  readonly kind: number
  readonly value: Uint8Array
}

function compareRows(a: Row, b: Row): number {
  return compareBytes(a.key, b.key) || b.sequence - a.sequence
}

function insertRow(memtable: Memtable, row: Row): void {
  const { key, value } = row
  const hash = xxh32(key, 0, key.length, 0)
  memtable.insert(hash, key, 0, key.length, row.sequence, row.kind, value, 0, value.length)
}

/** Short keys over a small alphabet, so that prefixes, repeats and neighbours are common. */
function randomRow(random: Random, sequence: number): Row {
  const key = random.bytes(1 + random.below(7)).map(byte => (byte & 3) * 85)
  const dead = random.below(4) === 0
  const value = dead ? new Uint8Array(0) : random.bytes(random.below(90))
  return { key, sequence, kind: dead ? EntryKind.delete : EntryKind.put, value }
}

function build(seed: number, count: number): { memtable: Memtable; rows: Row[] } {
  const random = seededRandom(seed)
  const memtable = new Memtable(new MemtableMemory(1 << 20), 1, random)
  const rows: Row[] = []
  const base = seed % 2 === 0 ? 1 : 2 ** 32 - 50
  for (let index = 0; index < count; index++) {
    const row = randomRow(random, base + index)
    assert.ok(memtable.hasRoom(1, row.key.length + row.value.length))
    insertRow(memtable, row)
    rows.push(row)
  }
  return { memtable, rows: rows.sort(compareRows) }
}

function rowAt(cursor: Cursor): Row {
  return {
    key: cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd),
    sequence: cursor.sequence,
    kind: cursor.kind,
    value: cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd),
  }
}

function rowsOf(cursor: Cursor): Row[] {
  const rows: Row[] = []
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) rows.push(rowAt(cursor))
  return rows
}

/** What a read of the key at the sequence finds: sequence, kind and value. */
function lookUp(memtable: Memtable, { key }: Row, sequence: number): unknown {
  const result = new LookupResult()
  const hash = xxh32(key, 0, key.length, 0)
  if (!memtable.get(hash, key, 0, key.length, sequence, result)) return undefined
  const value = result.valueBytes.slice(result.valueStart, result.valueEnd)
  return [result.sequence, result.kind, value]
}

/**
 * Inserts the same rows into both, and from row `scanAt` on asks for a scan now and then; every
 * read says the same. Returns whether all rows are in order in the end.
 */
function fillBoth(
  random: Random,
  memtable: Memtable,
  eager: Memtable,
  size: number,
  scanAt: number,
  counts: { older: number },
): boolean {
  let isWhole = false
  const rows: Row[] = []
  for (let sequence = 1; sequence <= size; sequence++) {
    const row = randomRow(random, sequence)
    insertRow(memtable, row)
    insertRow(eager, row)
    rows.push(row)
    if (sequence >= scanAt && random.below(4) === 0) isWhole = memtable.prepareScan()
    const probe = rows[random.below(rows.length)]!
    const at = random.below(sequence + 1)
    const found = lookUp(eager, probe, at)
    assert.deepEqual(lookUp(memtable, probe, at), found)
    if (found !== undefined && at < probe.sequence) counts.older++
  }
  return isWhole
}

describe('memtable', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    test(`reads agree with a sorted array, seed ${seed}`, () => {
      const { memtable, rows } = build(seed, 700)
      const random = seededRandom(seed + 1000)
      const result = new LookupResult()
      for (let round = 0; round < 1500; round++) {
        const probe = randomRow(random, rows[random.below(rows.length)]!.sequence)
        const hash = xxh32(probe.key, 0, probe.key.length, 0)
        const expected = rows.find(
          row => compareBytes(row.key, probe.key) === 0 && row.sequence <= probe.sequence,
        )
        const { key, sequence } = probe
        const found = memtable.get(hash, key, 0, key.length, sequence, result)
        assert.equal(found, expected !== undefined)
        if (expected === undefined) continue
        assert.equal(result.sequence, expected.sequence)
        assert.equal(result.kind, expected.kind)
        const value = result.valueBytes.slice(result.valueStart, result.valueEnd)
        assert.deepEqual(value, expected.value)
      }
    })

    test(`cursors walk in internal order, seed ${seed}`, () => {
      const { memtable, rows } = build(seed, 300)
      memtable.freeze()
      const cursor = new MemtableArena(memtable.arena).cursor()
      const forward: Row[] = []
      for (cursor.seekToFirst(); cursor.valid; cursor.next()) forward.push(rowAt(cursor))
      assert.deepEqual(forward, rows)
      const backward: Row[] = []
      for (cursor.seekToLast(); cursor.valid; cursor.prev()) backward.push(rowAt(cursor))
      assert.deepEqual(backward.reverse(), rows)
      const random = seededRandom(seed)
      for (let round = 0; round < 300; round++) {
        const probe = randomRow(random, rows[random.below(rows.length)]!.sequence)
        cursor.seek(probe.key, 0, probe.key.length, probe.sequence)
        const expected = rows.find(row => compareRows(row, probe) >= 0)
        assert.deepEqual(cursor.valid ? rowAt(cursor) : undefined, expected)
      }
    })
  }

  test('that defers is the same one, whenever a scan comes and however long it takes', context => {
    const random = seededRandom(printSeed(context))
    const counts = { waits: 0, older: 0 }
    const buffers = new BufferPool(1 << 20)
    // Until enough had to wait: of 30 rounds 39 times on average, and hardly ever less than 20.
    for (let round = 0; round < 30 || (round < 100 && counts.waits <= 20); round++) {
      const memory = new MemtableMemory(1 << 18)
      const size = 1 + random.below(2000)
      for (const scanAt of [0, random.below(size), size]) {
        const memtable = new Memtable(memory, 1, random, true)
        const eager = new Memtable(new MemtableMemory(1 << 18), 1, random)
        const isWhole = fillBoth(random, memtable, eager, size, scanAt, counts)
        memtable.freeze()
        const expected = rowsOf(eager.cursor())
        const { arena, order } = memtable
        assert.equal(typeof order === 'string', isWhole)
        // The flush may be reading while a scan goes on putting entries in order.
        const flushed = new MemtableArena(arena, order, buffers)
        while (!memtable.prepareScan()) counts.waits++
        assert.deepEqual(rowsOf(flushed.cursor()), expected)
        assert.deepEqual(flushed.largestKey, eager.largestKey)
        const { spareBytes } = buffers
        flushed.release()
        assert.equal(buffers.spareBytes > spareBytes, typeof order !== 'string')
        assert.deepEqual(rowsOf(memtable.cursor()), expected)
        assert.equal(memtable.order, 'sorted')
        assert.deepEqual(memtable.largestKey, eager.largestKey)
        assert.equal(memtable.wasScanned, size > LINKED_AT_ONCE)
      }
    }
    assert.ok(counts.waits > 20 && counts.older > 1000)
  })

  test('is full before its arena or index overflows, at any entry size', () => {
    for (const valueLength of [0, 10, 200, 5000]) {
      const random = seededRandom(valueLength)
      const memtable = new Memtable(new MemtableMemory(64 * 1024), 1, random)
      const value = new Uint8Array(valueLength)
      let count = 0
      while (memtable.hasRoom(1, 8 + valueLength)) {
        const key = utf8Encode(String(count).padStart(8, '0'))
        insertRow(memtable, { key, sequence: ++count, kind: EntryKind.put, value })
      }
      assert.ok(count >= Math.min(400, Math.floor(50_000 / (valueLength + 60))))
    }
  })

  test('takes any batch in an arena of the size it asks for', () => {
    for (const [count, dataSize] of [
      [1, 1],
      [1000, 1000],
      [3, 1 << 20],
    ] as const) {
      const memory = new MemtableMemory(Memtable.arenaSizeFor(count, dataSize))
      assert.ok(new Memtable(memory, 1, seededRandom(0)).hasRoom(count, dataSize))
    }
  })

  test('refuses to be written once frozen', () => {
    const { memtable } = build(1, 3)
    memtable.freeze()
    assert.throws(() => insertRow(memtable, randomRow(seededRandom(1), 99)), /frozen/)
  })
})
