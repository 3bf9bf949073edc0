/**
 * A histogram of durations, cheap enough to record every request.
 *
 * Buckets are eight to each doubling, from 1 us to about 70 s, so a percentile is at most 12.5 %
 * too high. One array of 32-bit counts; recording allocates nothing.
 */
const STEPS_PER_DOUBLING = 8
const DOUBLINGS = 26
const BUCKET_COUNT = STEPS_PER_DOUBLING * (DOUBLINGS + 1)

export interface LatencySummary {
  readonly count: number
  readonly meanMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKET_COUNT)
  #count = 0
  #sumMs = 0
  #maxMs = 0

  /** Adds `count` durations of `milliseconds` each. */
  record(milliseconds: number, count = 1): void {
    const bucket = bucketOf(milliseconds * 1000)
    this.#counts[bucket] = this.#counts[bucket]! + count
    this.#count += count
    this.#sumMs += milliseconds * count
    if (milliseconds > this.#maxMs) this.#maxMs = milliseconds
  }

  /** Adds all durations of another histogram. */
  add(other: LatencyHistogram): void {
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      this.#counts[bucket] = this.#counts[bucket]! + other.#counts[bucket]!
    }
    this.#count += other.#count
    this.#sumMs += other.#sumMs
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs)
  }

  /**
   * The durations that were recorded after `earlier`, a histogram of the same ones at an earlier
   * time. The longest of them is not known better than its bucket.
   */
  since(earlier: LatencyHistogram): LatencyHistogram {
    const later = new LatencyHistogram()
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      later.#counts[bucket] = this.#counts[bucket]! - earlier.#counts[bucket]!
    }
    later.#count = this.#count - earlier.#count
    later.#sumMs = this.#sumMs - earlier.#sumMs
    later.#maxMs = later.#count === 0 ? 0 : this.#maxMs
    return later
  }

  get count(): number {
    return this.#count
  }

  get sumMs(): number {
    return this.#sumMs
  }

  /**
   * How many durations are below each of `bounds`, in microseconds, in rising order. Exact where a
   * bound is a power of two, else the count below the bucket that it lies in.
   */
  countsBelowUs(bounds: readonly number[]): number[] {
    let seen = 0
    let bucket = 0
    return bounds.map(bound => {
      for (const end = bucketOf(bound); bucket < end; bucket++) seen += this.#counts[bucket]!
      return seen
    })
  }

  /** The duration that this fraction of all durations does not exceed; 0 when there are none. */
  percentileMs(fraction: number): number {
    const wanted = Math.ceil(this.#count * fraction)
    let seen = 0
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= wanted && seen > 0) return Math.min(upperBoundUs(bucket) / 1000, this.#maxMs)
    }
    return 0
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      meanMs: this.#count === 0 ? 0 : this.#sumMs / this.#count,
      p50Ms: this.percentileMs(0.5),
      p99Ms: this.percentileMs(0.99),
      p999Ms: this.percentileMs(0.999),
      maxMs: this.#maxMs,
    }
  }
}

/** Buckets 0 to 7 are one microsecond wide; from then on each doubling has eight. */
function bucketOf(microseconds: number): number {
  const whole = Math.min(Math.max(0, Math.floor(microseconds)), 2 ** 31 - 1)
  if (whole < STEPS_PER_DOUBLING) return whole
  const doubling = 28 - Math.clz32(whole)
  const step = (whole >>> doubling) - STEPS_PER_DOUBLING
  return Math.min(BUCKET_COUNT - 1, (doubling + 1) * STEPS_PER_DOUBLING + step)
}

function upperBoundUs(bucket: number): number {
  if (bucket < STEPS_PER_DOUBLING) return bucket + 1
  const doubling = Math.floor(bucket / STEPS_PER_DOUBLING) - 1
  return (STEPS_PER_DOUBLING + (bucket % STEPS_PER_DOUBLING) + 1) * 2 ** doubling
}
