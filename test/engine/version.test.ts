// Goal: a version finds exactly the tables that a look at every table finds, applies edits as they
// say, never changes, and refuses edits that would break its order.
// Method: random tables on a number line against plain loops.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/assert.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { type Level, Version } from '../../src/engine/version.ts'
import { LEVEL_COUNT } from '../../src/engine/version-edit.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { randomTable } from '../support/random-table.ts'
import { printSeed } from '../support/seed.ts'

function key(number: number): Uint8Array {
  return Uint8Array.of(number >> 8, number & 255)
}

function numberOf(bytes: Uint8Array): number {
  return bytes[0]! * 256 + bytes[1]!
}

/** Tables that do not overlap, in random order, from position 10 on. */
function disjointTables(random: Random, count: number, firstNumber: number): TableMetadata[] {
  let at = 10
  const tables: TableMetadata[] = []
  for (let index = 0; index < count; index++) {
    const smallest = at + random.below(5)
    const largest = smallest + random.below(6)
    at = largest + 1
    tables.push(randomTable(random, firstNumber + index, key(smallest), key(largest)))
  }
  return shuffle(random, tables)
}

function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const ordered = items.map(item => ({ item, rank: random.next() }))
  return ordered.sort((a, b) => a.rank - b.rank).map(({ item }) => item)
}

function covers(table: TableMetadata, from: number, to: number): boolean {
  return numberOf(table.smallestKey) <= to && numberOf(table.largestKey) >= from
}

describe('Version', () => {
  test('finds what a look at every table finds', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 30; round++) {
      const count = random.below(40)
      const tables = disjointTables(random, count, 1)
      const newer = shuffle(random, disjointTables(random, 5, 100))
      const version = Version.empty().apply({
        added: [
          ...tables.map(table => ({ level: 2, table })),
          ...newer.map(table => ({ level: 0, table })),
        ],
      })
      const level: Level = version.levels[2]!
      const sizes = tables.reduce((sum, table) => sum + table.size, 0)
      assert.equal(version.levelSizes[2], sizes)
      assert.equal(version.tableCount, count + 5)
      for (let at = 0; at < 500; at++) {
        // The key stands in the middle of a buffer, as it does in a memtable.
        const buffer = Uint8Array.of(9, ...key(at), 9)
        const found = version.find(2, buffer, 1, 3)
        assert.equal(
          found,
          level.find(table => covers(table, at, at)),
        )
        const from = level.findIndex(table => numberOf(table.largestKey) >= at)
        assert.equal(version.indexFrom(2, key(at)), from < 0 ? level.length : from)
        const to = at + random.below(30)
        for (const number of [0, 2]) {
          assert.deepEqual(
            version.overlapping(number, key(at), key(to)),
            version.levels[number]!.filter(table => covers(table, at, to)),
          )
        }
      }
      assert.deepEqual(version.overlapping(2, undefined, undefined), level)
    }
  })

  test('level 0 is newest first, others by key', t => {
    const random = seededRandom(printSeed(t))
    const tables = disjointTables(random, 20, 1)
    const added = tables.flatMap((table, index) => [
      { level: 0, table },
      { level: 3, table: { ...table, fileNumber: 100 + index } },
    ])
    const { levels } = Version.empty().apply({ added })
    const sequences = levels[0]!.map(table => table.largestSequence)
    assert.deepEqual(
      sequences,
      sequences.toSorted((a, b) => b - a),
    )
    const keys = levels[3]!.map(table => numberOf(table.smallestKey))
    assert.deepEqual(
      keys,
      keys.toSorted((a, b) => a - b),
    )
  })

  test('edits give new versions and leave the old ones alone', t => {
    const random = seededRandom(printSeed(t))
    let version = Version.empty()
    const model = new Map<number, { level: number; table: TableMetadata }>()
    let fileNumber = 1
    for (let round = 0; round < 200; round++) {
      const before = [...version.tables()]
      const all = [...model.values()]
      const removed = shuffle(random, all).slice(0, random.below(3))
      const fresh = disjointTables(random, random.below(3), fileNumber)
      fileNumber += fresh.length
      const added = fresh.map(table => ({ level: 0, table }))
      // Some of the removed tables move down, if their place there is free.
      for (const { table, level } of removed) {
        const target = level + 1
        const clash = all.some(
          other =>
            other.level === target && overlap(other.table, table) && !removed.includes(other),
        )
        const beside = added.some(other => other.level === target && overlap(other.table, table))
        if (target < LEVEL_COUNT && !clash && !beside) added.push({ level: target, table })
      }
      const next = version.apply({
        removed: removed.map(({ level, table }) => ({ level, fileNumber: table.fileNumber })),
        added,
      })
      for (const { table } of removed) model.delete(table.fileNumber)
      for (const entry of added) model.set(entry.table.fileNumber, entry)
      assert.deepEqual([...version.tables()], before)
      version = next
      const actual = new Map([...version.tables()].map(entry => [entry.table.fileNumber, entry]))
      assert.deepEqual(
        new Map([...actual].sort((a, b) => a[0] - b[0])),
        new Map([...model].sort((a, b) => a[0] - b[0])),
      )
    }
  })

  function overlap(a: TableMetadata, b: TableMetadata): boolean {
    return covers(a, numberOf(b.smallestKey), numberOf(b.largestKey))
  }

  test('edits that do not fit are refused', () => {
    const random = seededRandom(1)
    const table = (fileNumber: number, from: number, to: number) =>
      randomTable(random, fileNumber, key(from), key(to))
    const version = Version.empty().apply({ added: [{ level: 1, table: table(1, 10, 20) }] })
    const wrong = [
      { added: [{ level: 1, table: table(2, 20, 30) }] },
      { added: [{ level: 1, table: table(2, 5, 40) }] },
      { added: [{ level: 0, table: table(1, 50, 60) }] },
      { added: [2, 3].map(level => ({ level, table: table(2, 50, 60) })) },
      { added: [{ level: LEVEL_COUNT, table: table(2, 50, 60) }] },
      { removed: [{ level: 1, fileNumber: 2 }] },
      { removed: [{ level: 2, fileNumber: 1 }] },
      { removed: [{ level: LEVEL_COUNT, fileNumber: 1 }] },
    ]
    for (const changes of wrong) {
      assert.equal(typeof version.tryApply(changes), 'string')
      assert.throws(() => version.apply(changes), AssertionError)
    }
    assert.equal(version.tryApply({}), version)
  })

  test('edits are refused when tables of a level would overlap, and only then', t => {
    const random = seededRandom(printSeed(t))
    let refused = 0
    for (let round = 0; round < 300; round++) {
      const tables = disjointTables(random, random.below(8), 1).filter(() => random.below(3) > 0)
      const level1 = { added: tables.map(table => ({ level: 1, table })) }
      const fresh = Array.from({ length: 1 + random.below(3) }, (_, index) => {
        const from = random.below(60)
        return randomTable(random, 100 + index, key(from), key(from + random.below(4)))
      })
      const all = [...tables, ...fresh]
      const isFit = all.every((a, index) => !all.slice(index + 1).some(b => overlap(a, b)))
      const version = Version.empty().apply(level1)
      const after = version.tryApply({ added: fresh.map(table => ({ level: 1, table })) })
      assert.equal(typeof after !== 'string', isFit)
      if (typeof after === 'string') refused++
      else {
        const ascending = all.sort((a, b) => numberOf(a.smallestKey) - numberOf(b.smallestKey))
        assert.deepEqual(after.levels[1], ascending)
      }
    }
    assert.ok(refused > 50 && refused < 250, `${refused} were refused`)
  })
})
