// Goal: cursors over tables, runs and merges move exactly like an index in a sorted array.
// Method: random walks (seeks, next, prev in any order, so direction changes at every point) of
// each cursor and of a plain model side by side, over random entries with many versions of a key.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type BlockSource, BlockView } from '../../src/engine/block-source.ts'
import type { Cursor } from '../../src/engine/cursor.ts'
import { LevelCursor } from '../../src/engine/level-cursor.ts'
import { mergeCursors } from '../../src/engine/merging-cursor.ts'
import { ReadAheadSource } from '../../src/engine/read-ahead-source.ts'
import { TableCursor } from '../../src/engine/table-cursor.ts'
import { CorruptionError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import {
  ArrayCursor,
  compareEntries,
  cutIntoTables,
  dealOut,
  entriesAhead,
  entryAt,
  type ModelEntry,
  randomEntries,
  textEntry,
  writeTable,
} from '../support/table-model.ts'

const hasher = await loadHasher()

/** Moves the cursor at random and compares it with an index into `entries` after each move. */
function walk(random: Random, cursor: Cursor, entries: readonly ModelEntry[], moves: number): void {
  let at = -1
  const path: string[] = []
  for (let move = 0; move < moves; move++) {
    const draw = random.below(10)
    if (at < 0 || at >= entries.length || draw === 0) {
      at = jump(random, cursor, entries, path)
    } else if (draw < 6) {
      path.push('next')
      cursor.next()
      at++
    } else {
      path.push('prev')
      cursor.prev()
      at--
    }
    const isValid = at >= 0 && at < entries.length
    assert.equal(cursor.valid, isValid, path.join(' '))
    if (isValid) assert.deepEqual(entryAt(cursor), entries[at], path.join(' '))
  }
}

function jump(
  random: Random,
  cursor: Cursor,
  entries: readonly ModelEntry[],
  path: string[],
): number {
  const kind = random.below(4)
  if (kind === 0) {
    path.push('first')
    cursor.seekToFirst()
    return 0
  }
  if (kind === 1) {
    path.push('last')
    cursor.seekToLast()
    return entries.length - 1
  }
  const near = entries[random.below(entries.length)]!
  const key = near.key.slice(0, 1 + random.below(near.key.length))
  if (random.below(3) === 0) key[key.length - 1] = random.below(256)
  const sequence = random.below(2) === 0 ? near.sequence : random.below(500)
  const wanted = { key, sequence, kind: 1, value: key }
  path.push(`seek(${Buffer.from(key).toString('hex')},${sequence})`)
  cursor.seek(Uint8Array.from([9, ...key, 9]), 1, 1 + key.length, sequence)
  const at = entries.findIndex(entry => compareEntries(entry, wanted) >= 0)
  return at < 0 ? entries.length : at
}

function someEntries(random: Random, countMax = 250): ModelEntry[] {
  return randomEntries(random, {
    count: 1 + random.below(countMax),
    keySpace: [1, 10, 400][random.below(3)]!,
    keyLengthMax: [2, 24, 300][random.below(3)]!,
    valueLengthMax: [0, 40, 700][random.below(3)]!,
  })
}

class Disk {
  readonly fileSystem = new MemoryFileSystem()
  readonly source: BlockSource
  #fileNumber = 0

  constructor() {
    this.fileSystem.makeDirectorySync('/db')
    this.source = new ReadAheadSource(this.fileSystem, '/db', hasher)
  }

  write(entries: readonly ModelEntry[], blockSize = 256) {
    const options = { blockSize, filterBitsPerKey: 10 }
    return writeTable(this.fileSystem, '/db', ++this.#fileNumber, entries, hasher, options)
  }

  run(tables: readonly (readonly ModelEntry[])[]): Cursor {
    return new LevelCursor(
      tables.map(table => this.write(table)),
      this.source,
    )
  }
}

describe('table cursor', () => {
  test('moves like an index in a sorted array', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 60; round++) {
      const disk = new Disk()
      const entries = someEntries(random)
      const cursor = new TableCursor(disk.source)
      cursor.open(disk.source.open(disk.write(entries, [128, 512, 4096][random.below(3)]!)))
      assert.equal(cursor.valid, false)
      walk(random, cursor, entries, 200)
      cursor.seekToFirst()
      assert.deepEqual(entriesAhead(cursor), entries)
    }
  })
})

