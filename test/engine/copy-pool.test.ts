// Goal: copies are equal to their source, independent of it and of each other, and pin little.
// Method: random lengths around the limits, kept and compared at the end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyPool } from '../../src/engine/copy-pool.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

test('copies stay what they were', context => {
  const random = seededRandom(printSeed(context))
  const pool = new CopyPool()
  const kept: { copy: Uint8Array; expected: Uint8Array }[] = []
  for (let round = 0; round < 5000; round++) {
    const length = [0, 63, 64, 65, 100, 511, 512, 513, 5000][random.below(9)]!
    const source = random.bytes(length + 4)
    const copy = pool.copy(source, 2, 2 + length)
    const expected = source.slice(2, 2 + length)
    source.fill(0)
    kept.push({ copy, expected })
    assert.ok(copy.buffer.byteLength <= Math.max(4096, length), 'a copy pins little')
  }
  for (const { copy, expected } of kept) assert.deepEqual(copy, expected)
  kept[7]!.copy.fill(1)
  for (const [index, { copy, expected }] of kept.entries()) {
    if (index !== 7) assert.deepEqual(copy, expected)
  }
})

test('a shared buffer is not transferred, so that others keep their copies', () => {
  const pool = new CopyPool()
  const source = new Uint8Array(100).fill(5)
  const first = pool.copy(source, 0, 100)
  const second = pool.copy(source, 0, 100)
  assert.equal(first.buffer, second.buffer)
  try {
    structuredClone(first, { transfer: [first.buffer as ArrayBuffer] })
  } catch (error) {
    // Newer versions of Node refuse, older ones clone; neither empties the other copy.
    assert.match(String(error), /DataCloneError|transfer/i)
  }
  assert.deepEqual(second, source)
})
