/**
 * Opens a database: takes the lock, reads the MANIFEST, replays the log, removes what a crash left
 * behind, and builds the parts of a Db.
 *
 * Invariants:
 *  1. Nothing is removed before the recovered MANIFEST is durable, and then only files with names
 *     of ours that it does not mention; but where the disk is full, what no edit ever mentioned.
 *  2. A failure at any step closes what was opened and then gives the lock back.
 */

import { checkPath } from '../arguments.ts'
import { yieldToEventLoop } from '../clock.ts'
import { InvalidArgumentError, NotFoundError } from '../errors.ts'
import { type Hasher, loadHasher } from '../hash.ts'
import type { Logger } from '../logger.ts'
import { ColdTier } from './cold-tier.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import type { Db } from './db.ts'
import { buildDb } from './db-assembly.ts'
import { type DestroyReport, destroyIn } from './destroy.ts'
import { EventStream } from './event-stream.ts'
import { ExpiryClock } from './expiry-clock.ts'
import { parseFileName } from './file-names.ts'
import { type DirectoryLock, type FileSystem, systemErrorCode } from './file-system.ts'
import { ioFailure } from './io-failure.ts'
import type { LogStart } from './log-start.ts'
import { Manifest } from './manifest.ts'
import { expectNoDataSync } from './manifest-files.ts'
import { absolutePath, nodeFileSystem } from './node-file-system.ts'
import { ObsoleteFiles } from './obsolete-files.ts'
import {
  type DbEnvironment,
  type DbOptions,
  type DbTuning,
  type ResolvedDbOptions,
  resolveDbOptions,
  systemTimeAndChance,
} from './options.ts'
import { removeNeverUsed, removeOrphans } from './orphans.ts'
import { type Recovered, recoverWal } from './recovery.ts'
import { numbersOf } from './repair-source.ts'
import { runAll } from './run-all.ts'
import { tieredFileSystem } from './tiered-file-system.ts'
import { findKeptSegments, WalSegments } from './wal-segments.ts'
import { WorkerExecutor } from './worker-executor.ts'

/**
 * Opens the database in `directory`, and creates it when it does not exist.
 *
 * Throws LockedError while another process has it open, CorruptionError when a file is damaged or
 * gone, NotFoundError or InvalidArgumentError as createIfMissing and errorIfExists ask for, IoError
 * when the system refuses something.
 */
export async function open(directory: string, options: DbOptions = {}): Promise<Db> {
  checkPath(directory, 'directory')
  const resolved = resolveDbOptions(options)
  // A program may go to another current directory while the database is open.
  const { coldDirectory: cold } = resolved
  const coldDirectory = typeof cold === 'string' ? absolutePath(cold) : cold
  const path = absolutePath(directory)
  const environment = {
    ...systemTimeAndChance(),
    fileSystem: nodeFileSystem(),
    executor: new WorkerExecutor(1 + resolved.compactionThreads),
  }
  return openWith(path, { ...resolved, coldDirectory }, environment)
}

/**
 * Whether there is a database in `directory`, or what is left of one that lost its CURRENT. Throws
 * IoError when the system refuses to tell, InvalidArgumentError for what is no path.
 */
export function hasDatabase(directory: string, fileSystem: FileSystem): boolean {
  checkPath(directory, 'directory')
  const parts: readonly unknown[] = ['current', 'manifest', 'table']
  try {
    const names = existingNames(fileSystem, directory) ?? []
    return names.some(name => parts.includes(parseFileName(name)?.kind))
  } catch (error) {
    throw ioFailure(error, `${directory} cannot be opened`)
  }
}

/** open() with the outside world and the hidden sizes in the caller's hands: for tests. */
export async function openInEnvironment(
  directory: string,
  options: DbOptions & DbTuning,
  environment: DbEnvironment,
): Promise<Db> {
  checkPath(directory, 'directory')
  return openWith(directory, resolveDbOptions(options), environment)
}

/**
 * Removes the database in `directory`, and the directory unless it holds other files. Does nothing
 * when there is none. There is no way back. Tables in a second directory that cannot be told to be
 * the database's, as COLD or OWNER is damaged, are left there, and a finding of the report says so.
 *
 * Throws LockedError while it is open, here or in another process. Cut short by a crash it leaves
 * the whole database or none; then call it again.
 */
