/**
 * Recovery: puts what only the WAL holds into tables, so that an open database starts with an
 * empty memtable and a segment of its own. Where there is no room for that on the disk, it keeps it
 * in memtables, and late-recovery.ts does the rest before anything is written.
 *
 * What the log said may have been in the page cache only, put there by a process whose fsync
 * failed. So everything replayed is flushed to new files and recorded in the MANIFEST before
 * anything is acknowledged, and an old segment is never appended to.
 *
 * Invariants:
 *  1. Until the last step (the MANIFEST edit) nothing that was there is changed: recovery that is
 *     interrupted or fails can simply be made again.
 *  2. What could not be brought to its end for want of room has left no file behind.
 */
import { type Clock, yieldToEventLoop } from '../clock.ts'
import { toError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import type { Random } from '../random.ts'
import { ChangeBatches } from './change-batch.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { formatFileName } from './file-names.ts'
import { type FileSystem, joinPath } from './file-system.ts'
import { EntryKind } from './internal-key.ts'
import { isDiskFull } from './io-failure.ts'
import type { Executor } from './job.ts'
import { beginLog, type LogStart, logEdit } from './log-start.ts'
import type { Manifest } from './manifest.ts'
import { replayedMemtablesMax } from './memory-shares.ts'
import type { Memtable } from './memtable.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import { type ResolvedDbOptions, tableOptionsAt } from './options.ts'
import { largerKey } from './range-fragment.ts'
import { ReplayArena } from './replay-arena.ts'
import { ReplayMemtables } from './replay-memtables.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { WalVisitor } from './wal-reader.ts'
import { replayWal, type WalReplayOptions, type WalReplayResult } from './wal-replay.ts'
import type { WalWriter } from './wal-writer.ts'

/** Milliseconds of replay after which the event loop turns, at the next look at the clock. */
const SLICE_MS = 0.5
/** Ops of a frame between two looks at the clock: about a quarter of a millisecond. */
const OPS_PER_LOOK = 250
const ARENA_SIZE_FIRST = 8 * 1024 * 1024
const ARENAS_OF_A_SIZE = 8
/** Full ones when another is begun, one for each thread: the replay waits until they are so few. */
const FULL_ARENAS_MAX = 2

export interface RecoveryParts {
  readonly directory: string
  readonly options: ResolvedDbOptions
  readonly fileSystem: FileSystem
  readonly executor: Executor
  readonly hasher: Hasher
  readonly clock: Clock
  readonly expiry: ExpiryClock
  readonly random: Random
  readonly manifest: Manifest
  readonly obsoleteFiles: ObsoleteFiles
  /** Numbers of the segments in the directory. */
  readonly walNumbers: readonly number[]
}

export interface Recovered {
  readonly start: LogStart
  readonly replay: WalReplayResult
  /** Undefined when there was no room to begin it. */
  readonly wal: WalWriter | undefined
  /** Without `wal`: what the log holds, newest first, frozen. */
  readonly memtables: readonly Memtable[]
  /** Without `wal`: what the system said. */
  readonly shortage: Error | undefined
}

/** Throws CorruptionError when the log is not what it promised to be. */
export async function recoverWal(parts: RecoveryParts): Promise<Recovered> {
  const { manifest } = parts
  // What is replayed will be flushed: the thread starts while the log is being read.
  if (parts.walNumbers.length > 0) {
    parts.executor.prepare()
    await yieldToEventLoop()
  }
  const arenas = new ReplayArenas(parts)
  const replay = await replayWal(replayOptions(parts), arenas)
  const start = {
    fileNumber: manifest.reserveFileNumbers(1),
    sequence: Math.max(replay.lastSequence, manifest.lastSequence),
    previous: replay.newestNumber,
  }
  try {
    const tables = await arenas.finish()
    const wal = await beginLog(parts, start, () => manifest.append(logEdit(parts, start, tables)))
    return { start, replay, wal, memtables: [], shortage: undefined }
  } catch (error) {
    // Of a database that is yet to be made nobody wants to read.
    if (!isDiskFull(error) || manifest.failure !== undefined || manifest.fileNumber === 0) {
      throw error
    }
    const shortage = toError(error)
    await arenas.takeBack()
    const memtables = await keepInMemory(parts, shortage, replay.size)
    return { start, replay, wal: undefined, memtables, shortage }
  }
}

function replayOptions(parts: RecoveryParts): WalReplayOptions {
  const { manifest, fileSystem, directory, hasher, walNumbers } = parts
  const { databaseId, logNumber, closedWal: closed } = manifest
  return { fileSystem, directory, databaseId, hasher, fileNumbers: walNumbers, logNumber, closed }
}

/** Reads the log once more, into memtables. Log data was delivered the first time. */
async function keepInMemory(
  parts: RecoveryParts,
  shortage: Error,
  logSize: number,
): Promise<readonly Memtable[]> {
  const { clock, random, options, walNumbers, manifest } = parts
  const memtables = new ReplayMemtables({
    clock,
    random,
    memtableSize: options.memtableSize,
    countMax: replayedMemtablesMax(options),
    shortage,
  })
  await replayWal(replayOptions(parts), memtables)
  const needed = walNumbers.filter(fileNumber => fileNumber >= manifest.logNumber)
  await syncSegments(parts, needed)
  return memtables.finish(logSize)
}

/**
 * What a killed process had only given to the system, readers are about to see: it must not be
 * taken back. No write relies on it: a sync that had failed before would succeed here.
 */
async function syncSegments(
  { fileSystem, directory }: RecoveryParts,
  numbers: readonly number[],
): Promise<void> {
  for (const fileNumber of numbers) {
    const path = joinPath(directory, formatFileName('wal', fileNumber))
    const file = fileSystem.openSync(path, 'readWrite')
    try {
      await file.sync()
    } finally {
      file.closeSync()
    }
  }
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
  /**
   * Arenas that were flushed: they are filled again. The first touch of 100 MiB takes up to half a
   * second; with arenas used again and smaller, opening with 64 MiB of log takes 0.9 of the time.
   */
  readonly #spare: SharedArrayBuffer[] = []
  readonly #tableNumbers: number[] = []
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
      this.#arena = this.#begin(Math.max(target, ReplayArena.sizeFor(opCount, size)))
    }
    if (this.#running.size <= FULL_ARENAS_MAX && !this.#isSliceOver()) return undefined
    return this.#pause()
  }

  #begin(size: number): ReplayArena {
    const index = this.#spare.findIndex(spare => spare.byteLength >= size)
    if (index >= 0) return new ReplayArena(this.#spare.splice(index, 1)[0]!)
    this.#spare.length = 0
    return new ReplayArena(new SharedArrayBuffer(size))
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

  /** Removes what was flushed, in part or whole. */
  async takeBack(): Promise<void> {
    await Promise.allSettled(this.#flushes)
    const names = this.#tableNumbers.map(fileNumber => formatFileName('table', fileNumber))
    await this.#parts.obsoleteFiles.discard(names)
  }

  #flush(): void {
    const arena = this.#arena
    if (arena === undefined || arena.entryCount === 0) return
    this.#arena = undefined
    const flush = this.#runFlush(arena.arena, this.#largestKey)
    this.#largestKey = largerKey(this.#largestKey, arena.largestKey)
    // A failure is reported by finish(); until then it must not count as unhandled.
    const end = () => {
      this.#running.delete(over)
      this.#spare.push(arena.arena)
    }
    const over: Promise<unknown> = flush.then(end, end)
    this.#running.add(over)
    this.#flushes.push(flush)
  }

  async #runFlush(
    arena: SharedArrayBuffer,
    largestKey: Uint8Array | undefined,
  ): Promise<readonly TableMetadata[]> {
    const { directory, options, manifest, executor, expiry } = this.#parts
    const firstFileNumber = manifest.reserveFileNumbers(1)
    this.#tableNumbers.push(firstFileNumber)
    const { tables } = await executor.run({
      kind: 'flush',
      arena,
      order: 'arrival',
      largestKey,
      directory,
      firstFileNumber,
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
