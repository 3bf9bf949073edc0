/**
 * The surface of an engine Db that the cluster layer uses, over a sorted array: writes become
 * visible in a later turn, in the order in which they were submitted and several at a time, as
 * with group commit; reads answer directly or with a promise, as the seed has it.
 */
import assert from 'node:assert/strict'
import { compareBytes } from '../../src/bytes.ts'
import type {
  MaybePromise,
  Store,
  StoreChunk,
  StoreEntry,
  StoreLeap,
  StoreOperation,
  StorePrepared,
  StorePut,
  StoreRange,
} from '../../src/cluster/store.ts'
import type { Snapshot } from '../../src/key-value-store.ts'
import type { Random } from '../../src/random.ts'

interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly expiryMs: number
}

interface FakeSnapshot extends Snapshot {
  readonly rows: readonly Row[]
  released: boolean
}

export interface FakeEngineOptions {
  readonly wallMs: () => number
  /** Decides which reads need a promise; without it none does. */
  readonly random?: Random
}

export class FakeEngine implements Store {
  /** Visible rows, ascending. Replaced, never changed, so that a snapshot is a reference. */
  rows: readonly Row[] = []
  readsOfKeys = 0
  readsOfRanges = 0
  entriesRead = 0
  writes = 0
  openSnapshots = 0
  /** When set, the next write fails with it, once, and writes nothing. */
  failNextWrite: Error | undefined
  readonly #options: FakeEngineOptions
  #waiting: (readonly StoreOperation[])[] = []
  #group: Promise<void> | undefined

  constructor(options: FakeEngineOptions) {
    this.#options = options
  }

