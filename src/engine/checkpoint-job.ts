/**
 * Makes a checkpoint: a database of its own in another directory, whose tables are the same files
 * under a second name (hard links), or copies where there can be none.
 *
 * Tables are sealed with their number and offset, and keep their numbers, so the same bytes serve
 * both databases. The log and the MANIFEST are sealed with the identity of the database: the
 * checkpoint gets an identity of its own and a fresh MANIFEST, and no log: everything was flushed
 * before. So a segment that strays from one into the other is noticed.
 *
 * Invariants:
 *  1. Everything is made in `<target>.checkpoint.tmp`, under its lock, and durable, names included,
 *     before the directory is renamed to the target. So after any crash the target is not there or
 *     is whole; CURRENT is written last, so the other name does not open before it is whole either.
 *     LOCK goes along and is removed there: who makes the same checkpoint at the same time would
 *     take what it finds without a lock for left over.
 *  2. Nothing that exists is touched, but for what an earlier attempt left under that name.
 *  3. When it fails, what it made is removed again.
 */
import { CorruptionError, InvalidArgumentError, IoError, KvError, LockedError } from '../errors.ts'
import { removeIfExistsSync } from './cold-files.ts'
import { copyFileSync } from './copy-file.ts'
import { prepareCurrentSync, replaceCurrentSync } from './current-file.ts'
import { formatFileName, LOCK_FILE_NAME, parseFileName } from './file-names.ts'
import {
  type DirectoryLock,
  type FileSystem,
  isLinkRefusal,
  isWithin,
  joinPath,
  parentOf,
  systemErrorCode,
} from './file-system.ts'
import { adviceFor } from './io-failure.ts'
import { addProgress, beginProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { encodeManifestFile } from './manifest-format.ts'
import type { JobEnvironment } from './run-job.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { VersionEdit } from './version-edit.ts'

const BUILDING_SUFFIX = '.checkpoint.tmp'
/** What systems answer when a directory shall take the name of something that is there. */
const TAKEN: readonly string[] = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM']

export interface CheckpointJob {
  readonly directory: string
  /** The second directory of the database, absolute, if it has one. */
  readonly coldDirectory?: string | undefined
  readonly target: string
  /** The identity of the checkpoint. */
  readonly databaseId: Uint8Array
  readonly manifestNumber: number
  /** Everything that its MANIFEST says, the tables included. */
  readonly snapshot: VersionEdit
  /** Copies tables also where they could be linked. */
  readonly copy: boolean
  readonly control: JobControl
}

export interface CheckpointResult {
  /** The directory of the checkpoint, as an absolute path. */
  readonly directory: string
  /** It holds every write up to this sequence, and none after it. */
  readonly sequence: number
  readonly tableCount: number
  /** Bytes of its tables, and how many of them had to be copied. */
  readonly tableBytes: number
  readonly copiedBytes: number
}

/** Throws InvalidArgumentError, IoError, CorruptionError, LockedError or AbortedError. */
export function runCheckpointJob(
  job: CheckpointJob,
  environment: JobEnvironment,
): CheckpointResult {
  const { fileSystem } = environment
  try {
    const target = fileSystem.resolveSync(job.target)
    refuseWithin(fileSystem, job, target, 'a checkpoint')
    if (exists(fileSystem, target)) throw targetExists(target)
    return buildCopy(job, environment, target)
  } catch (error) {
    throw explained(error, `the checkpoint ${job.target}`, 'nothing of it was kept')
  }
}

/** Makes the database in `target`, a resolved path at which there is nothing. */
export function buildCopy(
  job: CheckpointJob,
  environment: JobEnvironment,
  target: string,
): CheckpointResult {
  return new CheckpointBuilder(job, environment, target).build()
}

/** Throws InvalidArgumentError when what is to be made would lie among the database's files. */
export function refuseWithin(
  fileSystem: FileSystem,
  { directory, coldDirectory }: Pick<CheckpointJob, 'directory' | 'coldDirectory'>,
  target: string,
  what: string,
): void {
  if (isWithin(target, fileSystem.resolveSync(directory))) {
    throw new InvalidArgumentError(
      `${what} cannot lie in the database's own directory, got ${target}`,
    )
  }
  if (coldDirectory === undefined || !isWithin(target, coldDirectory)) return
  throw new InvalidArgumentError(
    `${what} cannot lie in the database's cold directory, got ${target}`,
  )
}

function exists(fileSystem: FileSystem, path: string): boolean {
  try {
    fileSystem.listSync(path)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTDIR') return true
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

function targetExists(target: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `${target} exists already: its directory is made by this call itself, choose another name`,
  )
}

class CheckpointBuilder {
  readonly #job: CheckpointJob
  readonly #environment: JobEnvironment
  /** Where it is made, and where it goes. */
  readonly #building: string
  readonly #target: string
  #mustCopy: boolean
  #copiedBytes = 0

  constructor(job: CheckpointJob, environment: JobEnvironment, target: string) {
    this.#job = job
    this.#environment = environment
    this.#building = `${target}${BUILDING_SUFFIX}`
    this.#target = target
    this.#mustCopy = job.copy
  }

  build(): CheckpointResult {
    const { fileSystem } = this.#environment
    let made = this.#building
    let lock: DirectoryLock | undefined
    try {
      fileSystem.makeDirectorySync(this.#building)
      lock = this.#lockBuilding()
      clearDirectory(fileSystem, this.#building)
      this.#addTables()
      this.#addManifest()
      throwIfCancelled(this.#job.control)
      fileSystem.syncDirectorySync(this.#building)
      this.#giveName()
      made = this.#target
      this.#removeLocks()
      fileSystem.syncDirectorySync(parentOf(this.#target))
    } catch (error) {
      // Without the lock nothing in the directory is ours.
      if (lock !== undefined) attempt(() => removeFiles(fileSystem, made))
      if (made === this.#building) attempt(() => lock?.releaseSync())
      else attempt(() => fileSystem.removeSync(joinPath(made, LOCK_FILE_NAME)))
      attempt(() => fileSystem.removeDirectorySync(made))
      throw error
    }
    const tables = this.#tables
    return {
      directory: this.#target,
      sequence: this.#job.snapshot.lastSequence ?? 0,
      tableCount: tables.length,
      tableBytes: tables.reduce((sum, table) => sum + table.size, 0),
      copiedBytes: this.#copiedBytes,
    }
  }

  #lockBuilding(): DirectoryLock {
    const { fileSystem } = this.#environment
    try {
      return fileSystem.lockSync(this.#building)
    } catch (error) {
      if (error instanceof LockedError) {
        const advice = 'wait for that, or choose another name'
        const words = `${this.#target} is being made by another call: ${advice}`
        throw new LockedError(`${words} (${error.message})`, { cause: error })
      }
      if (systemErrorCode(error) !== 'ENOENT') throw error
      // It was made just now: who had it before took it away, or gave it its name.
      if (exists(fileSystem, this.#target)) throw targetExists(this.#target)
      const words = `${this.#building} went away: another call makes ${this.#target}, too`
      throw new LockedError(`${words}; try again`, { cause: error })
    }
  }

  #giveName(): void {
    const { fileSystem } = this.#environment
    try {
      fileSystem.renameSync(this.#building, this.#target)
    } catch (error) {
      const isTaken = TAKEN.includes(systemErrorCode(error) ?? '')
      if (isTaken && exists(fileSystem, this.#target)) throw targetExists(this.#target)
      throw error
    }
  }

  /**
   * Also what others left who were about to lock the directory under its other name: as long as
   * they live nobody could take over a LOCK that a crash leaves here. LOCK goes last: while it
   * is here nobody else can have it.
   */
  #removeLocks(): void {
    const { fileSystem } = this.#environment
    for (const name of fileSystem.listSync(this.#target)) {
      if (!isLock(name) || name === LOCK_FILE_NAME) continue
      removeIfExistsSync(fileSystem, joinPath(this.#target, name))
    }
    fileSystem.removeSync(joinPath(this.#target, LOCK_FILE_NAME))
  }

  get #tables(): readonly TableMetadata[] {
    return (this.#job.snapshot.added ?? []).map(({ table }) => table)
  }

  #addTables(): void {
    const { control } = this.#job
    const tables = this.#tables
    beginProgress(
      control,
      tables.reduce((sum, table) => sum + table.size, 0),
    )
    for (const table of tables) {
      throwIfCancelled(control)
      this.#addTable(table)
    }
  }

  #addTable(table: TableMetadata): void {
    const { fileSystem } = this.#environment
    const name = formatFileName('table', table.fileNumber)
    const source = joinPath(this.#job.directory, name)
    const target = joinPath(this.#building, name)
    if (!this.#mustCopy) {
      try {
        fileSystem.linkSync(source, target)
        addProgress(this.#job.control, table.size)
        return
      } catch (error) {
        if (!isLinkRefusal(error)) throw error
        // What one table cannot have the others cannot either.
        this.#mustCopy = true
      }
    }
    const { hasher } = this.#environment
    const copied = copyFileSync(fileSystem, source, target, hasher, this.#job.control)
    expectWhole(source, table, copied)
    this.#copiedBytes += copied.size
  }

  #addManifest(): void {
    const { fileSystem } = this.#environment
    const { databaseId, manifestNumber, snapshot } = this.#job
    const { bytes } = encodeManifestFile(databaseId, manifestNumber, snapshot)
    const path = joinPath(this.#building, formatFileName('manifest', manifestNumber))
    const file = fileSystem.createSync(path)
    try {
      file.writeSync(bytes, 0, bytes.length, 0)
      file.syncSync()
    } finally {
      file.closeSync()
    }
    // Names become durable in no order of ours: all but CURRENT must be before it exists.
    fileSystem.syncDirectorySync(this.#building)
    const prepared = prepareCurrentSync(fileSystem, this.#building, manifestNumber)
    replaceCurrentSync(fileSystem, this.#building, prepared)
  }
}

/** Throws CorruptionError unless a copied table is what the MANIFEST says. */
export function expectWhole(
  path: string,
  table: TableMetadata,
  copied: { readonly size: number; readonly checksum: number },
): void {
  if (copied.size === table.size && copied.checksum === table.fileChecksum) return
  const expected = `${table.size} bytes, checksum ${hex(table.fileChecksum)}`
  const actual = `${copied.size} bytes, checksum ${hex(copied.checksum)}`
  throw new CorruptionError({ path, offset: 0, expected, actual }, 'the table is damaged')
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}

/** Removes what an earlier attempt left. Throws when something else is there. */
function clearDirectory(fileSystem: FileSystem, directory: string): void {
  const foreign = fileSystem.listSync(directory).find(name => !isOurs(name) && !isLock(name))
  if (foreign !== undefined) {
    throw new InvalidArgumentError(
      `${directory} holds ${foreign}, which is no file of a checkpoint: move it away and try again`,
    )
  }
  removeFiles(fileSystem, directory)
}

function removeFiles(fileSystem: FileSystem, directory: string): void {
  for (const name of fileSystem.listSync(directory)) {
    if (isOurs(name) && !isLock(name)) fileSystem.removeSync(joinPath(directory, name))
  }
}

function isOurs(name: string): boolean {
  return parseFileName(name) !== undefined
}

/** LOCK, and the names by which others try to take it. */
function isLock(name: string): boolean {
  return name.startsWith(LOCK_FILE_NAME)
}

/** Tidies up as far as it goes: the error at hand is the one that matters. */
function attempt(tidy: () => void): void {
  try {
    tidy()
  } catch (error) {
    ignore(error)
  }
}

function ignore(_error: unknown): void {}

/** System errors say what failed; this says of what, what is left of it, and what to do. */
export function explained(error: unknown, what: string, left: string): unknown {
  const code = systemErrorCode(error)
  if (error instanceof KvError || code === undefined) return error
  const { message } = error as Error
  const words = `${what} could not be made: ${message}; ${left}; ${adviceFor(code)}`
  return new IoError(words, { cause: error })
}
