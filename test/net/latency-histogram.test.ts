// Goal: percentiles are right to an eighth, at any size of duration.
// Method: against sorted samples.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LatencyHistogram } from '../../src/net/latency-histogram.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

describe('LatencyHistogram', () => {
  test('percentiles are at most an eighth too high, and never too low', t => {
    const random = seededRandom(printSeed(t))
    const histogram = new LatencyHistogram()
    const samples = Array.from({ length: 5000 }, () => 10 ** (random.next() * 6 - 2))
    for (const sample of samples) histogram.record(sample)
    samples.sort((a, b) => a - b)
    for (const fraction of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = samples[Math.ceil(samples.length * fraction) - 1]!
      const shown = histogram.percentileMs(fraction)
      assert.ok(shown >= exact && shown <= exact * 1.126 + 0.001, `${fraction}: ${shown}, ${exact}`)
    }
  })

  test('an empty one is all zero', () => {
    const { count, meanMs, p99Ms, maxMs } = new LatencyHistogram().summary()
    assert.deepEqual([count, meanMs, p99Ms, maxMs], [0, 0, 0, 0])
  })

  test('counts many at once, and copes with any number', () => {
    const histogram = new LatencyHistogram()
    histogram.record(1, 99)
    histogram.record(1e12)
    histogram.record(0)
    histogram.record(-1)
    assert.equal(histogram.summary().count, 102)
    assert.ok(histogram.percentileMs(0.5) <= 1.126)
    assert.ok(histogram.percentileMs(1) > 60_000)
  })
})
