// Goal: the last of equal keys is found, whatever the keys and however badly they hash.
// Method: random keys with repeats against a plain search, with good, poor and constant hashes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { type KeyHash, lastOfKeys } from '../../src/cluster/last-of-keys.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const HASHES: readonly (KeyHash | undefined)[] = [undefined, key => key[0]! & 3, () => -1]

test('finds the last of each key', t => {
  const random = seededRandom(printSeed(t))
  for (let round = 0; round < 600; round++) {
    const names = Array.from({ length: random.below(60) }, () => `k${random.below(200)}`)
    const last = names.flatMap((name, index) => (names.lastIndexOf(name) === index ? index : []))
    const expected = last.length === names.length ? undefined : last
    const found = lastOfKeys(names.map(utf8Encode), HASHES[round % HASHES.length])
    assert.deepEqual(found, expected, names.join(' '))
  }
})

test('keys that all collide take no longer than a Map does', () => {
  const keys = Array.from({ length: 65_536 }, (_, index) => utf8Encode(`k${index}`))
  let hashed = 0
  const hash = (): number => {
    hashed++
    return 7
  }
  assert.equal(lastOfKeys(keys, hash), undefined)
  // It gave up on hashing early: with n keys, the steps grow with the square of n.
  assert.ok(hashed < 2000, `${hashed} keys were hashed`)
})