export async function destroy(directory: string): Promise<DestroyReport> {
  checkPath(directory, 'directory')
  try {
    return await destroyIn(nodeFileSystem(), directory)
  } catch (error) {
    throw ioFailure(error, `${directory} cannot be destroyed`)
  }
}

async function openWith(
  directory: string,
  options: ResolvedDbOptions,
  environment: DbEnvironment,
): Promise<Db> {
  const { fileSystem } = environment
  const hasher = environment.hasher ?? (await loadHasher())
  const cleanup: (() => void | Promise<void>)[] = [() => environment.executor.close()]
  try {
    const names = existingNames(fileSystem, directory)
    checkExistence(fileSystem, directory, options, names)
    if (options.createIfMissing) fileSystem.makeDirectorySync(directory)
    const lock = fileSystem.lockSync(directory)
    // The last of all: until its threads have ended, they write to the directory.
    cleanup.unshift(() => lock.releaseSync())
    // Each step until the log is read takes milliseconds the first time: in turns of their own.
    await yieldToEventLoop()
    return await recover(directory, options, environment, hasher, lock, cleanup)
  } catch (error) {
    for (const failure of await runAll(cleanup.reverse())) {
      options.logger.warn('opening failed, and then part of the clean-up', { error: failure })
    }
    throw ioFailure(error, `${directory} cannot be opened`)
  }
}

/** `cleanup` gets what must be undone on failure, and on close, last things first. */
async function recover(
  directory: string,
  options: ResolvedDbOptions,
  environment: DbEnvironment,
  hasher: Hasher,
  lock: DirectoryLock,
  cleanup: (() => void | Promise<void>)[],
): Promise<Db> {
  const { fileSystem: plain, executor, clock, random } = environment
  const { logger } = options
  const events = new EventStream(logger)
  if (options.onEvent !== undefined) events.listen(options.onEvent)
  const startMs = clock.monotonicMs()
  const { tier, fileSystem, verifyLock } = takeTier(plain, directory, options, lock)
  // After the threads, which write there too, and before the lock of the database itself.
  cleanup.splice(1, 0, () => tier?.release())
  const obsoleteFiles = new ObsoleteFiles(fileSystem, directory, logger, events, verifyLock)
  cleanup.push(() => obsoleteFiles.drain())
  const isTiered = tier !== undefined
  const parts = { fileSystem, directory, obsoleteFiles, verifyLock, isTiered }
  const manifestParts = { ...parts, hasher, rotationSizeMin: options.manifestSizeMin }
  const existing = Manifest.recover(manifestParts)
  const manifest = existing ?? Manifest.create(manifestParts, random.bytes(DATABASE_ID_SIZE))
  cleanup.push(() => manifest.close())
  tier?.check(manifest)
  const expiry = new ExpiryClock(clock, manifest.wallMsMax)
  // Without a MANIFEST every segment is empty, and what a crash left of another attempt to create
  // the database: it bears another identity and is removed as an orphan.
  const walNumbers = existing === undefined ? [] : numbersOf(fileSystem.listSync(directory), 'wal')
  const log = { ...parts, options, executor, hasher, clock, random, expiry, manifest, walNumbers }
  await yieldToEventLoop()
  const recovered = await recoverWal(log)
  // No function may know of `recovered`: what it holds in memory is to be let go (db-assembly.ts).
  const { start, replay, wal } = recovered
  cleanup.push(() => wal?.close())
  const isUnsure = wal === undefined
  const walSegments = recoveredSegments({ ...parts, options, manifest, start, events, isUnsure })
  const tidy = async () => {
    removeOrphans({ ...parts, manifest }, walSegments)
    await obsoleteFiles.drain()
    verifyLock()
    await tier?.settle(manifest)
  }
  if (wal !== undefined) await tidy()
  else {
    removeNeverUsed({ ...parts, manifest })
    await obsoleteFiles.drain()
  }
  const elapsedMs = clock.monotonicMs() - startMs
  tellOpened({ directory, logger, events, manifest, recovered, elapsedMs })
  const assembly = {
    directory,
    options,
    environment: { ...environment, fileSystem },
    hasher,
    manifest,
    obsoleteFiles,
    walSegments,
    start,
    replay,
    expiry,
    events,
    elapsedMs,
    verifyLock,
    tier,
    tidy,
    cleanup,
  }
  return buildDb(assembly, recovered)
}

