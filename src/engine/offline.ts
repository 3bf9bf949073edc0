/**
 * Work on the files of a database that is closed, under its lock: what `kvcli debug` does. Each
 * call runs on a thread of its own, can be aborted and tells how far it is.
 */
import {
  checkFlag,
  checkFunction,
  checkMembers,
  checkPath,
  checkSignal,
  describe,
} from '../arguments.ts'
import type { Clock } from '../clock.ts'
import { InvalidArgumentError, NotFoundError } from '../errors.ts'
import { loadHasher } from '../hash.ts'
import type { Random } from '../random.ts'
import { DUMP_OPTIONS, OFFLINE_OPTIONS, RESTORE_OPTIONS } from './call-options.ts'
import {
  type ColdLocation,
  type ColdPurpose,
  checkColdOptions,
  findColdDirectorySync,
} from './cold-location.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import { dumpPath } from './dump.ts'
import type { DumpOptions, DumpSink } from './dump-item.ts'
import { parseFileName } from './file-names.ts'
import { type DirectoryLock, type FileSystem, systemErrorCode } from './file-system.ts'
import { ioFailure } from './io-failure.ts'
import type { Executor } from './job.ts'
import { type MaintenanceOptions, type Operation, operate } from './maintenance-operation.ts'
import { nodeFileSystem } from './node-file-system.ts'
import { systemTimeAndChance } from './options.ts'
import type { RepairReport } from './repair-job.ts'
import type { RestoreResult } from './restore-job.ts'
import type { VerifyReport } from './verify-job.ts'
import { WorkerExecutor } from './worker-executor.ts'

/** The outside world, in the caller's hands: for tests. */
export interface OfflineEnvironment {
  readonly fileSystem: FileSystem
  readonly executor: Executor
  readonly clock: Clock
  readonly random: Random
}

export interface OfflineOptions extends MaintenanceOptions {
  /**
   * The second directory of the database, when it was moved or when the file that names it is
   * damaged or gone. A repair takes no other one while the one that COLD names is there, and none
   * in which tables are missing. @defaultValue the one that COLD names
   */
  readonly coldDirectory?: string
  /**
   * Goes on without the second directory, which is lost for good: verify tells what was there, and
   * repair gives that up. If it turns up again, a repair with `coldDirectory` puts it back, with
   * keys that may have been deleted meanwhile: their deletions may be gone. With `coldDirectory`
   * it is what is missing there that is lost.
   * @defaultValue false
   */
  readonly coldDirectoryLost?: boolean
}

export interface RestoreOptions extends MaintenanceOptions {
  /** Its number. @defaultValue the newest */
  readonly backup?: number
}

function machine(): OfflineEnvironment {
  return {
    fileSystem: nodeFileSystem(),
    executor: new WorkerExecutor(1),
    ...systemTimeAndChance(),
  }
}

/**
 * As `Db.verify`, of a database that nobody has open: reads and checks every file, and changes
 * none. Throws NotFoundError when there is no directory, or its cold directory is not there,
 * InvalidArgumentError when that is another database's, LockedError when a process has it open,
 * IoError. On a read-only file system it goes without a lock of its own: whoever can write there
 * must not open the database meanwhile.
 *
 *   const { ok, findings } = await verifyDirectory('./data')
 */
export function verifyDirectory(
  directory: string,
  options: OfflineOptions = {},
): Promise<VerifyReport> {
  return verifyInEnvironment(directory, options, machine())
}

export function verifyInEnvironment(
  directory: string,
  options: OfflineOptions,
  environment: Omit<OfflineEnvironment, 'random'>,
): Promise<VerifyReport> {
  const place = { directory, options, environment, lock: lockToRead, purpose: 'read' } as const
  return locked(place, ({ control, thread }, cold) =>
    thread().run('verify', { directory, live: undefined, cold, control }),
  )
}

/**
 * Makes a database that opens out of one that does not: keeps what is sound, saves every whole
 * block of damaged tables and every whole frame of a damaged log, and lists what is lost. Files
 * that are not needed any more are moved to `lost/` in the directory, never deleted. Changes
 * nothing in a database that is whole. A value that was overwritten may come back where the newer
 * one is lost.
 *
 * Throws NotFoundError, also when tables are in a second directory and neither COLD nor the option
 * says where, InvalidArgumentError when that is another database's, LockedError, IoError,
 * VersionMismatchError when a newer version wrote a file.
 *
 *   const { changed, findings, lostDirectory } = await repairDirectory('./data')
 */
export function repairDirectory(
  directory: string,
  options: OfflineOptions = {},
): Promise<RepairReport> {
  return repairInEnvironment(directory, options, machine())
}

export function repairInEnvironment(
  directory: string,
  options: OfflineOptions,
  environment: OfflineEnvironment,
): Promise<RepairReport> {
  const newId = environment.random.bytes(DATABASE_ID_SIZE)
  const place = { directory, options, environment, lock: lockToWrite, purpose: 'write' } as const
  return locked(place, ({ control, thread }, cold) => {
    const databaseId = cold?.databaseId ?? newId
    const isColdLost = options.coldDirectoryLost === true
    return thread().run('repair', { directory, databaseId, cold, isColdLost, control })
  })
}

/**
 * Makes the database of a backup in `target`, which must not exist or be empty: copies whose
 * checksums are compared, with an identity of their own. A damaged backup is refused, and nothing
 * is left of the attempt. The directory of backups is only read.
 *
 *   await restoreBackup('/mnt/backups/users', './data')
 */
