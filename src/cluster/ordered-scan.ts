/**
 * A scan in the order of user keys: a merge of all partitions, each read lazily.
 *
 * Opening costs one seek for every partition that holds anything, which is the price of a hash
 * space cut in partitions. From there on a partition is read again only when its buffer is used
 * up: first one entry, then four times as many each time, so a scan of ten entries reads little
 * more than it delivers and a long one seeks seldom.
 *
 * Memory: ScanMemory shares a fixed amount between the ordered scans of a node; a scan's share is
 * divided by its partitions. A buffer holds its share and one entry more; a value larger than the
 * share is left behind and read again when its turn comes. Keys are always kept, and all of it is
 * counted: a scan that is not read may be closed when others need the memory.
 *
 * Invariants:
 *  1. Every buffer that is not at its end holds a live entry (the tournament needs its key).
 *  2. Buffers hold live entries only.
 */
import { assert } from '../assert.ts'
import { compareBytes, copyBytes } from '../bytes.ts'
import { AbortedError, NotFoundError } from '../errors.ts'
import type { Snapshot } from '../key-value-store.ts'
import { LoserTree } from './loser-tree.ts'
import { enginePartition, engineUserKey, isNodeKey, joinEngineKey, KeyBounds } from './partition.ts'
import type { PartitionSet } from './partition-set.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { ScanRequest } from './scan.ts'
import { PartitionReader, type PartitionScan, type ScanPage } from './scan.ts'
import type { HoldingScan, ScanMemory } from './scan-memory.ts'
import type { StoreChunk, StoreEntry } from './store.ts'
import { TimeSlice } from './time-slice.ts'
import { STORED_HEADER_SIZE_MAX } from './versioned-value.ts'

const BUFFER_BYTES_MIN = 256
const REFILL_GROWTH = 4
const REFILL_COUNT_MAX = 256
/** What an entry in a buffer takes besides its bytes: two arrays, and their places. */
const ENTRY_OVERHEAD = 256
/** Parts of the partitions that are opened at the same time, so that their disk reads overlap. */
const LANES = 16
/** Entries merged between two looks at the clock. */
const ENTRIES_PER_LOOK = 16

const NO_VALUE = new Uint8Array(0)

/** The entries of one partition that were read and not yet delivered. */
interface PartitionBuffer {
  readonly partition: number
  keys: Uint8Array[]
  /** Undefined for a value that was left behind; empty when only keys are wanted. */
  values: (Uint8Array | undefined)[]
  index: number
  /** The last engine key read, live or not. */
  last: Uint8Array
  /** True when nothing is left beyond `last`. */
  done: boolean
  refillCount: number
  /** What it holds, as it was reported. */
  bytes: number
}

export class OrderedScan implements PartitionScan, HoldingScan {
  readonly #store: PartitionedStore
  readonly #memory: ScanMemory
  readonly #snapshot: Snapshot
  readonly #bounds: KeyBounds
  readonly #partitions: PartitionSet | undefined
  readonly #reverse: boolean
  readonly #keysOnly: boolean
  readonly #nowMs: number
  readonly #slice: TimeSlice
  #buffers: PartitionBuffer[] = []
  #tree: LoserTree | undefined
  #opened = false
  #closed = false
  #evicted = false
  /** Pages that are being read. */
  #reading = 0
  #readMs: number
  #heldBytes = 0

  /** Copies what it keeps of the request. */
  constructor(store: PartitionedStore, request: ScanRequest, memory: ScanMemory) {
    this.#store = store
    this.#memory = memory
    this.#bounds = new KeyBounds(request)
    this.#partitions = request.partitions
    this.#reverse = request.reverse
    this.#keysOnly = request.keysOnly
    this.#nowMs = store.clock.wallMs()
    this.#readMs = store.clock.monotonicMs()
    this.#slice = new TimeSlice(store.turns, request.client ?? this)
    this.#snapshot = store.store.snapshot()
    try {
      memory.enter(this)
    } catch (error) {
      this.#snapshot.release()
      throw error
    }
  }

