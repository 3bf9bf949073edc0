// Goal: copies are equal to their source, independent of it and of each other, and pin little;
// also those that were copied ahead, wherever the next value comes from.
// Method: random lengths around the limits, kept and compared at the end; random runs of values
// that mostly follow one another, in sources that are overwritten as blocks in a cache are.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyPool } from '../../src/engine/copy-pool.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const SOURCE_SIZE = 8192
const STEPS = 20_000
const LENGTHS = [0, 10, 64, 65, 100, 100, 100, 300, 512, 513, 2000]

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

test('a copy of the next value is of its moment', t => {
  const random = seededRandom(printSeed(t))
  const pool = new CopyPool()
  const sources = [new Uint8Array(SOURCE_SIZE), new Uint8Array(new SharedArrayBuffer(SOURCE_SIZE))]
  const kept: [copy: Uint8Array, expected: Uint8Array][] = []
  const keep = (copy: Uint8Array, from: Uint8Array, start: number): void => {
    const [last] = kept.at(-1) ?? []
    if (last !== undefined && copy.length > 64 && last.buffer === copy.buffer) shared++
    kept.push([copy, Uint8Array.from(from.subarray(start, start + copy.length))])
  }
  let [source, at, borrow, shared] = [sources[0]!, 0, 0, 0]
  for (let step = 0; step < STEPS; step++) {
    if (random.below(20) === 0) {
      for (const bytes of sources) bytes.fill(random.below(256))
      source.set([random.below(256), random.below(256)], random.below(SOURCE_SIZE - 1))
      if (random.below(2) === 0) borrow++
      else pool.forget()
    }
    if (random.below(10) === 0) source = sources[random.below(2)]!
    const length = LENGTHS[random.below(random.below(3) === 0 ? LENGTHS.length : 7)]!
    if (random.below(12) === 0 || at + length > SOURCE_SIZE) at = random.below(1000)
    if (random.below(12) === 0) keep(pool.copy(source, 7, 7 + length), source, 7)
    const end = at + length
    keep(pool.copyNext(source, at, end, borrow), source, at)
    at = end
  }
  for (const [copy, expected] of kept) assert.deepEqual(copy, expected)
  assert.ok(shared > STEPS / 4, 'most are views of one buffer')
  for (const [copy] of kept) assert.ok(copy.buffer.byteLength <= 4096, 'a copy keeps little')
})
