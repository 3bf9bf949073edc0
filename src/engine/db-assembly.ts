/**
 * Builds the parts of an open database from what recovery found, and takes them down at close.
 *
 * Invariant: what recovery keeps in memory for want of room is held by TreeState.frozen alone, so
 * that its memory is free once it is in tables: neither the assembly, which lives as long as the
 * database, nor a function that does may know of it.
 */
import type { PoisonedError, WriteOutcome } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { ChangeFeeds } from './change-feed.ts'
import type { ColdTier } from './cold-tier.ts'
import { collectStats } from './collect-stats.ts'
import { Compactor } from './compactor.ts'
import { Db } from './db.ts'
import type { EventStream } from './event-stream.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { Flusher } from './flusher.ts'
import { IdleFlush } from './idle-flush.ts'
import { ioFailure, isShortage } from './io-failure.ts'
import { type BackgroundHost, JobRunner } from './job-runner.ts'
import { LateRecovery } from './late-recovery.ts'
import { LiveBytes } from './live-bytes.ts'
import type { LogStart } from './log-start.ts'
import { Maintenance } from './maintenance.ts'
import type { Manifest } from './manifest.ts'
import { cacheBudget, frozenBudget, queuedBytesMax } from './memory-shares.ts'
import { Memtable } from './memtable.ts'
import { MemtableMemory } from './memtable-memory.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import type { DbEnvironment, ResolvedDbOptions } from './options.ts'
import { PointReads } from './point-reads.ts'
import { RangeReads } from './range-reads.ts'
import { RangeSizes } from './range-sizes.ts'
import { ReadGate } from './read-gate.ts'
import type { Recovered } from './recovery.ts'
import { runAll } from './run-all.ts'
import { Snapshots } from './snapshots.ts'
import { TableCache } from './table-cache.ts'
import { TableWarmer } from './table-warmer.ts'
import { TreeState } from './tree-state.ts'
import { WalProgress } from './wal-progress.ts'
import type { WalReplayResult } from './wal-replay.ts'
import type { WalSegments } from './wal-segments.ts'
import type { WalWriter } from './wal-writer.ts'
import { WriteQueue } from './write-queue.ts'
import { WriteRoom } from './write-room.ts'

export interface DbAssembly {
  readonly directory: string
  readonly options: ResolvedDbOptions
  readonly environment: DbEnvironment
  readonly hasher: Hasher
  readonly manifest: Manifest
  readonly obsoleteFiles: ObsoleteFiles
  readonly walSegments: WalSegments
  /** Where the log goes on. */
  readonly start: LogStart
  /** What the replay of the log counted. */
  readonly replay: WalReplayResult
  readonly expiry: ExpiryClock
  readonly events: EventStream
  /** Milliseconds that recovery took. */
  readonly elapsedMs: number
  /** Throws when this process no longer holds the directory. */
  readonly verifyLock: () => void
  /** The second directory, if there is one. */
  readonly tier: ColdTier | undefined
  /** To be called once the log is begun, unless it was at once: removes what is not needed. */
  readonly tidy: () => Promise<void>
  /** What to undo at close, in reverse order. */
  readonly cleanup: (() => void | Promise<void>)[]
}

/** What recovery came to: a log that is begun, or what it holds. */
export type RecoveredLog = Pick<Recovered, 'wal' | 'memtables'>

/** Everything of an open database but its door. */
interface Machinery {
  readonly host: BackgroundHost
  readonly tables: TableCache
  readonly warmer: TableWarmer | undefined
  readonly runner: JobRunner
  readonly compactor: Compactor
  readonly flusher: Flusher
  readonly room: WriteRoom
  readonly late: LateRecovery | undefined
  readonly progress: WalProgress
  readonly fail: (what: string, cause: unknown, outcome: WriteOutcome) => PoisonedError
}

