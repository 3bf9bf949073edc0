// Goal: the tables of a recovery are those that ordinary insertion would have made, byte for byte.
// Method: random operations (many versions of a key, deletions, expiries, deleted ranges) go into a
// memtable and, in the order in which a log tells them, into a replay arena; both are flushed, and
// the files are compared.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { runFlushJob } from '../../src/engine/flush-job.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { Memtable } from '../../src/engine/memtable.ts'
import { MemtableArena } from '../../src/engine/memtable-arena.ts'
import { MemtableMemory } from '../../src/engine/memtable-memory.ts'
import { ReplayArena } from '../../src/engine/replay-arena.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { type ModelEntry, randomEntries } from '../support/table-model.ts'

const hasher = await loadHasher()
const ARENA_SIZE = 1 << 20
const NO_READERS = new Float64Array(0)

type Op = Pick<ModelEntry, 'key' | 'sequence' | 'value'> & { readonly kind: EntryKind }

/** In the order of their sequences, with a few ranges among them. */
function randomOps(random: Random): Op[] {
  const count = 1 + random.below(400)
  const entries = randomEntries(random, { count, keySpace: 1 + random.below(count) })
  const keys = entries.map(({ key }) => key)
  const ops = entries.map(entry => ({ ...entry, kind: entry.kind as EntryKind }))
  const last = Math.max(...entries.map(({ sequence }) => sequence))
  for (let index = random.below(30) * random.below(2); index > 0; index--) {
    const [start, end] = [random.below(count), random.below(count)]
      .map(at => keys[at]!)
      .sort(compareBytes)
    if (compareBytes(start!, end!) === 0) continue
    // A range without end is one with an empty one.
    const value = random.below(8) === 0 ? new Uint8Array(0) : end!
    const sequence = last + 1 + ops.length
    ops.push({ key: start!, sequence, kind: EntryKind.deleteRange, value })
  }
  return ops.sort((a, b) => a.sequence - b.sequence)
}

function insertAll(memtable: Memtable, ops: readonly Op[]): void {
  for (const { key, sequence, kind, value } of ops) {
    if (kind === EntryKind.deleteRange) {
      memtable.insertRange(key, 0, key.length, sequence, value, 0, value.length, NO_READERS)
      continue
    }
    const hash = xxh32(key, 0, key.length, 0)
    memtable.insert(hash, key, 0, key.length, sequence, kind, value, 0, value.length)
  }
  memtable.freeze()
}

function flush(arena: SharedArrayBuffer, order: 'sorted' | 'arrival', snapshots: Float64Array) {
  const fileSystem = new MemoryFileSystem()
  fileSystem.makeDirectorySync('/db')
  const result = runFlushJob(
    {
      kind: 'flush',
      directory: '/db',
      firstFileNumber: 7,
      fileNumberCount: 1,
      tableOptions: { blockSize: 256, filterBitsPerKey: 10 },
      wallMs: 1000,
      arena,
      order,
      largestKey: undefined,
      snapshots,
      cancel: new Int32Array(new SharedArrayBuffer(4)),
    },
    { fileSystem, hasher, clock: new SimClock() },
  )
  const files = fileSystem.paths().map(path => [path, fileSystem.peek(path)] as const)
  return { result, files }
}

describe('a replay arena', () => {
  test('becomes the table that a memtable becomes', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 60; round++) {
      const ops = randomOps(random)
      const memtable = new Memtable(new MemtableMemory(ARENA_SIZE), 1, random)
      insertAll(memtable, ops)
      const replay = new ReplayArena(new SharedArrayBuffer(ARENA_SIZE))
      for (const { key, sequence, kind, value } of ops) {
        replay.add(kind, sequence, key, 0, key.length, value, 0, value.length)
      }
      assert.equal(replay.entryCount, memtable.entryCount)
      assert.deepEqual(replay.largestKey, memtable.largestKey)
      const snapshots = Float64Array.from(
        ops.filter(() => random.below(40) === 0).map(({ sequence }) => sequence),
      )
      const expected = flush(memtable.arena, 'sorted', snapshots)
      assert.deepEqual(flush(replay.arena, 'arrival', snapshots), expected)
    }
  })

  test('holds bytes of any place and length, in memory that was used before', t => {
    const random = seededRandom(printSeed(t))
    const memory = new SharedArrayBuffer(ARENA_SIZE)
    for (let round = 0; round < 4; round++) {
      const source = random.bytes(2000)
      const arena = new ReplayArena(memory)
      const expected = new Map<number, Buffer>()
      for (let sequence = 1; arena.hasRoom(1, 600) && sequence <= 500; sequence++) {
        const [start, valueStart] = [random.below(100), random.below(100)]
        const [end, valueEnd] = [start + 1 + random.below(70), valueStart + random.below(500)]
        arena.add(EntryKind.put, sequence, source, start, end, source, valueStart, valueEnd)
        const parts = [source.subarray(start, end), source.subarray(valueStart, valueEnd)]
        expected.set(sequence, Buffer.concat(parts))
      }
      const cursor = new MemtableArena(arena.arena, 'arrival').cursor()
      for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
        const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = cursor
        const key = keyBytes.subarray(keyStart, keyEnd)
        const found = Buffer.concat([key, valueBytes.subarray(valueStart, valueEnd)])
        assert.deepEqual(found, expected.get(cursor.sequence))
        expected.delete(cursor.sequence)
      }
      assert.equal(expected.size, 0)
    }
  })

  test('is full before its arena overflows, at any entry size', () => {
    for (const valueLength of [0, 10, 200, 5000]) {
      const arena = new ReplayArena(new SharedArrayBuffer(64 * 1024))
      const value = new Uint8Array(valueLength)
      let count = 0
      while (arena.hasRoom(1, 8 + valueLength)) {
        const key = Buffer.from(String(count++).padStart(8, '0'))
        arena.add(EntryKind.put, count, key, 0, 8, value, 0, valueLength)
      }
      assert.ok(count >= Math.floor(50_000 / (valueLength + 60)))
    }
  })

  test('takes any frame in an arena of the size it asks for', () => {
    for (const [count, keySize] of [
      [1, 1],
      [500, 3],
      [4, 60_000],
    ] as const) {
      const arena = new ReplayArena(
        new SharedArrayBuffer(ReplayArena.sizeFor(count, count * keySize)),
      )
      assert.ok(arena.hasRoom(count, count * keySize))
      const [key, value] = [new Uint8Array(keySize), new Uint8Array(0)]
      for (let index = 1; index <= count; index++) {
        arena.add(EntryKind.delete, index, key, 0, keySize, value, 0, 0)
      }
      assert.equal(arena.entryCount, count)
    }
  })
})
