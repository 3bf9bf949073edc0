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
import { chunkAllocator } from './byte-slab.ts'
import {
  joinEngineKey,
  KeyBounds,
  PARTITION_SIZE,
  type Partitioner,
  USER_KEY_SIZE_MAX,
} from './partition.ts'
import type { PartitionSet } from './partition-set.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import {
  PartitionReader,
  type PartitionScan,
  type ScanPage,
  type ScanRequest,
  type Visit,
} from './scan.ts'
import type { StoreEntry } from './store.ts'
import { TimeSlice } from './time-slice.ts'

/** Part of the wire protocol's opaque cursors. Never reuse a number. */
const CURSOR_FORM = 1
const CURSOR_HEADER_SIZE = 2
const SHAPE_REVERSE = 0x80
const PAGE_CHUNK_SIZE = 8 * 1024
/** Up to this many bytes a loop beats Uint8Array.set. */
const LOOP_SIZE_MAX = 128

export class UnorderedScan implements PartitionScan {
  readonly #store: PartitionedStore
  readonly #snapshot: Snapshot
  readonly #reverse: boolean
  readonly #keysOnly: boolean
  readonly #nowMs: number
  readonly #slice: TimeSlice
  /** Undefined when there is nothing to read. */
  readonly #reader: PartitionReader | undefined
  #page = new Page(0, 0)
  #closed = false

  /** Copies what it keeps of the request. */
  constructor(store: PartitionedStore, request: ScanRequest) {
    const { reverse, keysOnly, cursor } = request
    const { partitioner } = store
    this.#store = store
    this.#reverse = reverse
    this.#keysOnly = keysOnly
    const after = cursor === undefined ? undefined : decodeCursor(cursor, partitioner, reverse)
    this.#nowMs = store.clock.wallMs()
    this.#slice = new TimeSlice(store.turns, request.client ?? this)
    this.#snapshot = store.store.snapshot()
    this.#reader = this.#openReader(new KeyBounds(request), after, request.partitions)
  }

  async next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    this.#checkOpen()
    const page = new Page(entriesMax, bytesMax)
    this.#page = page
    await this.#slice.begin()
    await this.#reader?.run(() => this.#checkOpen())
    const { keys, values } = page
    const lastKey = keys.at(-1)
    const done = this.#reader === undefined || this.#reader.done
    const cursor =
      done || lastKey === undefined
        ? undefined
        : encodeCursor(this.#store.partitioner, this.#reverse, lastKey)
    return { keys, values, cursor, done }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#snapshot.release()
  }

  #checkOpen(): void {
    if (this.#closed) throw new AbortedError('the scan was closed')
  }

  /**
   * Goes on behind the user key `after`, when there is one. The caller may have changed the bounds
   * since, so it may lie outside them.
   */
  #openReader(
    bounds: KeyBounds,
    after: Uint8Array | undefined,
    partitions: PartitionSet | undefined,
  ): PartitionReader | undefined {
    const { store, partitioner } = this.#store
    const reverse = this.#reverse
    const [first, last, step] = reverse
      ? [partitioner.count - 1, 0, -1]
      : [0, partitioner.count - 1, 1]
    let from = first
    let place = -1
    if (after !== undefined) {
      from = partitioner.partitionOf(after)
      place = bounds.locate(after) * step
      if (place > 0) from += step
    }
    if (bounds.isEmpty || (last - from) * step < 0) return undefined
    const source = { store, snapshot: this.#snapshot, bounds, reverse, partitions }
    const visit = (entry: StoreEntry) => this.#visit(entry)
    const reader = new PartitionReader(source, from, last, this.#slice, visit)
    if (after !== undefined && place === 0) reader.resumeAfter(joinEngineKey(from, after))
    return reader
  }

  #visit(entry: StoreEntry): Visit {
    this.#checkOpen()
    const start = this.#store.liveStart(entry, this.#nowMs)
    if (start < 0) return 'next'
    const { keyBytes, keyStart, keyEnd, valueBytes, valueEnd } = entry
    const page = this.#page
    page.addKey(keyBytes, keyStart + PARTITION_SIZE, keyEnd)
    if (!this.#keysOnly) page.addValue(valueBytes, start, valueEnd)
    return page.isFull ? 'stop' : 'next'
  }
}

/** The page that is being read. Its bytes live as long as it does, so they share memory. */
class Page {
  readonly keys: Uint8Array[] = []
  readonly values: Uint8Array[] = []
  #size = 0
  readonly #entriesMax: number
  readonly #bytesMax: number
  readonly #allocate = chunkAllocator(PAGE_CHUNK_SIZE)

  constructor(entriesMax: number, bytesMax: number) {
    this.#entriesMax = entriesMax
    this.#bytesMax = bytesMax
  }

  get isFull(): boolean {
    return this.keys.length >= this.#entriesMax || this.#size >= this.#bytesMax
  }

  addKey(bytes: Uint8Array, start: number, end: number): void {
    this.keys.push(this.#copy(bytes, start, end))
  }

  addValue(bytes: Uint8Array, start: number, end: number): void {
    this.values.push(this.#copy(bytes, start, end))
  }

  #copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const size = end - start
    this.#size += size
    const copy = this.#allocate(size)
    if (size > LOOP_SIZE_MAX) copy.set(bytes.subarray(start, end))
    else for (let index = 0; index < size; index++) copy[index] = bytes[start + index]!
    return copy
  }
}

function shapeOf(partitioner: Partitioner, reverse: boolean): number {
  return Math.log2(partitioner.count) | (reverse ? SHAPE_REVERSE : 0)
}

/** With which a scan in that direction goes on behind the key. */
export function encodeCursor(
  partitioner: Partitioner,
  reverse: boolean,
  userKey: Uint8Array,
): Uint8Array {
  const cursor = new Uint8Array(CURSOR_HEADER_SIZE + userKey.length)
  cursor[0] = CURSOR_FORM
  cursor[1] = shapeOf(partitioner, reverse)
  cursor.set(userKey, CURSOR_HEADER_SIZE)
  return cursor
}

/** The last user key of the page before. Throws InvalidArgumentError for a foreign cursor. */
export function decodeCursor(
  cursor: Uint8Array,
  partitioner: Partitioner,
  reverse: boolean,
): Uint8Array {
  const userKey = copyBytes(cursor, Math.min(CURSOR_HEADER_SIZE, cursor.length))
  if (cursor[0] !== CURSOR_FORM || userKey.length === 0 || userKey.length > USER_KEY_SIZE_MAX) {
    throw new InvalidArgumentError('the cursor is not one that a scan of this server returned')
  }
  if (cursor[1] === shapeOf(partitioner, reverse)) return userKey
  throw new InvalidArgumentError(
    'the cursor belongs to a scan in the other direction or of another cluster: begin anew',
  )
}