  read(key: Uint8Array, snapshot?: Snapshot): MaybePromise<Uint8Array | undefined> {
    this.readsOfKeys++
    const borrowed = key.slice()
    return this.#answer(() =>
      this.#live(snapshot)
        .find(row => sameKey(row.key, borrowed))
        ?.value.slice(),
    )
  }

  readRange(range: StoreRange): MaybePromise<StoreChunk> {
    this.readsOfRanges++
    const rows = this.#live(range.snapshot).filter(row => isWithin(row.key, range))
    if (range.reverse) rows.reverse()
    let bytes = 0
    let count = 0
    while (count < rows.length && count < range.countMax && bytes < range.bytesMax) {
      bytes += rows[count]!.key.length + rows[count]!.value.length
      count++
    }
    this.entriesRead += count
    const found = rows.slice(0, count)
    const values = range.keysOnly ? [] : found.map(row => row.value.slice())
    const chunk = { keys: found.map(row => row.key.slice()), values, done: count === rows.length }
    return this.#answer(() => chunk)
  }

  /** Every seek counts as a read of a range. */
  leap(read: StoreLeap): MaybePromise<boolean> {
    const rows = this.#live(read.snapshot)
    if (read.reverse) rows.reverse()
    return this.#leap(read, rows, this.#seek(read, rows))
  }

  #seek(read: StoreLeap, rows: readonly Row[]): number {
    this.readsOfRanges++
    const sign = read.reverse ? -1 : 1
    const at = rows.findIndex(({ key }) => {
      const order = compareBytes(key, read.from) * sign
      return read.isInclusive ? order >= 0 : order > 0
    })
    return at < 0 ? rows.length : at
  }

  #leap(read: StoreLeap, rows: readonly Row[], from: number): MaybePromise<boolean> {
    let at = from
    for (; at < rows.length; ) {
      const { key, value } = rows[at]!
      const isPast =
        read.end !== undefined && compareBytes(key, read.end) * (read.reverse ? -1 : 1) >= 0
      if (isPast) return true
      this.entriesRead++
      const step = read.arrive(entryOf(key, value))
      if (step === 'stop') return false
      const next = step === 'next' ? at + 1 : this.#seek(read, rows)
      assert.ok(next > at, 'a leap goes onward')
      at = next
      const { random } = this.#options
      if (random !== undefined && random.below(4) === 0) {
        // As after a block that was not in memory: it looks anew.
        return new Promise(resolve => {
          setImmediate(() => resolve(this.leap(read)))
        })
      }
    }
    return true
  }

  write(operations: readonly StoreOperation[]): Promise<void> {
    this.writes++
    const failure = this.failNextWrite
    this.failNextWrite = undefined
    if (failure !== undefined) return Promise.reject(failure)
    this.#waiting.push(
      operations.map(operation =>
        operation.type === 'del'
          ? { ...operation, key: operation.key.slice() }
          : { ...operation, key: operation.key.slice(), value: operation.value.slice() },
      ),
    )
    this.#group ??= new Promise(resolve => {
      setImmediate(() => {
        for (const batch of this.#waiting) this.#apply(batch)
        this.#waiting = []
        this.#group = undefined
        resolve()
      })
    })
    return this.#group
  }

  prepareWrite(putCount: number): StorePrepared {
    const puts: StorePut[] = []
    return {
      put(key, value, expiryMs) {
        puts.push({ type: 'put', key: key.slice(), value: value.slice(), expiryMs })
      },
      commit: () => {
        assert.equal(puts.length, putCount)
        return this.write(puts)
      },
    }
  }

  snapshot(): Snapshot {
    this.openSnapshots++
    const release = (): void => {
      if (snapshot.released) return
      snapshot.released = true
      this.openSnapshots--
    }
    const snapshot: FakeSnapshot = {
      rows: this.rows,
      released: false,
      release,
      [Symbol.dispose]: release,
    }
    return snapshot
  }

  /** Nothing of it is ever damaged. */
  async compact(): Promise<void> {
    await Promise.resolve()
  }

  /** A copy of what a crash right now would leave. */
  crashed(): FakeEngine {
    const copy = new FakeEngine(this.#options)
    copy.rows = this.rows
    return copy
  }

  #live(snapshot: Snapshot | undefined): Row[] {
    const from = snapshot as FakeSnapshot | undefined
    if (from?.released === true) throw new Error('the snapshot was released')
    const nowMs = this.#options.wallMs()
    return (from?.rows ?? this.rows).filter(row => row.expiryMs === 0 || row.expiryMs > nowMs)
  }

  #apply(batch: readonly StoreOperation[]): void {
    const rows = [...this.rows]
    for (const operation of batch) {
      const { key } = operation
      let at = 0
      while (at < rows.length && compareBytes(rows[at]!.key, key) < 0) at++
      const replaces = at < rows.length && sameKey(rows[at]!.key, key)
      const now =
        operation.type === 'del'
          ? []
          : [{ key, value: operation.value, expiryMs: operation.expiryMs }]
      rows.splice(at, replaces ? 1 : 0, ...now)
    }
    this.rows = rows
  }

  #answer<T>(result: () => T): MaybePromise<T> {
    if (this.#options.random === undefined || this.#options.random.below(2) === 0) return result()
    const value = result()
    return new Promise(resolve => {
      setImmediate(() => resolve(value))
    })
  }
}

/** As the engine borrows it: in the midst of something else. */
function entryOf(key: Uint8Array, value: Uint8Array): StoreEntry {
  const keyEnd = 1 + key.length
  const bytes = new Uint8Array(keyEnd + value.length + 1).fill(7)
  bytes.set(key, 1)
  bytes.set(value, keyEnd)
  return {
    keyBytes: bytes,
    keyStart: 1,
    keyEnd,
    valueBytes: bytes,
    valueStart: keyEnd,
    valueEnd: keyEnd + value.length,
  }
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return compareBytes(a, b) === 0
}

function isWithin(key: Uint8Array, range: StoreRange): boolean {
  if (range.gt !== undefined && compareBytes(key, range.gt) <= 0) return false
  if (range.gte !== undefined && compareBytes(key, range.gte) < 0) return false
  if (range.lt !== undefined && compareBytes(key, range.lt) >= 0) return false
  return range.lte === undefined || compareBytes(key, range.lte) <= 0
}
