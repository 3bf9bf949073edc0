// Goal: --prefix bounds exactly the keys that begin with it, whatever kind of buffer it came in.
// Method: for random prefixes and keys over a tiny alphabet, the range must agree with startsWith.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { prefixRange } from '../../src/prefix-range.ts'
import { seededRandom } from '../../src/random.ts'

test('a prefix range holds the keys with the prefix and no others', () => {
  const random = seededRandom(11)
  const bytes = () => Buffer.from(random.bytes(1 + random.below(4)).map(byte => (byte & 1) * 255))
  for (let round = 0; round < 2000; round++) {
    const prefix = bytes()
    const key = bytes()
    const { gte, lt } = prefixRange(prefix)
    const above = compareBytes(key, gte as Uint8Array) >= 0
    const below = lt === undefined || compareBytes(key, lt as Uint8Array) < 0
    const expected = key.subarray(0, prefix.length).equals(prefix)
    assert.equal(above && below, expected, `${prefix.toString('hex')} ${key.toString('hex')}`)
  }
})