/** To the log of the program, and to who listens. */
function tellOpened(what: {
  readonly directory: string
  readonly logger: Logger
  readonly events: EventStream
  readonly manifest: Manifest
  readonly recovered: Recovered
  readonly elapsedMs: number
}): void {
  const { directory, logger, events, manifest, recovered, elapsedMs } = what
  const { replay, shortage } = recovered
  if (replay.tornTail !== undefined || manifest.tornTail !== undefined) {
    logger.warn('a torn tail was dropped; it was never acknowledged', {
      wal: replay.tornTail,
      manifest: manifest.tornTail,
    })
  }
  events.emit({
    type: 'opened',
    durationMs: elapsedMs,
    walSegments: replay.segmentCount,
    entries: replay.entryCount,
    droppedBytes: replay.tornTail?.length ?? 0,
  })
  logger.info('database opened', {
    directory,
    elapsedMs: Math.round(elapsedMs),
    tables: manifest.version.tableCount,
    recoveredEntries: replay.entryCount,
    recoveredBytes: replay.size,
  })
  if (shortage === undefined) return
  const message = 'writes are refused: the disk is full, and what the log holds stays in memory'
  logger.error(message, { error: shortage })
}

/** Takes the second directory too, if there is one. */
function takeTier(
  plain: FileSystem,
  directory: string,
  { coldDirectory }: ResolvedDbOptions,
  lock: DirectoryLock,
) {
  const tier = ColdTier.open(plain, directory, coldDirectory)
  const verifyLock = () => {
    lock.verifySync()
    tier?.verifyLock()
  }
  return { tier, fileSystem: tieredFileSystem(plain, directory, tier?.path), verifyLock }
}

/** The log from the active segment on, and what is to be kept of before. */
function recoveredSegments(found: {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly options: ResolvedDbOptions
  readonly manifest: Manifest
  readonly obsoleteFiles: ObsoleteFiles
  readonly start: LogStart
  readonly events: EventStream
  readonly isUnsure: boolean
}): WalSegments {
  const { fileSystem, directory, options, manifest, start } = found
  const { holdWalFrom, heldWalSizeMax: heldSizeMax, logger } = options
  const { fileNumber, sequence, previous } = start
  const active = { fileNumber, firstSequence: sequence + 1 }
  const { databaseId, logNumber } = manifest
  const all =
    holdWalFrom === undefined
      ? []
      : findKeptSegments(
          fileSystem,
          directory,
          databaseId,
          active,
          previous,
          holdWalFrom === 'oldest' ? 0 : holdWalFrom,
        )
  const kept = all.filter(segment => segment.fileNumber < logNumber)
  const needed = all.slice(kept.length)
  return new WalSegments({ ...found, logger, heldSizeMax, active, kept, needed })
}

function existingNames(fileSystem: FileSystem, directory: string): string[] | undefined {
  try {
    return fileSystem.listSync(directory)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function holdsDatabase(names: string[] | undefined): boolean {
  return names?.some(name => parseFileName(name)?.kind === 'current') === true
}

function checkExistence(
  fileSystem: FileSystem,
  directory: string,
  options: ResolvedDbOptions,
  names: string[] | undefined,
): void {
  const exists = holdsDatabase(names)
  if (exists && options.errorIfExists) {
    throw new InvalidArgumentError(
      `a database exists in ${directory} already: choose another directory, or drop errorIfExists`,
    )
  }
  if (!exists && !options.createIfMissing) {
    // What is left of one that lost its CURRENT is not missing.
    if (names !== undefined) expectNoDataSync(fileSystem, directory, names)
    throw new NotFoundError(
      `a database does not exist in ${directory}: check the path, or allow createIfMissing`,
    )
  }
}