export function buildDb(assembly: DbAssembly, log: RecoveredLog): Db {
  const { options, environment, hasher, expiry } = assembly
  const { clock } = environment
  const machinery = buildMachinery(assembly, log)
  const { host, tables, room, fail, compactor, progress } = machinery
  const { state } = host
  const writes = new WriteQueue({
    state,
    clock,
    expiry,
    hasher,
    syncIntervalMs: options.syncIntervalMs,
    queuedBytesMax: queuedBytesMax(options),
    queued: bytes => tables.lend('writes', bytes),
    wal: () => room.wal,
    makeRoom: (entryCount, dataSize) => room.makeRoom(entryCount, dataSize),
    freeze: () => room.freeze(),
    hasRoom: (entryCount, dataSize) => room.hasRoom(entryCount, dataSize),
    admits: bytes => room.admits(bytes),
    durable: () => progress.step(),
    written: () => idleFlush.written(),
    fail,
  })
  const idleFlush = new IdleFlush({
    state,
    clock,
    logger: options.logger,
    memtableSize: options.memtableSize,
    freeze: () => writes.freeze(),
  })
  const gate = new ReadGate(options.waitingReadsMax)
  const pointReads = new PointReads(state, tables, expiry, gate)
  const rangeReads = new RangeReads(state, tables, expiry, gate)
  const maintenance = new Maintenance({ ...machinery, writes, random: environment.random })
  const liveBytes = new LiveBytes()
  const sources = { ...assembly, ...machinery, state, liveBytes, writes, pointReads, rangeReads }
  compactor.schedule()
  machinery.flusher.schedule()
  return new Db({
    durability: options.durability,
    clock,
    state,
    writes,
    pointReads,
    rangeReads,
    maintenance,
    listen: listener => assembly.events.listen(listener),
    setPurgeBound: sequence => {
      state.purgeBound = sequence
      compactor.schedule()
    },
    changes: new ChangeFeeds({
      fileSystem: environment.fileSystem,
      directory: assembly.directory,
      databaseId: assembly.manifest.databaseId,
      hasher,
      clock,
      expiry,
      state,
      segments: assembly.walSegments,
      progress,
      durableSize: () => room.syncedSize,
    }),
    holdWal: sequence => assembly.walSegments.hold(sequence),
    openingHold:
      options.holdWalFrom === undefined
        ? undefined
        : assembly.walSegments.holdFromOpening(options.holdWalFrom),
    rangeSizes: new RangeSizes(state, tables),
    beginClosing: () => {
      idleFlush.close()
      room.beginClosing()
    },
    close: () => closeDb(assembly, machinery, writes),
    stats: () => collectStats(sources),
    refusedFor: () => room.refusedFor,
  })
}

function buildMachinery(assembly: DbAssembly, log: RecoveredLog): Machinery {
  const { directory, options, environment, hasher, manifest, obsoleteFiles } = assembly
  const { fileSystem, executor, clock, random } = environment
  const { logger } = options
  const budget = cacheBudget(options)
  const { openFilesMax } = options
  const { wal } = log
  const state = treeState(assembly, log)
  const tables = new TableCache({ fileSystem, directory, hasher, budget, openFilesMax })
  const host: BackgroundHost = {
    directory,
    tier: assembly.tier,
    options,
    state,
    manifest,
    executor,
    obsoleteFiles,
    walSegments: assembly.walSegments,
    clock,
    expiry: assembly.expiry,
    logger,
    events: assembly.events,
    verifyLock: assembly.verifyLock,
    fail: (what, cause) => fail(what, cause, 'rejected'),
  }
  const progress = new WalProgress()
  const runner = new JobRunner(host)
  const warmer = options.warmTables ? new TableWarmer({ state, tables, logger }) : undefined
  const compactor = new Compactor(host, runner, tables, () => {
    room.relieved()
    warmer?.look()
  })
  const relieved = () => {
    room.relieved()
    warmer?.look()
    compactor.schedule()
  }
  const onFinished = (begun: WalWriter) => {
    room.begun(begun)
    flusher.recovered()
    relieved()
    progress.step()
  }
  const late =
    wal === undefined ? lateRecovery(assembly, host, runner, tables, onFinished) : undefined
  const flusher = new Flusher(host, runner, late, relieved)
  const room = new WriteRoom({
    host,
    fileSystem,
    random,
    flusher,
    compactor,
    runner,
    databaseId: manifest.databaseId,
    wal,
    late,
  })

  function fail(what: string, cause: unknown, outcome: WriteOutcome): PoisonedError {
    const known = state.failure !== undefined
    const error = state.poison(what, cause, outcome)
    if (!known) {
      logger.error('writes are refused from now on', { error })
      assembly.events.emit({ type: 'poisoned', error })
    }
    flusher.wakeAll()
    compactor.wakeAll()
    progress.step()
    return error
  }
  return { host, tables, warmer, runner, compactor, flusher, room, late, progress, fail }
}

