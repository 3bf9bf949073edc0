// Goal: partitions are equal, contiguous and never hold a key of the node; a range of user keys
// means the same within every partition.
// Method: golden keys, all boundaries between partitions, and random ranges against a filter.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Encode } from '../../src/bytes.ts'
import {
  afterPartition,
  beforePartition,
  type EngineRange,
  enginePartition,
  engineUserKey,
  isNodeKey,
  joinEngineKey,
  KeyBounds,
  PARTITION_SIZE,
  Partitioner,
  USER_KEY_SIZE_MAX,
  type UserRange,
} from '../../src/cluster/partition.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { KEY_SIZE_MAX } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

function isInside(key: Uint8Array, range: EngineRange | UserRange): boolean {
  if (range.gt !== undefined && compareBytes(key, range.gt) <= 0) return false
  if (range.gte !== undefined && compareBytes(key, range.gte) < 0) return false
  if (range.lt !== undefined && compareBytes(key, range.lt) >= 0) return false
  return range.lte === undefined || compareBytes(key, range.lte) <= 0
}

function shortKey(random: Random, sizeMin: number): Uint8Array {
  return random.bytes(sizeMin + random.below(3)).map(byte => [0, 1, 0x61, 0xff][byte & 3]!)
}

function randomRange(random: Random): UserRange {
  const lower = shortKey(random, 0)
  const upper = shortKey(random, 0)
  const lowerKind = random.below(3)
  const upperKind = random.below(3)
  return {
    ...(lowerKind === 1 ? { gt: lower } : lowerKind === 2 ? { gte: lower } : {}),
    ...(upperKind === 1 ? { lt: upper } : upperKind === 2 ? { lte: upper } : {}),
  }
}

describe('partitioner', () => {
  test('has the documented engine keys', () => {
    assert.equal(USER_KEY_SIZE_MAX, KEY_SIZE_MAX - PARTITION_SIZE)
    const key = new Partitioner(1024).engineKey(utf8Encode('hello'))
    // xxh32('hello', 0) is 0xfb0077f9: its top ten bits are 0x3ec.
    assert.equal(Buffer.from(key).toString('hex'), '03ec68656c6c6f')
    assert.equal(new Partitioner(65_536).partitionOf(utf8Encode('hello')), 0xfb00)
    assert.equal(new Partitioner(1).partitionOf(utf8Encode('hello')), 0)
  })

  test('spreads keys evenly', () => {
    const partitioner = new Partitioner(64)
    const counts = new Array<number>(64).fill(0)
    for (let index = 0; index < 64_000; index++) {
      const partition = partitioner.partitionOf(utf8Encode(`user:${index}`))
      counts[partition] = counts[partition]! + 1
    }
    assert.ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, String(counts))
  })

  test('takes keys up to the engine limit less its own two bytes', () => {
    const partitioner = new Partitioner(16)
    assert.equal(partitioner.engineKey(new Uint8Array(USER_KEY_SIZE_MAX)).length, KEY_SIZE_MAX)
    for (const size of [0, USER_KEY_SIZE_MAX + 1]) {
      assert.throws(() => partitioner.engineKey(new Uint8Array(size)), InvalidArgumentError)
    }
  })

  for (const count of [0, -1, 3, 1000, 131_072, 2.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    test(`refuses ${count} partitions`, () => {
      assert.throws(() => new Partitioner(count), InvalidArgumentError)
    })
  }
})

describe('partition boundaries', () => {
  test('hold every user key of every partition and no node key', () => {
    for (let partition = 0; partition <= 0xffff; partition++) {
      const range = { gt: beforePartition(partition), lt: afterPartition(partition) }
      const lowest = joinEngineKey(partition, Uint8Array.of(0))
      const highest = joinEngineKey(partition, new Uint8Array(4).fill(255))
      assert.ok(isInside(lowest, range) && isInside(highest, range))
      assert.equal(enginePartition(lowest), partition)
      const neighbours = [
        beforePartition(partition),
        Uint8Array.of(partition >>> 8),
        Uint8Array.of(((partition + 1) & 0xffff) >>> 8),
        beforePartition((partition + 1) & 0xffff),
        joinEngineKey((partition + 1) & 0xffff, Uint8Array.of(0)),
        joinEngineKey((partition + 0xffff) & 0xffff, new Uint8Array(4).fill(255)),
      ]
      for (const key of neighbours) assert.ok(!isInside(key, range), `${partition}: ${key}`)
    }
  })

  test('a node key is what is too short for a user key', () => {
    assert.ok(isNodeKey(Uint8Array.of(1)) && isNodeKey(Uint8Array.of(1, 2)))
    assert.ok(!isNodeKey(Uint8Array.of(1, 2, 3)))
  })
})

describe('key bounds', () => {
  test('select the same user keys in every partition as on their own', t => {
    const random = seededRandom(printSeed(t))
    const partitions = [0, 0xff, 0x100, 0x3ec, 0xffff]
    for (let round = 0; round < 2000; round++) {
      const range = randomRange(random)
      const bounds = new KeyBounds(range)
      const key = shortKey(random, 1)
      const inside = isInside(key, range)
      assert.equal(bounds.locate(key) === 0, inside)
      if (inside) assert.ok(!bounds.isEmpty)
      for (const partition of partitions) {
        const own = { ...bounds.lowerIn(partition), ...bounds.upperIn(partition) }
        assert.equal(isInside(joinEngineKey(partition, key), own), inside)
        assert.ok(!isInside(beforePartition(partition), own) || bounds.isEmpty)
        const other = joinEngineKey((partition + 1) & 0xffff, key)
        assert.ok(!isInside(other, own))
      }
    }
  })

  test('longer than any key still mean what they say', () => {
    const longest = new Uint8Array(USER_KEY_SIZE_MAX).fill(7)
    const longer = new Uint8Array(USER_KEY_SIZE_MAX + 9).fill(7)
    const above = longest.with(USER_KEY_SIZE_MAX - 1, 8)
    for (const range of [{ lt: longer }, { lte: longer }, { gt: longer }, { gte: longer }]) {
      const bounds = new KeyBounds(range)
      for (const key of [longest, above, Uint8Array.of(7), Uint8Array.of(8)]) {
        assert.equal(bounds.locate(key) === 0, isInside(key, range))
      }
      assert.ok((bounds.lowerIn(1).gt?.length ?? 0) <= KEY_SIZE_MAX)
    }
  })

  test('give the user key back', () => {
    const key = joinEngineKey(5, utf8Encode('k'))
    assert.deepEqual(engineUserKey(key), utf8Encode('k'))
  })
})
