/**
 * The operations of all doors that took long, the last of them: what somebody looks at who was told
 * that it is slow now and then. From the arrival of a request until its answer, as its client feels
 * it. Of arguments only the beginning of a key is kept: values do not belong in a log.
 *
 * Invariants:
 *  1. Sequences ascend by one from 1, with no gap among those that are kept.
 *  2. An operation that is quick costs one comparison.
 */
import type { Clock } from '../clock.ts'

export interface SlowOperation {
  readonly sequence: number
  /** When its answer was there, in milliseconds since the Unix epoch. */
  readonly atMs: number
  readonly tookMs: number
  /** `binary`, `redis` or `http`. */
  readonly door: string
  /** As the door calls it. */
  readonly operation: string
  /** The beginning of its first key, as base64; absent where it has none. */
  readonly key?: string
  readonly address: string
  readonly user: string
}

/** What a door tells. */
export interface SlowReport {
  readonly tookMs: number
  readonly door: string
  readonly operation: string
  /** Borrowed. */
  readonly key?: Uint8Array | undefined
  readonly address: string
  readonly user: string
}

/** What EventLog's page is to events. JSON-serialisable. */
export interface SlowPage {
  /** From so many milliseconds on an operation is kept. */
  readonly fromMs: number
  /** How many there were since the start, those included that are not kept any more. */
  readonly total: number
  /** The newest first. */
  readonly operations: readonly SlowOperation[]
}

const KEPT_MAX = 256
/** Bytes of a key that are kept. */
export const SLOW_KEY_SIZE = 64

export class SlowOperations {
  /** From so many milliseconds on an operation is of interest. */
  readonly fromMs: number
  readonly #clock: Clock
  readonly #kept: SlowOperation[] = []
  #total = 0

  constructor(clock: Clock, fromMs: number) {
    this.#clock = clock
    this.fromMs = fromMs
  }

  /** One that took `fromMs` or longer. */
  add({ key, ...report }: SlowReport): void {
    this.#total++
    this.#kept.push({
      sequence: this.#total,
      atMs: Math.round(this.#clock.wallMs()),
      ...report,
      ...(key === undefined ? {} : { key: base64(key.subarray(0, SLOW_KEY_SIZE)) }),
    })
    if (this.#kept.length > KEPT_MAX) this.#kept.shift()
  }

  /** The last `countMax` of them. */
  page(countMax: number): SlowPage {
    const operations = countMax === 0 ? [] : this.#kept.slice(-countMax).reverse()
    return { fromMs: this.fromMs, total: this.#total, operations }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
