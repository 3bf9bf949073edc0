/**
 * A scan partition by partition: in the order of the engine's keys, so it costs what reading them
 * costs. Keys come in no order that means anything to users, but always in the same one, so a scan
 * goes on after any key: in a later request, over another connection, after a restart.
 *
 *   cursor := form u8 (1) | shape u8 | last user key [1..65,533]
 *   shape  := log2 of the partition count, | 0x80 when reverse
 *
 * The partition of the last key follows from the key, so a cursor of the longest key still fits
 * into 65,535 bytes. A resumed scan sees the state of the moment at which it resumes: what was
 * there all the time is delivered exactly once, what came or went meanwhile may be or may not.
 */
import { copyBytes } from '../bytes.ts'
import { AbortedError, InvalidArgumentError } from '../errors.ts'
import type { Snapshot } from '../key-value-store.ts'
import {
  engineUserKey,
  isNodeKey,
  joinEngineKey,
  KeyBounds,
  type Partitioner,
  USER_KEY_SIZE_MAX,
} from './partition.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { findEntry, type PartitionScan, type ScanPage, type ScanRequest } from './scan.ts'
import type { StoreChunk } from './store.ts'
import { TimeSlice } from './time-slice.ts'

/** Part of the wire protocol's opaque cursors. Never reuse a number. */
const CURSOR_FORM = 1
const CURSOR_HEADER_SIZE = 2
const SHAPE_REVERSE = 0x80
/** Entries and bytes of one read of the engine, so that none holds the event loop for long. */
const READ_COUNT_MAX = 256
const READ_BYTES_MAX = 256 * 1024

export class UnorderedScan implements PartitionScan {
  readonly #store: PartitionedStore
  readonly #snapshot: Snapshot
  readonly #bounds: KeyBounds
  readonly #request: Pick<ScanRequest, 'reverse' | 'keysOnly'>
  readonly #nowMs: number
  readonly #slice: TimeSlice
  /** Where to look next; beyond the last partition when there is nothing left. */
  #partition: number
  /** The last engine key read in it. */
  #last: Uint8Array | undefined
  #closed = false

