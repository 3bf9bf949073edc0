/**
 * How much a node does, second by second, and how long that takes: reads and writes of all its
 * doors together, for the last five minutes. Percentiles of a second come from the difference of
 * two cumulative histograms, so that requests pay nothing for it.
 *
 * One look costs microseconds, whoever watches: 32 histograms of 216 buckets at most.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { LatencyHistogram } from './latency-histogram.ts'

/** What an operation does to data; undefined: nothing. */
export type LoadKind = 'read' | 'write'

/** How long operations took, all since the door was made. */
export interface DoorLoad {
  readonly reads: LatencyHistogram
  readonly writes: LatencyHistogram
}

/** A second. Rates are per second, durations in milliseconds, null where there was nothing. */
export interface LoadPoint {
  /** Its end, in milliseconds since the Unix epoch. */
  readonly atMs: number
  readonly reads: number
  readonly writes: number
  readonly readP50Ms: number | null
  readonly readP99Ms: number | null
  readonly writeP50Ms: number | null
  readonly writeP99Ms: number | null
}

/** Points by their members, oldest first: as plots want them. */
export type LoadColumns = { readonly [Name in keyof LoadPoint]: readonly LoadPoint[Name][] }

const INTERVAL_MS = 1000
const POINTS_MAX = 300
const DIGITS = 1000

interface Look {
  readonly monotonicMs: number
  readonly load: DoorLoad
}

export class LoadMeter {
  readonly #clock: Clock
  readonly #doors: () => Iterable<DoorLoad>
  readonly #points: LoadPoint[] = []
  #look: Look | undefined
  #cancel: CancelTimer | undefined

  constructor(clock: Clock, doors: () => Iterable<DoorLoad>) {
    this.#clock = clock
    this.#doors = doors
  }

  start(): void {
    this.#look = this.#lookNow()
    this.#schedule()
  }

  stop(): void {
    this.#cancel?.()
  }

  /** The last second that is over; undefined in the first one. */
  get last(): LoadPoint | undefined {
    return this.#points.at(-1)
  }

  history(): LoadColumns {
    const column = <Name extends keyof LoadPoint>(name: Name) => this.#points.map(at => at[name])
    return {
      atMs: column('atMs'),
      reads: column('reads'),
      writes: column('writes'),
      readP50Ms: column('readP50Ms'),
      readP99Ms: column('readP99Ms'),
      writeP50Ms: column('writeP50Ms'),
      writeP99Ms: column('writeP99Ms'),
    }
  }

  #schedule(): void {
    this.#cancel = this.#clock.setTimer(INTERVAL_MS, () => this.#measure(), { background: true })
  }

  #measure(): void {
    const look = this.#lookNow()
    const before = this.#look!
    this.#look = look
    const elapsedMs = look.monotonicMs - before.monotonicMs
    const reads = look.load.reads.since(before.load.reads)
    const writes = look.load.writes.since(before.load.writes)
    const rate = ({ count }: LatencyHistogram) => Math.round((count * 1000) / elapsedMs)
    this.#points.push({
      atMs: Math.round(this.#clock.wallMs()),
      reads: rate(reads),
      writes: rate(writes),
      readP50Ms: percentile(reads, 0.5),
      readP99Ms: percentile(reads, 0.99),
      writeP50Ms: percentile(writes, 0.5),
      writeP99Ms: percentile(writes, 0.99),
    })
    if (this.#points.length > POINTS_MAX) this.#points.shift()
    this.#schedule()
  }

  #lookNow(): Look {
    const reads = new LatencyHistogram()
    const writes = new LatencyHistogram()
    for (const load of this.#doors()) {
      reads.add(load.reads)
      writes.add(load.writes)
    }
    return { monotonicMs: this.#clock.monotonicMs(), load: { reads, writes } }
  }
}

/** Of these doors together. */
export function loadMeterOf(
  clock: Clock,
  doors: () => Iterable<readonly [name: string, door: { load(): DoorLoad }]>,
): LoadMeter {
  return new LoadMeter(clock, function* () {
    for (const [, door] of doors()) yield door.load()
  })
}

function percentile(histogram: LatencyHistogram, fraction: number): number | null {
  if (histogram.count === 0) return null
  return Math.round(histogram.percentileMs(fraction) * DIGITS) / DIGITS
}

/** What the operations of a door come to; `kindOf` is asked for the name of each. */
export function loadOf<T>(
  durations: Iterable<readonly [operation: T, histogram: LatencyHistogram]>,
  kindOf: (operation: T) => LoadKind | undefined,
): DoorLoad {
  const load = { reads: new LatencyHistogram(), writes: new LatencyHistogram() }
  for (const [operation, histogram] of durations) {
    const kind = kindOf(operation)
    if (kind === 'read') load.reads.add(histogram)
    else if (kind === 'write') load.writes.add(histogram)
  }
  return load
}
