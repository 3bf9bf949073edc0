/**
 * The API that the embedded engine (`open('./data')`) and the remote client (`open('kv://…')`)
 * share, so that a program moves from one to the other by changing one string.
 *
 * Keys and values are bytes; strings are accepted as UTF-8. Results are always bytes, in buffers
 * that belong to the caller.
 */

/** Bytes, or a string that stands for its UTF-8 bytes. */
export type BytesInput = Uint8Array | string

/** 1 to this many bytes. */
export const KEY_SIZE_MAX = 65_535
/** On a server, which stores two bytes more with each key: the partition. */
export const SERVER_KEY_SIZE_MAX = 65_533
export const VALUE_SIZE_MAX = 64 * 1024 * 1024
/** The sum of all keys and values of one batch. */
export const BATCH_SIZE_MAX = 64 * 1024 * 1024
/** Operations of one batch. Each costs memory besides its key and value. */
export const BATCH_COUNT_MAX = 1_000_000

/**
 * What an acknowledged write has survived.
 *  - `sync`: process crash and power loss; the record was fsynced before the reply.
 *  - `interval`: process crash; power loss may cost the last interval (default 100 ms).
 *  - `none`: nothing is promised beyond a clean close.
 */
export type Durability = (typeof DURABILITIES)[number]
export const DURABILITIES = ['sync', 'interval', 'none'] as const

/** How many replicas must have the write durably (or answer the read) before the reply. */
export type Consistency = (typeof CONSISTENCIES)[number]
export const CONSISTENCIES = ['one', 'quorum', 'all'] as const

export interface CallOptions {
  /** Abandons the call. A write that was already on its way may still happen. */
  readonly signal?: AbortSignal
  /** Milliseconds until the call fails with KV_TIMEOUT. Remote stores have a default (5,000). */
  readonly timeoutMs?: number
}

export interface ReadOptions extends CallOptions {
  /** Reads the state as of this snapshot. Embedded stores only. */
  readonly snapshot?: Snapshot
  readonly consistency?: Consistency
}

export interface WriteOptions extends CallOptions {
  /** @defaultValue the store's own setting, `'sync'` unless changed */
  readonly durability?: Durability
  /** @defaultValue 'one' */
  readonly consistency?: Consistency
}

export interface PutOptions extends WriteOptions {
  /**
   * Milliseconds from now after which the key reads as absent. A span: an embedded store keeps to
   * it when the wall clock is set meanwhile, forwards or back. Above 0, at most 2^51 - 1; without
   * it the key never expires.
   */
  readonly ttlMs?: number
}

export type BatchOperation =
  | {
      readonly type: 'put'
      readonly key: BytesInput
      readonly value: BytesInput
      readonly ttlMs?: number
    }
  | { readonly type: 'del'; readonly key: BytesInput }

/** Bounds in unsigned byte order. At most one of `gt`/`gte` and one of `lt`/`lte`. */
export interface KeyRange {
  readonly gt?: BytesInput
  readonly gte?: BytesInput
  readonly lt?: BytesInput
  readonly lte?: BytesInput
}

export interface ScanOptions extends KeyRange, CallOptions {
  /** From the last key down. @defaultValue false */
  readonly reverse?: boolean
  /** At most this many entries. @defaultValue no limit */
  readonly limit?: number
  /** Reads the state as of this snapshot; without one, of the moment the scan began. */
  readonly snapshot?: Snapshot
  /**
   * `'unordered'` lets a remote store deliver partition by partition, which is cheaper and can be
   * resumed. An embedded store is always ordered. @defaultValue 'ordered'
   */
  readonly order?: 'ordered' | 'unordered'
}

export type Entry = [key: Uint8Array, value: Uint8Array]

/** A frozen view of the store. Holds old versions on disk until released. */
export interface Snapshot {
  /** Idempotent. Also called at the end of a `using` block. */
  release(): void
  [Symbol.dispose](): void
}

/**
 * An iteration in progress. Use it with `for await`; `next` and `nextBatch` serve those who page
 * by hand. Ending the loop early, or calling `close`, releases what it holds.
 */
export interface Scan<T> extends AsyncIterableIterator<T> {
  /** At least one item and at most `countMax` of them; empty only when the scan is at its end. */
  nextBatch(countMax: number): Promise<T[]>
  close(): Promise<void>
  [Symbol.asyncIterator](): this
  [Symbol.asyncDispose](): Promise<void>
}

/** What every Duramen store can do, wherever it lives. */
export interface KeyValueStore {
  /** The value, or undefined when the key is absent or expired. */
  get(key: BytesInput, options?: ReadOptions): Promise<Uint8Array | undefined>
  /** One result per key, in the order of the keys. */
  getMany(keys: readonly BytesInput[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]>
  /** Resolves once the write is as durable as asked. */
  put(key: BytesInput, value: BytesInput, options?: PutOptions): Promise<void>
  /** Resolves also when the key did not exist. */
  delete(key: BytesInput, options?: WriteOptions): Promise<void>
  /** All operations or none (on one node); later ones win over earlier ones on the same key. */
  batch(operations: readonly BatchOperation[], options?: WriteOptions): Promise<void>
  entries(options?: ScanOptions): Scan<Entry>
  keys(options?: ScanOptions): Scan<Uint8Array>
  values(options?: ScanOptions): Scan<Uint8Array>
  /** Finishes what is under way, then releases everything. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