  /** Copies what it keeps of the request. */
  constructor(store: PartitionedStore, request: ScanRequest) {
    const { reverse, keysOnly, cursor } = request
    const { count } = store.partitioner
    this.#store = store
    this.#request = { reverse, keysOnly }
    this.#bounds = new KeyBounds(request)
    this.#partition = reverse ? count - 1 : 0
    if (cursor !== undefined) this.#resume(decodeCursor(cursor, store.partitioner, reverse))
    if (this.#bounds.isEmpty) this.#partition = reverse ? -1 : count
    this.#nowMs = store.clock.wallMs()
    this.#slice = new TimeSlice(store.turns, request.client ?? this)
    this.#snapshot = store.store.snapshot()
  }

  async next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    const keys: Uint8Array[] = []
    const values: Uint8Array[] = []
    let bytes = 0
    await this.#slice.begin()
    while (keys.length < entriesMax && bytes < bytesMax && !this.#isDone) {
      const chunk = await this.#read(entriesMax - keys.length, bytesMax - bytes)
      for (const [index, engineKey] of chunk.keys.entries()) {
        if (isNodeKey(engineKey)) continue
        const value = this.#store.liveAt(engineKey, chunk.values[index]!, this.#nowMs)
        if (value === undefined) continue
        keys.push(engineUserKey(engineKey))
        if (!this.#request.keysOnly) values.push(value)
        bytes += engineKey.length + (this.#request.keysOnly ? 0 : value.length)
      }
      if (this.#slice.isOver) await this.#slice.pause()
    }
    const lastKey = keys.at(-1)
    const done = this.#isDone
    const cursor = done || lastKey === undefined ? undefined : this.#cursor(lastKey)
    return { keys, values, cursor, done }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#snapshot.release()
  }

  get #isDone(): boolean {
    return this.#partition < 0 || this.#partition >= this.#store.partitioner.count
  }

  /** The next entries, live or not; none when that is all there is. */
  async #read(countMax: number, bytesMax: number): Promise<StoreChunk> {
    if (this.#closed) throw new AbortedError('the scan was closed')
    const limits = {
      countMax: Math.min(countMax, READ_COUNT_MAX),
      bytesMax: Math.min(bytesMax, READ_BYTES_MAX),
    }
    if (this.#bounds.isUnbounded) return this.#readAcross(limits)
    if (this.#last === undefined) return this.#findNext()
    return this.#readWithin(this.#last, limits)
  }

  /** Without bounds all partitions are one range. */
  async #readAcross(limits: { countMax: number; bytesMax: number }): Promise<StoreChunk> {
    const { reverse } = this.#request
    const rest = this.#last === undefined ? {} : reverse ? { lt: this.#last } : { gt: this.#last }
    const range = { ...rest, ...limits, reverse, keysOnly: false, snapshot: this.#snapshot }
    const chunk = await this.#store.store.readRange(range)
    this.#last = chunk.keys.at(-1) ?? this.#last
    if (chunk.done) this.#finish()
    return chunk
  }

  async #readWithin(
    last: Uint8Array,
    limits: { countMax: number; bytesMax: number },
  ): Promise<StoreChunk> {
    const { reverse } = this.#request
    const partition = this.#partition
    const range = reverse
      ? { ...this.#bounds.lowerIn(partition), lt: last }
      : { ...this.#bounds.upperIn(partition), gt: last }
    const common = { reverse, keysOnly: false, snapshot: this.#snapshot }
    const chunk = await this.#store.store.readRange({ ...range, ...limits, ...common })
    this.#last = chunk.keys.at(-1) ?? last
    if (chunk.done) this.#advanceTo(partition + (reverse ? -1 : 1))
    return chunk
  }

  /** The first entry of the next partition that has one. */
  async #findNext(): Promise<StoreChunk> {
    const { reverse } = this.#request
    const { store, partitioner } = this.#store
    const end = reverse ? 0 : partitioner.count - 1
    const source = { store, snapshot: this.#snapshot, bounds: this.#bounds, reverse }
    const found = await findEntry(source, this.#partition, end, this.#slice)
    if (found === undefined) {
      this.#finish()
      return { keys: [], values: [], done: true }
    }
    this.#partition = found.partition
    this.#last = found.engineKey
    return { keys: [found.engineKey], values: [found.stored], done: false }
  }

  #finish(): void {
    this.#advanceTo(this.#request.reverse ? -1 : this.#store.partitioner.count)
  }

  #advanceTo(partition: number): void {
    this.#partition = partition
    this.#last = undefined
  }

  /** Goes on behind a key. The caller may have changed the bounds, so it may lie outside them. */
  #resume(userKey: Uint8Array): void {
    const { reverse } = this.#request
    const step = reverse ? -1 : 1
    const partition = this.#store.partitioner.partitionOf(userKey)
    const place = this.#bounds.locate(userKey) * step
    this.#partition = place > 0 ? partition + step : partition
    if (place === 0) this.#last = joinEngineKey(partition, userKey)
  }

  #cursor(userKey: Uint8Array): Uint8Array {
    const cursor = new Uint8Array(CURSOR_HEADER_SIZE + userKey.length)
    cursor[0] = CURSOR_FORM
    cursor[1] = shapeOf(this.#store.partitioner, this.#request.reverse)
    cursor.set(userKey, CURSOR_HEADER_SIZE)
    return cursor
  }
}

function shapeOf(partitioner: Partitioner, reverse: boolean): number {
  return Math.log2(partitioner.count) | (reverse ? SHAPE_REVERSE : 0)
}

/** The last user key of the page before. Throws InvalidArgumentError for a foreign cursor. */
function decodeCursor(cursor: Uint8Array, partitioner: Partitioner, reverse: boolean): Uint8Array {
  const userKey = copyBytes(cursor, Math.min(CURSOR_HEADER_SIZE, cursor.length))
  if (cursor[0] !== CURSOR_FORM || userKey.length === 0 || userKey.length > USER_KEY_SIZE_MAX) {
    throw new InvalidArgumentError('the cursor is not one that a scan of this server returned')
  }
  if (cursor[1] === shapeOf(partitioner, reverse)) return userKey
  throw new InvalidArgumentError(
    'the cursor belongs to a scan in the other direction or of another cluster: begin anew',
  )
}
