/**
 * Goal: the benchmarks ask for what they claim to ask for: keys that exist or do not, the same in
 * every process, chosen by the distribution that the table names.
 * Method: sets of generated keys; counts of chosen keys against the closed form of each
 * distribution, within six standard deviations.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { chooseKeys, keyChooser, ZIPFIAN_EXPONENT, zeta } from '../../bench/key-chooser.ts'
import { Dataset, KEY_SIZE, range } from '../../bench/workloads.ts'

const SEED = 11
const KEY_COUNT = 50_000
const DRAWS = 200_000

function hex(keys: readonly Buffer[]): string[] {
  return keys.map(key => key.toString('hex'))
}

function frequencies(distribution: 'uniform' | 'zipfian' | 'latest'): Uint32Array {
  const counts = new Uint32Array(KEY_COUNT)
  for (const index of chooseKeys(keyChooser(distribution, KEY_COUNT, SEED), DRAWS)) {
    counts[index] = counts[index]! + 1
  }
  return counts
}

function assertNear(actual: number, probability: number, what: string): void {
  const expected = DRAWS * probability
  const deviation = Math.sqrt(expected * (1 - probability))
  const isNear = Math.abs(actual - expected) <= 6 * deviation
  assert.ok(isNear, `${what}: ${actual} of about ${expected.toFixed(0)}`)
}

describe(`workloads (seed ${SEED})`, () => {
  test('keys are distinct, 16 bytes, and never those that count as missing', () => {
    const dataset = new Dataset({ keyCount: KEY_COUNT, seed: SEED })
    const present = new Set(hex(dataset.keys(range(0, KEY_COUNT))))
    assert.equal(present.size, KEY_COUNT)
    for (const key of dataset.missingKeys(range(0, KEY_COUNT))) {
      assert.equal(key.length, KEY_SIZE)
      assert.ok(!present.has(key.toString('hex')))
    }
  })

  test('keys and values follow from the seed alone', () => {
    const [one, other] = [1, 2].map(() => new Dataset({ keyCount: KEY_COUNT, seed: SEED }))
    const indices = [0, 1, 17, KEY_COUNT - 1]
    assert.deepEqual(hex(one!.keys(indices)), hex(other!.keys(indices)))
    assert.deepEqual(hex(one!.values(indices)), hex(other!.values(indices)))
    const different = new Dataset({ keyCount: KEY_COUNT, seed: SEED + 1 })
    assert.notDeepEqual(hex(one!.keys(indices)), hex(different.keys(indices)))
    for (const value of one!.values(indices)) assert.equal(value.length, one!.valueSize)
  })

  test('ascending keys ascend', () => {
    const keys = new Dataset({ keyCount: KEY_COUNT }).ascendingKeys(range(0, 1200))
    for (let index = 1; index < keys.length; index++) {
      assert.ok(keys[index - 1]!.compare(keys[index]!) < 0)
    }
  })

  test('uniform: the first and the last tenth are drawn as often', () => {
    const counts = frequencies('uniform')
    const tenth = KEY_COUNT / 10
    const sum = (part: Uint32Array): number => part.reduce((total, count) => total + count, 0)
    assertNear(sum(counts.subarray(0, tenth)), 0.1, 'first tenth')
    assertNear(sum(counts.subarray(-tenth)), 0.1, 'last tenth')
  })

  test('zipfian: the two most popular keys and the head have their share', () => {
    const counts = frequencies('zipfian')
    const total = zeta(KEY_COUNT, ZIPFIAN_EXPONENT)
    assertNear(counts[0]!, 1 / total, 'rank 0')
    assertNear(counts[1]!, 0.5 ** ZIPFIAN_EXPONENT / total, 'rank 1')
    const head = counts.subarray(0, 1000).reduce((sum, count) => sum + count, 0)
    const expected = zeta(1000, ZIPFIAN_EXPONENT) / total
    // The closed form approximates ranks above the second: two per cent is its own error.
    assert.ok(Math.abs(head / DRAWS - expected) < 0.02, `${head / DRAWS} of ${expected}`)
  })

  test('latest: the newest key is the most popular', () => {
    const counts = frequencies('latest')
    assertNear(counts[KEY_COUNT - 1]!, 1 / zeta(KEY_COUNT, ZIPFIAN_EXPONENT), 'newest')
  })
})
