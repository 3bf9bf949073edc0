/**
 * Recovery: puts what only the WAL holds into tables, so that an open database starts with an
 * empty memtable and a segment of its own.
 *
 * What the log said may have been in the page cache only, put there by a process whose fsync
 * failed. So everything replayed is flushed to new files and recorded in the MANIFEST before
 * anything is acknowledged, and an old segment is never appended to.
 *
 * Invariants:
 *  1. Until the last step (the MANIFEST edit) nothing that was there is changed: recovery that is
 *     interrupted or fails can simply be made again.
 *  2. The new segment exists, durably, before the MANIFEST says that the log begins there.
 */
import { type Clock, yieldToEventLoop } from '../clock.ts'
import type { Hasher } from '../hash.ts'
import { ChangeBatches } from './change-batch.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import type { FileSystem } from './file-system.ts'
import { EntryKind } from './internal-key.ts'
import type { Executor } from './job.ts'
import type { Manifest } from './manifest.ts'
import { type ResolvedDbOptions, tableOptionsAt } from './options.ts'
import { largerKey } from './range-fragment.ts'
import { ReplayArena } from './replay-arena.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { WalVisitor } from './wal-reader.ts'
import { replayWal, type WalReplayResult } from './wal-replay.ts'
import { paddingFor, prepareSegment, WalWriter } from './wal-writer.ts'

/** Milliseconds of replay after which the event loop turns, at the next look at the clock. */
const SLICE_MS = 0.5
/** Ops of a frame between two looks at the clock: about a quarter of a millisecond. */
const OPS_PER_LOOK = 250
const ARENA_SIZE_FIRST = 16 * 1024 * 1024
const ARENAS_OF_A_SIZE = 4
/** Full arenas at once; the replay waits for a flush before it begins another one. */
const FULL_ARENAS_MAX = 6

export interface RecoveryParts {
  readonly directory: string
  readonly options: ResolvedDbOptions
  readonly fileSystem: FileSystem
  readonly executor: Executor
  readonly hasher: Hasher
  readonly clock: Clock
  readonly expiry: ExpiryClock
  readonly manifest: Manifest
  /** Numbers of the segments in the directory. */
  readonly walNumbers: readonly number[]
}

export interface Recovered {
  readonly wal: WalWriter
  /** The largest sequence in use. */
  readonly sequence: number
  readonly replay: WalReplayResult
}

/** Throws CorruptionError when the log is not what it promised to be. */
export async function recoverWal(parts: RecoveryParts): Promise<Recovered> {
  const { manifest, fileSystem, directory, hasher, walNumbers } = parts
  const { databaseId } = manifest
  // What is replayed will be flushed: the thread starts while the log is being read.
  if (walNumbers.length > 0) parts.executor.prepare()
  const arenas = new ReplayArenas(parts)
  const replay = await replayWal(
    {
      fileSystem,
      directory,
      databaseId,
      hasher,
      fileNumbers: walNumbers,
      logNumber: manifest.logNumber,
      closed: manifest.closedWal,
    },
    arenas,
  )
  const tables = await arenas.finish()
  const sequence = Math.max(replay.lastSequence, manifest.lastSequence)
  const fileNumber = manifest.reserveFileNumbers(1)
  const { newestNumber } = replay
  const segment = await prepareSegment(fileSystem, directory, fileNumber)
  const wal = await WalWriter.begin(segment, {
    databaseId,
    firstSequence: sequence + 1,
    // Named, so that its loss is noticed, but nothing is promised of its length.
    previous: newestNumber,
    paddingSize: paddingFor(parts.options.memtableSize),
  })
  await manifest.append({
    logNumber: fileNumber,
    lastSequence: sequence,
    wallMsMax: Math.floor(parts.expiry.nowMs),
    added: tables.map(table => ({ level: 0, table })),
  })
  return { wal, sequence, replay }
}

/**
 * Fills arenas from the log and flushes each full one while the next is being filled: the flush,
 * which also sorts, takes longer than the replay, so it should begin early.
 */
