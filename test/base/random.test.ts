// Goal: a seed is a stream, the same wherever it runs, and no stream is lopsided.
// Method: one golden stream, comparison of streams, and counts against wide statistical bounds on
// fixed seeds, so that the test says the same every time.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Random, secureBytes, seededRandom, systemRandom } from '../../src/random.ts'

function stream(random: Random, length: number): number[] {
  return Array.from({ length }, () => random.below(2 ** 32))
}

describe('seeded random', () => {
  test('has a stream that never changes, since old failures are replayed by their seed', () => {
    const expected = [3_292_315_440, 968_404_367, 338_677_191, 2_862_995_690]
    assert.deepEqual(stream(seededRandom(42), 4), expected)
  })

  test('repeats for the same seed and differs for every other', () => {
    const seeds = [0, 1, 2, 3, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 48 - 1]
    const streams = seeds.map(seed => stream(seededRandom(seed), 20).join())
    assert.deepEqual(
      streams,
      seeds.map(seed => stream(seededRandom(seed), 20).join()),
    )
    assert.equal(new Set(streams).size, seeds.length)
  })

  test('spreads evenly, also the first numbers of neighbouring seeds', () => {
    const draws: (() => number)[] = []
    for (const seed of [1, 7, 123_456_789]) {
      const random = seededRandom(seed)
      draws.push(
        () => random.next() * 16,
        () => random.below(16),
        () => random.bytes(1)[0]! & 15,
      )
    }
    let seed = 0
    draws.push(() => seededRandom(seed++).below(16))
    for (const draw of draws) {
      const counts = new Array<number>(16).fill(0)
      for (let index = 0; index < 16_000; index++) counts[Math.floor(draw())]!++
      // Each is near 1000 with a standard deviation of 31; a fair source leaves 6 of them once in
      // tens of millions of tries.
      for (const count of counts) assert.ok(Math.abs(count - 1000) < 190, counts.join(' '))
    }
  })

  test('stays in its bounds', () => {
    const random = seededRandom(5)
    for (let round = 0; round < 10_000; round++) {
      const next = random.next()
      assert.ok(next >= 0 && next < 1)
      const limit = 1 + random.below(2 ** 32)
      const value = random.below(limit)
      assert.ok(Number.isInteger(value) && value >= 0 && value < limit)
    }
    assert.equal(random.below(1), 0)
    for (const length of [0, 1, 17]) assert.equal(random.bytes(length).length, length)
  })
})

test('the machine’s random is another one each time', () => {
  assert.notDeepEqual(stream(systemRandom(), 4), stream(systemRandom(), 4))
  assert.notDeepEqual(secureBytes(16), secureBytes(16))
  const secret = secureBytes(16)
  assert.equal(secret.length, 16)
  assert.equal(secret.buffer.byteLength, 16, 'a secret keeps no pooled memory alive')
})
