/**
 * The writes that are committed together, and what the writers need of the database around them.
 */
import type { Clock } from '../clock.ts'
import type { PoisonedError, WriteOutcome } from '../errors.ts'
import { type Hasher, xxh32 } from '../hash.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { EntryKind } from './internal-key.ts'
import type { TreeState } from './tree-state.ts'
import { WalFrameBuilder } from './wal-frame.ts'
import type { WalWriter } from './wal-writer.ts'

/** One operation, already validated. */
export type EngineOperation =
  | {
      readonly type: 'put'
      readonly key: Uint8Array
      readonly value: Uint8Array
      /** Milliseconds since the Unix epoch by the wall clock of now; undefined or 0 for never. */
      readonly expiryMs?: number | undefined
    }
  | { readonly type: 'del'; readonly key: Uint8Array }
  | {
      readonly type: 'del-range'
      /** The first key. */
      readonly key: Uint8Array
      /** The first key after the range, greater than `key`; empty when the range has no end. */
      readonly end: Uint8Array
    }

/** Waiting bytes are charged to the memory budget in steps of so many. */
export const QUEUE_STEP = 1024 * 1024

/** Bytes that an operation takes in a frame besides its key and value, generously. */
export const OPERATION_OVERHEAD = 32

/** Bytes of an operation's key and value. */
export function operationSize(operation: EngineOperation): number {
  const { key } = operation
  if (operation.type === 'put') return key.length + operation.value.length
  return operation.type === 'del' ? key.length : key.length + operation.end.length
}

/** What the writers need of the database around them. */
export interface WriteQueueHost {
  readonly state: TreeState
  readonly clock: Clock
  readonly expiry: ExpiryClock
  readonly hasher: Hasher
  readonly syncIntervalMs: number
  /** Bytes that may wait in the queue before writes are refused with KV_OVERLOADED. */
  readonly queuedBytesMax: number
  /** Called with the bytes that wait, in whole steps of QUEUE_STEP, when that has changed. */
  queued(bytes: number): void
  /** The active segment, which belongs to the active memtable. */
  wal(): WalWriter
  /** Whether memtable and segment take so many entries and bytes as they are. */
  hasRoom(entryCount: number, dataSize: number): boolean
  /**
   * Makes the memtable (and with it the segment) ready for so many entries and bytes, waiting for
   * a flush when it must. Called between groups only. Rejects when that failed.
   */
  makeRoom(entryCount: number, dataSize: number): Promise<void>
  /** Freezes the memtable if it holds anything. Called between groups only. */
  freeze(): Promise<void>
  /** Whether so many bytes may be written at once, and not after a wait; then they are counted. */
  admits(bytes: number): boolean
  /** Called when more is durable, and visible, than before. */
  durable(): void
  /** Called after each write that became visible. */
  written(): void
  /** Poisons the database and returns the error for the writers concerned. */
  fail(what: string, cause: unknown, outcome: WriteOutcome): PoisonedError
}

/** Writes that share a frame, a sync and a promise. */
export class WriteGroup {
  readonly builder: WalFrameBuilder
  readonly promise: Promise<void>
  resolve!: () => void
  reject!: (error: Error) => void
  needsSync = false
  /** The sequence of its first entry, once it is being committed. */
  firstSequence = 0
  /** Bytes charged to the queue for it. */
  queuedBytes = 0
  /**
   * Set for a large batch: what fills the frame, which takes nothing else. Never rejects: resolves
   * to why nothing is to be written, if that is so.
   */
  filling: Promise<unknown> | undefined

  /** `settling` is called before the writers go on: what they do next finds it all over. */
  constructor(builder: WalFrameBuilder, settling: (group: WriteGroup) => void) {
    this.builder = builder
    this.promise = new Promise((resolve, reject) => {
      this.resolve = () => {
        settling(this)
        resolve()
      }
      this.reject = error => {
        settling(this)
        reject(error)
      }
    })
  }
}

export function createWalFrameBuilder(hasher: Hasher): WalFrameBuilder {
  const builder = new WalFrameBuilder(hasher)
  builder.begin()
  return builder
}

/** Adds the operations as one batch. `logData` is handed back with them by recovery. */
export function addOperations(
  builder: WalFrameBuilder,
  operations: readonly EngineOperation[],
  expiry: ExpiryClock,
  logData?: Uint8Array,
): void {
  beginOperations(builder, operations.length, logData)
  for (const operation of operations) addOperation(builder, operation, expiry)
}

/** The first half of addOperations: `count` calls of addOperation follow. */
export function beginOperations(
  builder: WalFrameBuilder,
  count: number,
  logData: Uint8Array | undefined,
): void {
  builder.beginBatch(count + (logData === undefined ? 0 : 1))
  if (logData !== undefined) builder.addLogData(logData)
}

export function addOperation(
  builder: WalFrameBuilder,
  operation: EngineOperation,
  expiry: ExpiryClock,
): void {
  if (operation.type === 'del') builder.addDelete(operation.key)
  else if (operation.type === 'del-range') builder.addDeleteRange(operation.key, operation.end)
  else if (!operation.expiryMs) builder.addPut(operation.key, operation.value)
  else {
    const expiryMs = expiry.fromWall(operation.expiryMs)
    builder.addPutExpiring(operation.key, operation.value, expiryMs)
  }
}

/**
 * Inserts op `op` of the frame, which is no range deletion, with turns of the event loop: for large
 * values. Returns the sequence after it.
 */
export async function insertLargeEntry(
  builder: WalFrameBuilder,
  op: number,
  sequence: number,
  state: TreeState,
): Promise<number> {
  const { bytes } = builder
  const kind = builder.kind(op)
  if (kind === EntryKind.logData) return sequence
  const keyStart = builder.keyStart(op)
  const keyEnd = builder.keyEnd(op)
  const hash = xxh32(bytes, keyStart, keyEnd, 0)
  const valueEnd = builder.valueEnd(op)
  await state.memtable.insertInSlices(hash, bytes, keyStart, keyEnd, sequence, kind, valueEnd)
  return sequence + 1
}

/**
 * Inserts the entries among ops [from, to) of the frame, the first of which gets `firstSequence`.
 * Returns the sequence after the last.
 */
export function insertEntries(
  builder: WalFrameBuilder,
  from: number,
  to: number,
  firstSequence: number,
  state: TreeState,
): number {
  const { bytes } = builder
  const { memtable } = state
  let sequence = firstSequence
  for (let index = from; index < to; index++) {
    const keyStart = builder.keyStart(index)
    const keyEnd = builder.keyEnd(index)
    const kind = builder.kind(index)
    if (kind === EntryKind.logData) continue
    if (kind === EntryKind.deleteRange) {
      memtable.insertRange(
        bytes,
        keyStart,
        keyEnd,
        sequence++,
        bytes,
        keyEnd,
        builder.valueEnd(index),
        state.readers,
      )
      continue
    }
    memtable.insert(
      xxh32(bytes, keyStart, keyEnd, 0),
      bytes,
      keyStart,
      keyEnd,
      sequence++,
      kind,
      bytes,
      keyEnd,
      builder.valueEnd(index),
    )
  }
  return sequence
}