describe('level cursor', () => {
  test('moves like an index in a sorted array, over tables that cut a key apart', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 40; round++) {
      const disk = new Disk()
      const entries = someEntries(random)
      const cursor = disk.run(cutIntoTables(random, entries, 1 + random.below(8)))
      walk(random, cursor, entries, 200)
      cursor.seekToFirst()
      assert.deepEqual(entriesAhead(cursor), entries)
    }
  })

  test('of no tables is never valid', () => {
    const cursor = new LevelCursor([], new Disk().source)
    cursor.seekToFirst()
    assert.equal(cursor.valid, false)
    cursor.seekToLast()
    assert.equal(cursor.valid, false)
    cursor.seek(Uint8Array.of(1), 0, 1, 5)
    assert.equal(cursor.valid, false)
  })
})

describe('merging cursor', () => {
  for (const count of [1, 2, 3, 7, 30]) {
    test(`moves like an index in a sorted array over ${count} children`, context => {
      const random = seededRandom(printSeed(context))
      for (let round = 0; round < 40; round++) {
        const entries = someEntries(random, 120)
        const lists = dealOut(random, entries, count)
        const cursor = mergeCursors(lists.map(list => new ArrayCursor(list)))
        walk(random, cursor, entries, 200)
        cursor.seekToFirst()
        assert.deepEqual(entriesAhead(cursor), entries)
      }
    })
  }

  test('merges real runs', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 10; round++) {
      const disk = new Disk()
      const entries = someEntries(random, 400)
      const runs = dealOut(random, entries, 4)
      const cursor = mergeCursors(runs.map(run => disk.run(cutIntoTables(random, run, 3))))
      walk(random, cursor, entries, 300)
    }
  })

  test('of nothing is never valid', () => {
    const cursor = mergeCursors([])
    cursor.seekToFirst()
    assert.equal(cursor.valid, false)
    cursor.seekToLast()
    assert.equal(cursor.valid, false)
  })

  test('is not valid after an error of a child, and again after a seek', () => {
    const children = ['a', 'b'].map(key => new ArrayCursor([textEntry(key, 1, '')]))
    const cursor = mergeCursors(children)
    cursor.seekToFirst()
    const { next } = children[0]!
    children[0]!.next = () => {
      throw new CorruptionError({ path: 'x', offset: 0 }, 'damage')
    }
    assert.throws(() => cursor.next(), CorruptionError)
    assert.equal(cursor.valid, false)
    children[0]!.next = next
    cursor.seekToFirst()
    assert.equal(entriesAhead(cursor).length, 2)
  })
})

describe('read-ahead source', () => {
  test('reads a table in few calls, and a big block alone', () => {
    const disk = new Disk()
    const entries = Array.from({ length: 3000 }, (_, index) =>
      textEntry(`key${10_000 + index}`, index, 'v'.repeat(index === 1500 ? 900_000 : 300)),
    )
    const metadata = disk.write(entries, 4096)
    let reads = 0
    disk.fileSystem.onCall = (_index, kind) => void (kind === 'read' && reads++)
    const cursor = new TableCursor(disk.source)
    cursor.open(disk.source.open(metadata))
    cursor.seekToFirst()
    assert.deepEqual(entriesAhead(cursor), entries)
    assert.ok(reads <= 8, `${reads} reads`)
  })

  test('reports a file that was cut after it was opened', () => {
    const disk = new Disk()
    const metadata = disk.write([textEntry('a', 1, 'x'.repeat(500)), textEntry('b', 2, '')])
    const reader = disk.source.open(metadata)
    disk.fileSystem.plant('/db/000001.sst', new Uint8Array(100))
    assert.throws(() => disk.source.fetch(reader, 0, new BlockView()), CorruptionError)
  })
})