export function restoreBackup(
  directory: string,
  target: string,
  options: RestoreOptions = {},
): Promise<RestoreResult> {
  return restoreInEnvironment(directory, target, options, machine())
}

export async function restoreInEnvironment(
  directory: string,
  target: string,
  options: RestoreOptions,
  environment: OfflineEnvironment,
): Promise<RestoreResult> {
  const { executor, clock, random } = environment
  const databaseId = random.bytes(DATABASE_ID_SIZE)
  try {
    checkPath(directory, 'directory')
    checkPath(target, 'target')
    const { backup } = checkMembers(options, 'options', RESTORE_OPTIONS)
    if (backup !== undefined) checkBackupNumber(backup)
    return await operate({ executor, clock, closing: NEVER }, options, ({ control, thread }) =>
      thread().run('restore', { directory, target, backup, databaseId, control }),
    )
  } catch (error) {
    throw ioFailure(error, () => `${directory} cannot be restored in ${target}`)
  } finally {
    await executor.close()
  }
}

function checkBackupNumber(backup: number): void {
  if (Number.isSafeInteger(backup) && backup >= 1) return
  throw new InvalidArgumentError(`backup must be the number of one, got ${describe(backup)}`)
}

/**
 * Tells what a file of a database consists of, or what files a directory holds: each item goes to
 * `sink`, and the next one waits for it. What a file is goes by its name. Reads only, and takes no
 * lock. Damage is an item too, behind which the dump goes on where it can.
 *
 *   await dumpFile('./data/000012.sst', async item => write(item), { entries: true })
 */
export async function dumpFile(
  path: string,
  sink: DumpSink,
  options: DumpOptions = {},
): Promise<void> {
  checkPath(path, 'path')
  if (sink === undefined) throw new InvalidArgumentError('a sink takes the items: give a function')
  checkFunction(sink, 'sink')
  checkMembers(options, 'options', DUMP_OPTIONS)
  checkFlag(options.entries, 'entries')
  checkSignal(options.signal)
  const environment = { fileSystem: nodeFileSystem(), hasher: await loadHasher() }
  let refusal: unknown
  const guarded: DumpSink = async item => {
    try {
      await sink(item)
    } catch (error) {
      refusal = error
      throw error
    }
  }
  try {
    await dumpPath(path, options, guarded, environment)
  } catch (error) {
    // What the sink throws is the caller's.
    throw error === refusal ? error : ioFailure(error, () => `${path} cannot be read`)
  }
}

type Lock = (fileSystem: FileSystem, directory: string) => DirectoryLock | undefined

const lockToWrite: Lock = (fileSystem, directory) => fileSystem.lockSync(directory)

/** None where nothing can be written, a lock neither. */
const lockToRead: Lock = (fileSystem, directory) => {
  try {
    return fileSystem.lockSync(directory)
  } catch (error) {
    if (systemErrorCode(error) === 'EROFS') return undefined
    throw error
  }
}

interface Place {
  readonly directory: string
  readonly options: OfflineOptions
  readonly environment: Omit<OfflineEnvironment, 'random'>
  readonly lock: Lock
  readonly purpose: ColdPurpose
}

async function locked<Result>(
  { directory, options, environment, lock, purpose }: Place,
  work: (operation: Operation, cold: ColdLocation | undefined) => Promise<Result>,
): Promise<Result> {
  const { fileSystem, executor, clock } = environment
  try {
    checkPath(directory, 'directory')
    checkColdOptions(checkMembers(options, 'options', OFFLINE_OPTIONS))
    const names = requireDirectory(fileSystem, directory)
    if (purpose === 'write') requireOwnTables(directory, names)
    const mainLock = lock(fileSystem, directory)
    let coldLock: DirectoryLock | undefined
    try {
      // The second directory is as much the database's as the first.
      const cold = findColdDirectorySync(fileSystem, directory, options, purpose)
      coldLock = cold && lock(fileSystem, cold.path)
      const host = { executor, clock, closing: NEVER }
      return await operate(host, options, operation => work(operation, cold))
    } finally {
      coldLock?.releaseSync()
      mainLock?.releaseSync()
    }
  } catch (error) {
    throw ioFailure(error, () => `${directory} cannot be worked on`)
  } finally {
    await executor.close()
  }
}

/** The names there. Throws NotFoundError where nothing is. */
function requireDirectory(fileSystem: FileSystem, directory: string): readonly string[] {
  try {
    return fileSystem.listSync(directory)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    throw new NotFoundError(`there is no directory ${directory}: check the path`, { cause: error })
  }
}

/** Throws InvalidArgumentError for tables of somebody else, which must not be made a database. */
function requireOwnTables(directory: string, names: readonly string[]): void {
  const kinds = new Set(names.map(name => parseFileName(name)?.kind))
  if (kinds.has('current')) return
  if (kinds.has('backup')) {
    throw new InvalidArgumentError(
      `${directory} holds backups, not a database: restore one, or remove those that are damaged ` +
        '(restoreBackup, kvcli debug restore)',
    )
  }
  if (!kinds.has('owner')) return
  throw new InvalidArgumentError(
    `${directory} is the cold directory of a database: give the database's own directory`,
  )
}

/** Nobody closes what is closed. */
const NEVER = new AbortController().signal