  get idleSinceMs(): number | undefined {
    return this.#reading === 0 ? this.#readMs : undefined
  }

  async next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    this.#reading++
    try {
      return await this.#next(entriesMax, bytesMax)
    } finally {
      this.#reading--
      this.#readMs = this.#store.clock.monotonicMs()
    }
  }

  async #next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    await this.#slice.begin()
    if (!this.#opened) await this.#open()
    const keys: Uint8Array[] = []
    const values: Uint8Array[] = []
    let bytes = 0
    while (keys.length < entriesMax && bytes < bytesMax) {
      const buffer = this.#winner
      if (buffer === undefined) break
      const key = buffer.keys[buffer.index]!
      const value = this.#keysOnly
        ? NO_VALUE
        : (buffer.values[buffer.index] ?? (await this.#readAgain(buffer, key)))
      if (value !== undefined) {
        keys.push(key)
        if (!this.#keysOnly) values.push(value)
        bytes += key.length + value.length
      }
      buffer.index++
      if (buffer.index === buffer.keys.length && !buffer.done) await this.#refill(buffer)
      this.#tree?.replay()
      if (keys.length % ENTRIES_PER_LOOK === 0 && this.#slice.isOver) await this.#slice.pause()
    }
    return { keys, values, cursor: undefined, done: this.#winner === undefined }
  }

  close(): void {
    if (this.#closed) return
    this.#memory.leave(this)
    this.#hold(-this.#heldBytes)
    this.#closed = true
    this.#snapshot.release()
    this.#buffers = []
    this.#tree = undefined
  }

  evict(): void {
    this.#evicted = true
    this.close()
  }

  /** Counts what is held so much more, or less. A scan that is closed holds nothing. */
  #hold(bytes: number): void {
    if (this.#closed) return
    this.#heldBytes += bytes
    this.#memory.add(bytes)
  }

  /** Bytes for each buffer. Until all are found, every partition may turn out to have one. */
  get #share(): number {
    const count = this.#opened ? this.#buffers.length : this.#store.partitioner.count
    return Math.max(BUFFER_BYTES_MIN, Math.floor(this.#memory.share / count))
  }

  /** The buffer with the next entry, or undefined at the end. */
  get #winner(): PartitionBuffer | undefined {
    this.#checkOpen()
    if (this.#tree === undefined) return undefined
    const buffer = this.#buffers[this.#tree.winner]!
    return buffer.index < buffer.keys.length ? buffer : undefined
  }

  async #open(): Promise<void> {
    this.#checkOpen()
    if (!this.#bounds.isEmpty) {
      const { count } = this.#store.partitioner
      const width = Math.ceil(count / LANES)
      const lanes: Promise<void>[] = []
      for (let first = 0; first < count; first += width) {
        lanes.push(this.#openLane(first, Math.min(first + width, count) - 1))
      }
      await Promise.all(lanes)
      this.#checkOpen()
    }
    this.#opened = true
    if (this.#buffers.length === 0) return
    this.#tree = new LoserTree(this.#buffers.length, (a, b) => this.#isBefore(a, b))
  }

  /** Finds the first entry of each partition from `low` to `high` that has any. */
  async #openLane(low: number, high: number): Promise<void> {
    const { store } = this.#store
    const reverse = this.#reverse
    const partitions = this.#partitions
    const source = { store, snapshot: this.#snapshot, bounds: this.#bounds, reverse, partitions }
    const [first, last] = reverse ? [high, low] : [low, high]
    const found: PartitionBuffer[] = []
    const reader = new PartitionReader(source, first, last, this.#slice, entry => {
      found.push(this.#bufferOf(entry))
      return 'leap'
    })
    await reader.run(() => this.#checkOpen())
    for (const buffer of found) {
      if (buffer.keys.length === 0) await this.#refill(buffer)
      if (buffer.keys.length > 0) this.#buffers.push(buffer)
    }
  }

  /** The buffer of a partition whose first entry was found. */
  #bufferOf(entry: StoreEntry): PartitionBuffer {
    this.#checkOpen()
    const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = entry
    const engineKey = copyBytes(keyBytes, keyStart, keyEnd)
    const buffer: PartitionBuffer = {
      partition: enginePartition(engineKey),
      keys: [],
      values: [],
      index: 0,
      last: engineKey,
      done: false,
      refillCount: REFILL_GROWTH,
      bytes: 0,
    }
    // What is larger is left behind, so it need not be copied.
    const isSmall = valueEnd - valueStart <= this.#share + STORED_HEADER_SIZE_MAX
    const stored = isSmall
      ? copyBytes(valueBytes, valueStart, valueEnd)
      : valueBytes.subarray(valueStart, valueEnd)
    this.#take(buffer, { keys: [engineKey], values: [stored], done: false })
    return buffer
  }

  /** Reads on until the buffer holds a live entry or the partition is at its end. */
  async #refill(buffer: PartitionBuffer): Promise<void> {
    buffer.keys = []
    buffer.values = []
    buffer.index = 0
    this.#hold(-buffer.bytes)
    buffer.bytes = 0
    while (buffer.keys.length === 0 && !buffer.done) {
      if (this.#slice.isOver) await this.#slice.pause()
      this.#checkOpen()
      const share = this.#share
      const read = this.#store.store.readRange({
        ...this.#rest(buffer),
        reverse: this.#reverse,
        keysOnly: false,
        countMax: Math.max(1, Math.min(buffer.refillCount, Math.ceil(share / ENTRY_OVERHEAD))),
        bytesMax: share,
        snapshot: this.#snapshot,
      })
      this.#take(buffer, read instanceof Promise ? await read : read)
      buffer.refillCount = Math.min(buffer.refillCount * REFILL_GROWTH, REFILL_COUNT_MAX)
    }
  }

  #rest(buffer: PartitionBuffer): { gt?: Uint8Array | undefined; lt?: Uint8Array | undefined } {
    return this.#reverse
      ? { ...this.#bounds.lowerIn(buffer.partition), lt: buffer.last }
      : { ...this.#bounds.upperIn(buffer.partition), gt: buffer.last }
  }

  #take(buffer: PartitionBuffer, chunk: StoreChunk): void {
    this.#checkOpen()
    const share = this.#share
    let bytes = 0
    for (const [index, engineKey] of chunk.keys.entries()) {
      assert(!isNodeKey(engineKey), 'the bounds of a partition leave out the records of the node')
      const value = this.#store.liveAt(engineKey, chunk.values[index]!, this.#nowMs)
      if (value === undefined) continue
      buffer.keys.push(engineUserKey(engineKey))
      bytes += engineKey.length + ENTRY_OVERHEAD
      if (this.#keysOnly) continue
      buffer.values.push(value.length > share ? undefined : value)
      if (value.length <= share) bytes += value.length
    }
    buffer.last = chunk.keys.at(-1) ?? buffer.last
    buffer.done = chunk.done
    buffer.bytes += bytes
    this.#hold(bytes)
    this.#memory.check(this)
  }

  /** A value that was too large to keep; undefined when it has expired meanwhile. */
  async #readAgain(buffer: PartitionBuffer, userKey: Uint8Array): Promise<Uint8Array | undefined> {
    const engineKey = joinEngineKey(buffer.partition, userKey)
    const stored = await this.#store.store.read(engineKey, this.#snapshot)
    this.#checkOpen()
    return stored && this.#store.liveAt(engineKey, stored, this.#nowMs)
  }

  #isBefore(a: number, b: number): boolean {
    const left = this.#buffers[a]!
    const right = this.#buffers[b]!
    if (left.index >= left.keys.length) return false
    if (right.index >= right.keys.length) return true
    const order = compareBytes(left.keys[left.index]!, right.keys[right.index]!)
    return this.#reverse ? order > 0 : order < 0
  }

  #checkOpen(): void {
    if (!this.#closed) return
    if (!this.#evicted) throw new AbortedError('the scan was closed')
    throw new NotFoundError(
      'the scan was not read while others needed its memory: begin a new one behind the last key',
    )
  }
}