/** The state after recovery, with an empty memtable for the segment that the log goes on in. */
function treeState(
  { options, environment, manifest, start }: DbAssembly,
  { wal, memtables }: RecoveredLog,
): TreeState {
  const memory = new MemtableMemory(options.memtableSize)
  const memtable = new Memtable(memory, start.fileNumber, environment.random, true)
  const state = new TreeState(
    memtable,
    manifest.version,
    start.sequence,
    new Snapshots(),
    options.purgeBound,
  )
  state.frozen = memtables
  state.isRecovered = wal !== undefined
  return state
}

/** What remains to be done of recovery, with what the log holds in `host.state.frozen`. */
function lateRecovery(
  { start, environment, options, tidy }: DbAssembly,
  host: BackgroundHost,
  runner: JobRunner,
  tables: TableCache,
  onFinished: (wal: WalWriter) => void,
): LateRecovery {
  const size = host.state.frozen.reduce((sum, memtable) => sum + memtable.memorySize, 0)
  tables.lend('log', Math.max(0, size - frozenBudget(options)))
  return new LateRecovery({
    host,
    runner,
    fileSystem: environment.fileSystem,
    start,
    tidy,
    onFinished(wal) {
      tables.lend('log', 0)
      onFinished(wal)
    },
  })
}

/** Called once the writes have drained. Releases everything, whatever fails on the way. */
async function closeDb(
  assembly: DbAssembly,
  machinery: Machinery,
  writes: WriteQueue,
): Promise<void> {
  const { host, runner, flusher, compactor, room, tables, warmer, late } = machinery
  const { state, manifest } = host
  await runner.stop()
  flusher.wakeAll()
  // Who asked for the try may have let go of it: what it writes comes before all is let go of here.
  await late?.close()
  compactor.close()
  const wal = room.isBegun ? room.wal : undefined
  const sealLog = async () => {
    if (state.failure !== undefined) {
      // Whoever asked for less than a sync has not heard that it will never come.
      if (writes.isBehind) throw state.failure
      return
    }
    // As long as it is not begun all is as it was.
    if (wal === undefined) return
    await wal.sync()
    const closedWal = { fileNumber: wal.fileNumber, length: wal.size }
    const { visibleSequence: lastSequence } = state
    try {
      await manifest.append({ lastSequence, closedWal, wallMsMax: runner.wallMs })
    } catch (error) {
      if (!isShortage(error)) throw error
      // All that was acknowledged is durable; the log is only replayed without this mark.
      host.logger.warn('no room to note that the database was closed', { error })
    }
  }
  const undo = [
    () => warmer?.close(),
    sealLog,
    () => room.close(),
    () => (wal ?? late?.wal)?.close(),
    () => tables.closeAll(),
    ...assembly.cleanup.reverse(),
  ]
  const [failure] = await runAll(undo)
  if (failure !== undefined) throw ioFailure(failure, `${assembly.directory} was not closed well`)
}