class ReplayArenas implements WalVisitor {
  readonly #parts: RecoveryParts
  #arena: ReplayArena | undefined
  readonly #flushes: Promise<readonly TableMetadata[]>[] = []
  readonly #running = new Set<Promise<unknown>>()
  /** Undefined when nobody asked for log data. */
  readonly #batches: ChangeBatches | undefined
  /** What the caller does with the batch that it was given last. */
  #delivery: Promise<void> | undefined
  /** Of the tables, and of what was replayed and is being flushed. */
  #largestKey: Uint8Array | undefined
  #sliceStartMs: number
  #opsSinceLook = 0

  constructor(parts: RecoveryParts) {
    this.#parts = parts
    if (parts.options.onLogData !== undefined) {
      this.#batches = new ChangeBatches(parts.expiry, { withLogDataOnly: true })
    }
    this.#largestKey = parts.manifest.version.largestKey
    this.#sliceStartMs = parts.clock.monotonicMs()
  }

  beginFrame(_fileNumber: number, opCount: number, size: number): Promise<void> | undefined {
    const { options } = this.#parts
    if (this.#arena?.hasRoom(opCount, size) !== true) {
      this.#flush()
      const target = arenaSize(this.#flushes.length, options.memtableSize)
      this.#arena = new ReplayArena(Math.max(target, ReplayArena.sizeFor(opCount, size)))
    }
    if (this.#running.size <= FULL_ARENAS_MAX && !this.#isSliceOver()) return undefined
    return this.#pause()
  }

  #isSliceOver(): boolean {
    this.#opsSinceLook = 0
    return this.#parts.clock.monotonicMs() - this.#sliceStartMs >= SLICE_MS
  }

  /** Lets others run, and flushes catch up. */
  async #pause(): Promise<void> {
    while (this.#running.size > FULL_ARENAS_MAX) await Promise.race(this.#running)
    await yieldToEventLoop()
    this.#sliceStartMs = this.#parts.clock.monotonicMs()
  }

  async resume(): Promise<void> {
    const delivery = this.#delivery
    this.#delivery = undefined
    await delivery
    if (this.#isSliceOver()) await this.#pause()
  }

  op(
    kind: EntryKind,
    sequence: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    more: boolean,
  ): boolean {
    if (kind !== EntryKind.logData) {
      this.#arena!.add(kind, sequence, key, keyStart, keyEnd, value, valueStart, valueEnd)
    }
    const batch = this.#batches?.add(
      kind,
      sequence,
      key,
      keyStart,
      keyEnd,
      value,
      valueStart,
      valueEnd,
      more,
    )
    if (batch !== undefined) this.#delivery = this.#parts.options.onLogData?.(batch) ?? undefined
    return this.#delivery !== undefined || ++this.#opsSinceLook >= OPS_PER_LOOK
  }

  /** The tables that hold everything replayed, newest first. */
  async finish(): Promise<TableMetadata[]> {
    this.#flush()
    const tables = await Promise.all(this.#flushes)
    return tables.reverse().flat()
  }

  #flush(): void {
    const arena = this.#arena
    if (arena === undefined || arena.entryCount === 0) return
    this.#arena = undefined
    const flush = this.#runFlush(arena.arena, this.#largestKey)
    this.#largestKey = largerKey(this.#largestKey, arena.largestKey)
    // A failure is reported by finish(); until then it must not count as unhandled.
    const end = () => this.#running.delete(over)
    const over: Promise<unknown> = flush.then(end, end)
    this.#running.add(over)
    this.#flushes.push(flush)
  }

  async #runFlush(
    arena: SharedArrayBuffer,
    largestKey: Uint8Array | undefined,
  ): Promise<readonly TableMetadata[]> {
    const { directory, options, manifest, executor, expiry } = this.#parts
    const { tables } = await executor.run({
      kind: 'flush',
      arena,
      order: 'arrival',
      largestKey,
      directory,
      firstFileNumber: manifest.reserveFileNumbers(1),
      fileNumberCount: 1,
      tableOptions: tableOptionsAt(options, 0),
      snapshots: new Float64Array(0),
      wallMs: Math.floor(expiry.nowMs),
      cancel: new Int32Array(new SharedArrayBuffer(4)),
    })
    return tables
  }
}

/** Small at first, so that flushes begin early; larger later, so that tables do not pile up. */
function arenaSize(index: number, memtableSize: number): number {
  return Math.min(memtableSize, ARENA_SIZE_FIRST * 2 ** Math.floor(index / ARENAS_OF_A_SIZE))
}
