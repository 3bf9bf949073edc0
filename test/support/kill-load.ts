/**
 * Writes to a store without a pause, many calls at once, and tells the oracle of each call before
 * it is made and how it ended: new records, overwrites, deletions, batches of all of them, with and
 * without a time to live.
 */
import { KvError } from '../../src/errors.ts'
import type { BatchOperation, KeyValueStore } from '../../src/key-value-store.ts'
import type { Random } from '../../src/random.ts'
import { text } from './crash-oracle.ts'
import type { RecordOperation, RecordOracle } from './record-oracle.ts'

/** What is to be stored; keys are distinct. */
export interface LoadRecord {
  readonly key: string
  readonly value: string
}

/** Bugs for the tests of the checker: what the loader does behind the oracle's back. */
export type LoadPlant = 'none' | 'invent' | 'forget-deletions'

export interface KillLoadOptions {
  readonly store: KeyValueStore
  readonly oracle: RecordOracle
  readonly random: Random
  readonly records: Iterator<LoadRecord, unknown>
  /** Calls in flight. */
  readonly callers: number
  readonly plant?: LoadPlant
}

const BATCH_COUNT_MAX = 120
/** Keys that are written again and again, also by several calls at once. */
const HOT_COUNT = 40
const HOT_SHARE = 0.2
const HOUR_MS = 3_600_000
const SHORT_TTL_MS_MIN = 300
const SHORT_TTL_MS_MAX = 4000
const FINISH_BATCH_COUNT = 500
const BARRIER_KEY = 'kill loop barrier'

export class KillLoad {
  /** Failed calls, by code of their error. */
  readonly errors = new Map<string, number>()
  /** Keys that were written so far. */
  readonly keys: string[] = []
  readonly #options: KillLoadOptions
  #stopping = true
  #running: Promise<unknown> = Promise.resolve()
  #count = 0
  #exhausted = false

  constructor(options: KillLoadOptions) {
    this.#options = options
  }

  start(): void {
    this.#stopping = false
    this.#running = Promise.all(Array.from({ length: this.#options.callers }, () => this.#caller()))
    // Reported by stop(); until then it must not count as unhandled.
    this.#running.catch(() => undefined)
  }

  /** Begins no more calls. */
  halt(): void {
    this.#stopping = true
  }

  /** Resolves when every call has ended. Rejects when one ended in a way that no call may. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  /**
   * Resolves when every write that the living store has been sent is visible, if it ever will be:
   * one that a client gave up on may still be carried out, but not after a later one.
   */
  async settle(): Promise<void> {
    const before = this.#options.oracle.counts.acknowledged
    await this.#write([{ key: BARRIER_KEY, value: `#${this.#count++}`, ttlMs: 0 }])
    if (this.#options.oracle.counts.acknowledged > before) return
    throw new Error(`a write to an idle store failed: ${JSON.stringify([...this.errors])}`)
  }

  /** Loads every record that is left. */
  async finish(onProgress: (count: number) => void): Promise<void> {
    const inFlight = 8
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (;;) {
          const operations: RecordOperation[] = []
          while (operations.length < FINISH_BATCH_COUNT) {
            const operation = this.#newRecord()
            if (operation === undefined) break
            operations.push(operation)
          }
          if (operations.length === 0) return
          await this.#write(operations)
          onProgress(this.keys.length)
        }
      }),
    )
  }

  async #caller(): Promise<void> {
    while (!this.#stopping) await this.#write(this.#choose())
  }

  #choose(): RecordOperation[] {
    const { random } = this.#options
    if (random.below(4) > 0) return [this.#operation()]
    const size = 2 + random.below(random.below(3) === 0 ? BATCH_COUNT_MAX : 8)
    return Array.from({ length: size }, () => this.#operation())
  }

  #operation(): RecordOperation {
    const { random } = this.#options
    const kind = random.below(20)
    const fresh = kind < 9 ? this.#newRecord() : undefined
    if (fresh !== undefined) return fresh
    const key = this.#someKey()
    if (kind < 13) return { key, value: undefined, ttlMs: 0 }
    const value = `${key} #${this.#count++} ${'x'.repeat(random.below(200))}`
    return { key, value, ttlMs: this.#ttlMs() }
  }

  #newRecord(): RecordOperation | undefined {
    if (this.#exhausted) return undefined
    const next = this.#options.records.next()
    if (next.done === true) {
      this.#exhausted = true
      return undefined
    }
    const { key, value } = next.value
    this.keys.push(text(key))
    return { key: text(key), value: text(value), ttlMs: 0 }
  }

  #someKey(): string {
    const { random } = this.#options
    const { keys } = this
    if (keys.length === 0) return 'the first key'
    const among = random.next() < HOT_SHARE ? Math.min(HOT_COUNT, keys.length) : keys.length
    return keys[random.below(among)]!
  }

  #ttlMs(): number {
    const { random } = this.#options
    const kind = random.below(8)
    if (kind === 0) return HOUR_MS
    if (kind > 1) return 0
    return SHORT_TTL_MS_MIN + random.below(SHORT_TTL_MS_MAX - SHORT_TTL_MS_MIN)
  }

  async #write(operations: readonly RecordOperation[]): Promise<void> {
    const { oracle } = this.#options
    const ticket = oracle.submit(operations, Date.now())
    try {
      await this.#send(operations)
      oracle.acknowledge(ticket, Date.now())
    } catch (error) {
      // Anything else is no clean answer, and ends the run.
      if (!(error instanceof KvError)) throw error
      if (FATAL_CODES.includes(error.code)) throw error
      this.errors.set(error.code, (this.errors.get(error.code) ?? 0) + 1)
      if (error.outcome === 'rejected') oracle.reject(ticket)
      else oracle.leaveUnknown(ticket, Date.now())
    }
  }

  async #send(operations: readonly RecordOperation[]): Promise<void> {
    const { store, random, plant = 'none' } = this.#options
    const [first] = operations
    if (first === undefined) return
    if (plant === 'invent' && random.below(50) === 0) {
      await store.put(`nobody wrote this ${this.#count++}`, 'value')
    }
    if (plant === 'forget-deletions' && first.value === undefined) return
    if (operations.length > 1) {
      await store.batch(operations.map(batchOperation))
    } else if (first.value === undefined) {
      await store.delete(bytes(first.key))
    } else {
      const options = first.ttlMs === 0 ? {} : { ttlMs: first.ttlMs }
      await store.put(bytes(first.key), bytes(first.value), options)
    }
  }
}

/** A healthy store never gives these answers to a well-formed write. */
const FATAL_CODES: readonly string[] = [
  'KV_INVALID_ARGUMENT',
  'KV_CORRUPTION',
  'KV_IO',
  'KV_POISONED',
  'KV_PROTOCOL',
  'KV_INTERNAL',
  'KV_VERSION_MISMATCH',
  'KV_CLOCK_SKEW',
]

function bytes(latin1: string): Buffer {
  return Buffer.from(latin1, 'latin1')
}

function batchOperation({ key, value, ttlMs }: RecordOperation): BatchOperation {
  if (value === undefined) return { type: 'del', key: bytes(key) }
  const put = { type: 'put', key: bytes(key), value: bytes(value) } as const
  return ttlMs === 0 ? put : { ...put, ttlMs }
}
