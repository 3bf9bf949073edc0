// Goal: a filter never denies a key it was built from, passes few others, and rejects damage.
// Method: random keys from a printed seed, the false positive rate at several sizes, golden bytes,
// and every malformed header.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DecodeError } from '../../src/bytes.ts'
import { BloomFilter, buildBloomFilter } from '../../src/engine/bloom-filter.ts'
import { xxh32 } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'

const { SEED = '20261' } = process.env
const seed = Number(SEED)

function hashOf(text: string): number {
  const bytes = new TextEncoder().encode(text)
  return xxh32(bytes, 0, bytes.length, 0)
}

function hashes(prefix: string, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => hashOf(`${prefix}${index}`))
}

function falsePositiveRate(count: number, bitsPerKey: number, prefix: string): number {
  const encoded = buildBloomFilter([hashes(prefix, count)], count, bitsPerKey)
  const filter = BloomFilter.decode(encoded, 0, encoded.length)
  let passed = 0
  const probes = 200_000
  for (let index = 0; index < probes; index++) {
    if (filter.mayContain(hashOf(`absent-${prefix}${index}`))) passed++
  }
  return passed / probes
}

describe(`bloom filter, seed ${seed}`, () => {
  for (const count of [0, 1, 2, 51, 52, 1000, 100_000]) {
    test(`holds each of its ${count} keys`, () => {
      const random = seededRandom(seed)
      const members = Uint32Array.from({ length: count }, () => random.below(0x1_0000_0000))
      const encoded = buildBloomFilter([members], count, 10)
      const padded = new Uint8Array(encoded.length + 7)
      padded.set(encoded, 3)
      const filter = BloomFilter.decode(padded, 3, 3 + encoded.length)
      for (const member of members) assert.ok(filter.mayContain(member))
    })
  }

  for (const [count, prefix] of [
    [10_000, 'user:'],
    [200_000, '00000000'],
    [400_000, 'k'],
  ] as const) {
    test(`passes at most 1.3 % of absent keys among ${count}`, () => {
      const rate = falsePositiveRate(count, 10, prefix)
      assert.ok(rate <= 0.013, `rate ${rate}`)
      assert.ok(rate > 0.004, `a rate of ${rate} is too good: the test asks for members`)
    })
  }

  test('passes fewer with more bits', () => {
    assert.ok(falsePositiveRate(50_000, 16, 'k') < 0.002)
    assert.ok(falsePositiveRate(50_000, 5, 'k') < 0.12)
  })

  test('is empty of everything when built from nothing', () => {
    const encoded = buildBloomFilter([new Uint32Array(0)], 0, 10)
    assert.equal(encoded.length, 68)
    assert.equal(BloomFilter.decode(encoded, 0, 68).mayContain(hashOf('a')), false)
  })

  test('has the documented bytes', () => {
    const encoded = buildBloomFilter([Uint32Array.of(0x1234_5678)], 1, 10)
    // m = (0x12345678 ^ 0x1234) * 0x85ebca77, then six times m *= 0x9e3779b1, bit = m >>> 23.
    let mixed = BigInt(0x1234_5678 ^ 0x1234) * 0x85eb_ca77n
    const expected = new Uint8Array(68)
    expected.set([1, 6, 0, 0])
    for (let probe = 0; probe < 6; probe++) {
      mixed = (mixed * 0x9e37_79b1n) & 0xffff_ffffn
      const bit = Number(mixed >> 23n)
      expected[4 + (bit >> 3)]! |= 1 << (bit & 7)
    }
    assert.deepEqual(encoded, expected)
  })
})

describe('a malformed filter is rejected', () => {
  const encoded = buildBloomFilter([Uint32Array.of(1, 2, 3)], 3, 10)
  for (let size = 0; size < encoded.length; size++) {
    test(`cut to ${size} bytes`, () => {
      assert.throws(() => BloomFilter.decode(encoded, 0, size), DecodeError)
    })
  }
  for (const [at, value] of [
    [0, 0],
    [0, 2],
    [1, 0],
    [1, 17],
    [2, 1],
    [3, 1],
  ] as const) {
    test(`with byte ${at} set to ${value}`, () => {
      const damaged = encoded.slice()
      damaged[at] = value
      assert.throws(() => BloomFilter.decode(damaged, 0, damaged.length), DecodeError)
    })
  }
})
