/**
 * Latencies in log-linear buckets: every value is kept with a relative error of at most 1/64
 * (1.6 %), from 1 us to half an hour, in 2,048 counters. Histograms of several processes add up,
 * which the one built into Node cannot do across processes.
 *
 *   value   := integer microseconds below 2^31
 *   bucket  := value                        when value < 128
 *            | 64 * e + (value >> e)        else, with e = floor(log2(value)) - 6
 *
 * A percentile is the upper end of the bucket that holds it, so it is never flattering.
 */

const LINEAR_MAX = 128
const BUCKETS_PER_OCTAVE = 64
const BUCKET_COUNT = 2_048
const VALUE_MAX = 2 ** 31 - 1

/** A histogram as it travels between processes: pairs of bucket and count. */
export interface HistogramData {
  readonly pairs: readonly number[]
  readonly maxUs: number
  readonly sumUs: number
}

function bucketOf(valueUs: number): number {
  if (valueUs < LINEAR_MAX) return valueUs
  const shift = 25 - Math.clz32(valueUs)
  return BUCKETS_PER_OCTAVE * shift + (valueUs >>> shift)
}

/** The largest value that falls into this bucket. */
function bucketEnd(bucket: number): number {
  if (bucket < LINEAR_MAX) return bucket
  const shift = Math.floor(bucket / BUCKETS_PER_OCTAVE) - 1
  const mantissa = bucket - BUCKETS_PER_OCTAVE * shift
  return (mantissa + 1) * 2 ** shift - 1
}

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKET_COUNT)
  #count = 0
  #maxUs = 0
  #sumUs = 0

  /** Takes milliseconds, fractional, as `performance.now()` differences are. */
  recordMs(latencyMs: number): void {
    const valueUs = Math.min(Math.max(Math.round(latencyMs * 1000), 0), VALUE_MAX)
    const bucket = bucketOf(valueUs)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#count++
    this.#sumUs += valueUs
    if (valueUs > this.#maxUs) this.#maxUs = valueUs
  }

  get count(): number {
    return this.#count
  }

  get maxMs(): number {
    return this.#maxUs / 1000
  }

  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumUs / this.#count / 1000
  }

  /** The latency that `fraction` (0 to 1) of all calls did not exceed, in milliseconds. */
  percentileMs(fraction: number): number {
    const rank = Math.max(1, Math.ceil(fraction * this.#count))
    let seen = 0
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      seen += this.#counts[bucket] ?? 0
      if (seen >= rank) return Math.min(bucketEnd(bucket), this.#maxUs) / 1000
    }
    return this.maxMs
  }

  add(data: HistogramData): void {
    for (let position = 0; position + 1 < data.pairs.length; position += 2) {
      const bucket = data.pairs[position] ?? 0
      const count = data.pairs[position + 1] ?? 0
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count
      this.#count += count
    }
    this.#sumUs += data.sumUs
    this.#maxUs = Math.max(this.#maxUs, data.maxUs)
  }

  toData(): HistogramData {
    const pairs: number[] = []
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const count = this.#counts[bucket] ?? 0
      if (count > 0) pairs.push(bucket, count)
    }
    return { pairs, maxUs: this.#maxUs, sumUs: this.#sumUs }
  }
}
