// Goal: both implementations are XXH32, on every length at which they take another path.
// Method: known vectors, and each against the other on every short length, on lengths around the
// switches, and on random ones, at random offsets and seeds.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import xxhash from 'xxhash-wasm'
import { utf8Encode } from '../../src/bytes.ts'
import { type Hasher, loadHasher, xxh32 } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

/** Published for the reference implementation: text, seed, hash. */
const VECTORS: readonly [string, number, number][] = [
  ['', 0, 0x02cc5d05],
  ['', 0x9e3779b1, 0x36b78ae7],
  ['a', 0, 0x550d7456],
  ['abc', 0, 0x32d153ff],
  ['Nobody inspects the spammish repetition', 0, 0xe2293b2f],
]

describe('xxh32', () => {
  let hasher: Hasher
  let reference: (bytes: Uint8Array, seed: number) => number

  before(async () => {
    hasher = await loadHasher()
    reference = (await xxhash()).h32Raw
  })

  /** Hashes `bytes[start, end)` in every way there is, and compares. */
  function agree(bytes: Uint8Array, start: number, end: number, seed: number): void {
    const expected = reference(bytes.slice(start, end), seed)
    assert.equal(xxh32(bytes, start, end, seed), expected, `${end - start} bytes, seed ${seed}`)
    assert.equal(hasher.hash32(bytes, start, end, seed), expected)
  }

  test('has the published values', () => {
    for (const [text, seed, expected] of VECTORS) {
      const bytes = utf8Encode(text)
      assert.equal(xxh32(bytes, 0, bytes.length, seed), expected, text)
      assert.equal(hasher.hash32(bytes, 0, bytes.length, seed), expected, text)
    }
  })

  test('agrees at every short length', context => {
    const random = seededRandom(printSeed(context))
    const bytes = random.bytes(600)
    for (let length = 0; length <= 520; length++) {
      const start = random.below(80)
      agree(bytes, start, start + length, random.below(2 ** 32))
    }
  })

  test('agrees around every switch of method, and on long input', context => {
    const random = seededRandom(printSeed(context))
    const bytes = random.bytes(1_000_003)
    for (const length of [1023, 65_535, 65_536, 65_537, 131_072, 131_073, 200_001, 1_000_000]) {
      agree(bytes, 3, 3 + length, random.below(2 ** 32))
    }
    for (let round = 0; round < 50; round++) {
      const start = random.below(1000)
      agree(bytes, start, start + random.below(100_000), random.below(2 ** 32))
    }
  })

  test('agrees on shared memory, where memtables live', context => {
    const random = seededRandom(printSeed(context))
    const shared = new Uint8Array(new SharedArrayBuffer(5000))
    shared.set(random.bytes(5000))
    for (const length of [0, 5, 100, 255, 256, 5000]) {
      agree(shared, 0, length, 1)
    }
  })

  test('gives all of 32 bits, without a sign', () => {
    let all = 0
    for (let index = 0; index < 200; index++) {
      const hash = xxh32(utf8Encode(`${index}`), 0, `${index}`.length, 0)
      assert.ok(hash >= 0 && hash <= 0xffff_ffff && Number.isInteger(hash))
      all |= hash
    }
    assert.equal(all >>> 0, 0xffff_ffff)
  })
})
