/**
 * What a node needs of the storage engine below it. The engine's Db satisfies it; tests bring a
 * store of their own. Keys and values are bytes within the engine's limits.
 *
 * The order in which writes are submitted is the order in which they take effect, and after a
 * crash the store holds a prefix of that order: versioned-writer.ts and hybrid-logical-clock.ts
 * both build on it.
 */
import type { Durability, Snapshot } from '../key-value-store.ts'

export type MaybePromise<T> = T | Promise<T>

/** Deletions of users are puts, of tombstones (versioned-value.ts). */
export interface StorePut {
  readonly type: 'put'
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** Milliseconds since the Unix epoch from which on the engine may forget it; 0 for never. */
  readonly expiryMs: number
}

/** For records of the node itself. */
export interface StoreDelete {
  readonly type: 'del'
  readonly key: Uint8Array
}

export type StoreOperation = StorePut | StoreDelete

export interface StoreWriteOptions {
  readonly durability?: Durability | undefined
  /** Goes into the log with the batch and nowhere else; see BatchOptions in the engine's db.ts. */
  readonly logData?: Uint8Array | undefined
}

/** A range of engine keys; see the engine's range-read.ts. */
export interface StoreRange {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
  readonly reverse: boolean
  readonly keysOnly: boolean
  /** At most so many entries, at least 1. */
  readonly countMax: number
  /** Stops after the entry that brings keys and values to this many bytes. */
  readonly bytesMax: number
  readonly snapshot?: Snapshot | undefined
}

export interface StoreChunk {
  readonly keys: readonly Uint8Array[]
  readonly values: readonly Uint8Array[]
  /** True when nothing of the range is left after this chunk. */
  readonly done: boolean
}

/** An entry that a leap came to: borrowed until `arrive` returns. */
export interface StoreEntry {
  readonly keyBytes: Uint8Array
  /** The key is keyBytes[keyStart, keyEnd). */
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueBytes: Uint8Array
  /** The value is valueBytes[valueStart, valueEnd). */
  readonly valueStart: number
  readonly valueEnd: number
}

/** A read that says after each entry where to look next; see LeapRead in the engine's API.md. */
export interface StoreLeap {
  readonly reverse: boolean
  readonly snapshot?: Snapshot | undefined
  readonly end: Uint8Array | undefined
  readonly from: Uint8Array
  readonly isInclusive: boolean
  arrive(entry: StoreEntry): 'leap' | 'next' | 'stop'
}

/** Keys of which entries may be lost: both ends may be among them. */
export interface StoreLoss {
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
}

/** A compaction that may leave out what cannot be read; see the engine's API.md. */
export interface StoreSalvage {
  readonly gte: Uint8Array
  readonly lt?: Uint8Array
  /** Told before it is gone; when it rejects nothing changes. */
  readonly onLost: (lost: readonly StoreLoss[]) => Promise<void>
}

/** A batch that is put together over several turns; see PreparedWrite in the engine's API.md. */
export interface StorePrepared {
  /** Borrows both. */
  put(key: Uint8Array, value: Uint8Array, expiryMs: number): void
  /** Takes its place behind all that was submitted before. */
  commit(options?: { readonly durability?: Durability | undefined }): Promise<void>
}

export interface Store {
  /** Answers directly when memory has it. The key is copied or used at once; the result is ours. */
  read(key: Uint8Array, snapshot?: Snapshot): MaybePromise<Uint8Array | undefined>
  /** The next entries of the range. Holds nothing between calls. */
  readRange(range: StoreRange): MaybePromise<StoreChunk>
  /** True when nothing is left from where it would look next, false when it was stopped. */
  leap(read: StoreLeap): MaybePromise<boolean>
  /** All or none; resolves when visible and as durable as asked. Buffers are borrowed. */
  write(operations: readonly StoreOperation[], options?: StoreWriteOptions): Promise<void>
  /** Begins a batch of so many puts, with bytes that go into the log with it. */
  prepareWrite(putCount: number, logData?: Uint8Array): StorePrepared
  snapshot(): Snapshot
  /** Rewrites the range without what cannot be read. */
  compact(range: StoreSalvage): Promise<void>
}
