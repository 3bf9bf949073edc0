/**
 * Goal: percentiles of the load generator are never flattering and at most 1.6 % too high, and
 * histograms of several processes add up to the histogram of all.
 * Method: random latencies over six orders of magnitude, compared with the exact percentiles of
 * the sorted list; the same values split over three histograms and merged through JSON.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type HistogramData, LatencyHistogram } from '../../bench/latency-histogram.ts'
import { seededRandom } from '../../src/random.ts'

const SEED = 7
const COUNT = 20_000
const FRACTIONS = [0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1]
const RELATIVE_ERROR_MAX = 1 / 64

function latenciesMs(): number[] {
  const random = seededRandom(SEED)
  return Array.from({ length: COUNT }, () => Math.round(10 ** (random.next() * 6)) / 1000)
}

function exactMs(sorted: readonly number[], fraction: number): number {
  return sorted[Math.max(1, Math.ceil(fraction * sorted.length)) - 1]!
}

describe(`latency histogram (seed ${SEED})`, () => {
  test('percentiles are exact up to one bucket, upwards only', () => {
    const latencies = latenciesMs()
    const histogram = new LatencyHistogram()
    for (const latency of latencies) histogram.recordMs(latency)
    const sorted = latencies.toSorted((a, b) => a - b)
    for (const fraction of FRACTIONS) {
      const expected = exactMs(sorted, fraction)
      const actual = histogram.percentileMs(fraction)
      assert.ok(actual >= expected - 1e-9, `p${fraction}: ${actual} flatters ${expected}`)
      const bound = expected * (1 + RELATIVE_ERROR_MAX) + 1e-9
      assert.ok(actual <= bound, `p${fraction}: ${actual} is too far above ${expected}`)
    }
    assert.equal(histogram.maxMs, sorted.at(-1))
    assert.equal(histogram.count, COUNT)
    const mean = latencies.reduce((sum, latency) => sum + latency, 0) / COUNT
    assert.ok(Math.abs(histogram.meanMs - mean) < 1e-3)
  })

  test('every bucket holds the values it says, from the first to the last', () => {
    for (let power = 0; power < 31; power++) {
      for (const valueUs of [2 ** power - 1, 2 ** power, 2 ** power + 1]) {
        const histogram = new LatencyHistogram()
        histogram.recordMs(valueUs / 1000)
        histogram.recordMs(2 ** 31 / 1000)
        const actualUs = histogram.percentileMs(0.5) * 1000
        assert.ok(Math.round(actualUs) >= valueUs, `${valueUs} us`)
        assert.ok(actualUs <= valueUs * (1 + RELATIVE_ERROR_MAX) + 1e-6, `${valueUs} us`)
      }
    }
  })

  test('merged parts equal the whole', () => {
    const latencies = latenciesMs()
    const whole = new LatencyHistogram()
    const parts = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()]
    latencies.forEach((latency, index) => {
      whole.recordMs(latency)
      parts[index % parts.length]!.recordMs(latency)
    })
    const merged = new LatencyHistogram()
    for (const part of parts) {
      merged.add(JSON.parse(JSON.stringify(part.toData())) as HistogramData)
    }
    assert.deepEqual(merged.toData(), whole.toData())
    assert.equal(merged.count, whole.count)
  })

  test('an empty histogram has no latencies', () => {
    const histogram = new LatencyHistogram()
    assert.equal(histogram.count, 0)
    assert.equal(histogram.percentileMs(0.99), 0)
    assert.equal(histogram.meanMs, 0)
  })
})
