/**
 * Makes a backup: copies of the tables that make up the database at one moment, and a file that
 * names them. One directory takes many backups of one database; tables that an earlier one has
 * already are not copied again.
 *
 * Invariants:
 *  1. A table is copied under another name and gets its own once its bytes are durable and have
 *     the checksum that the MANIFEST records. So whatever has the name of a table is whole.
 *  2. BACKUP-<number> gets its name last: after a crash a backup is there and whole, or not there.
 *  3. No table takes the place of another that an earlier backup names: numbers of tables come
 *     again once a database was rolled back, and in a copy of it.
 *  4. Files go only once a newer backup is durable, and only those that no backup kept names, nor
 *     may name: what a damaged one has nobody can tell.
 */

import { equalBytes } from '../bytes.ts'
import { CorruptionError, InvalidArgumentError, KvError, LockedError } from '../errors.ts'
import { backupNumbers, readBackupSync } from './backup-files.ts'
import { type DecodedBackup, encodeBackup } from './backup-format.ts'
import { expectWhole, explained, refuseWithin } from './checkpoint-job.ts'
import { copyFileSync, digestSync } from './copy-file.ts'
import { formatFileName, LOCK_FILE_NAME, parseFileName, TEMPORARY_SUFFIX } from './file-names.ts'
import { type DirectoryLock, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { type Finding, FindingList } from './finding.ts'
import { adviceFor } from './io-failure.ts'
import { addProgress, beginProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { numbersOf } from './repair-source.ts'
import type { JobEnvironment } from './run-job.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { VersionEdit } from './version-edit.ts'

export interface BackupJob {
  readonly directory: string
  /** The second directory of the database, absolute, if it has one. */
  readonly coldDirectory: string | undefined
  readonly target: string
  readonly databaseId: Uint8Array
  /** Everything that a MANIFEST of the backup says. */
  readonly snapshot: VersionEdit
  /** How many backups stay, this one included. */
  readonly keep: number
  readonly control: JobControl
}

export interface BackupResult {
  /** The directory of backups, as an absolute path. */
  readonly directory: string
  /** The number of this one. */
  readonly backup: number
  /** It holds every write up to this sequence, and none after it. */
  readonly sequence: number
  readonly tableCount: number
  /** Bytes of its tables, and how many of them had to be copied. */
  readonly tableBytes: number
  readonly copiedBytes: number
  /** Older backups that were removed. */
  readonly removedBackups: number
  /** What could not be removed, and why; the backup is whole all the same. Usually empty. */
  readonly findings: readonly Finding[]
}

/** Throws InvalidArgumentError, IoError, CorruptionError, LockedError or AbortedError. */
export function runBackupJob(job: BackupJob, environment: JobEnvironment): BackupResult {
  const { fileSystem } = environment
  const list = new FindingList()
  let lock: DirectoryLock | undefined
  let made: BackupResult | undefined
  try {
    const target = fileSystem.resolveSync(job.target)
    refuseWithin(fileSystem, job, target, 'a backup')
    fileSystem.makeDirectorySync(target)
    lock = lockBackups(fileSystem, target)
    made = new Backup(job, environment, target, list).run()
    return made
  } catch (error) {
    throw explained(error, `the backup in ${job.target}`, 'those before it are whole')
  } finally {
    if (made === undefined) lock?.releaseSync()
    else {
      const path = joinPath(made.directory, LOCK_FILE_NAME)
      unlessRefused(list, path, UNREMOVED, () => lock?.releaseSync())
    }
  }
}

function lockBackups(fileSystem: FileSystem, target: string): DirectoryLock {
  try {
    return fileSystem.lockSync(target)
  } catch (error) {
    if (!(error instanceof LockedError)) throw error
    const words = `${target} is in use: wait for the backup that is made there, if it is one`
    throw new LockedError(`${words} (${error.message})`, { cause: error })
  }
}

const UNREMOVED = 'cannot be removed'

/** Does what the backup does not need; that the system refuses it is a finding, and false. */
function unlessRefused(list: FindingList, path: string, what: string, tidy: () => void): boolean {
  try {
    tidy()
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (error instanceof KvError || code === undefined) throw error
    list.notice(path, 0, `${what}: ${(error as Error).message}; ${adviceFor(code)}`)
    return false
  }
}

class Backup {
  readonly #job: BackupJob
  readonly #environment: JobEnvironment
  readonly #target: string
  readonly #names: ReadonlySet<string>
  readonly #earlier: readonly DecodedBackup[]
  readonly #number: number
  readonly #findings: FindingList
  /** Whether there are earlier ones of which nobody can tell which tables they have. */
  #hasDamaged = false
  #copiedBytes = 0

  constructor(job: BackupJob, environment: JobEnvironment, target: string, list: FindingList) {
    const { fileSystem } = environment
    this.#job = job
    this.#environment = environment
    this.#target = target
    this.#findings = list
    const names = fileSystem.listSync(target)
    this.#names = new Set(names)
    refuseDatabase(target, names)
    const numbers = backupNumbers(names)
    this.#number = (numbers[0] ?? 0) + 1
    this.#earlier = this.#readEarlier(numbers)
  }

  run(): BackupResult {
    const { control, snapshot, databaseId } = this.#job
    const { fileSystem } = this.#environment
    const tables = (snapshot.added ?? []).map(({ table }) => table)
    const tableBytes = tables.reduce((sum, table) => sum + table.size, 0)
    beginProgress(control, tableBytes)
    for (const table of tables) {
      throwIfCancelled(control)
      this.#addTable(table)
    }
    fileSystem.syncDirectorySync(this.#target)
    throwIfCancelled(control)
    const name = formatFileName('backup', this.#number)
    this.#writeFile(name, encodeBackup(databaseId, this.#number, snapshot))
    fileSystem.syncDirectorySync(this.#target)
    const removedBackups = this.#removeOlder(tables)
    this.#removeUnfinished()
    return {
      directory: this.#target,
      backup: this.#number,
      sequence: snapshot.lastSequence ?? 0,
      tableCount: tables.length,
      tableBytes,
      copiedBytes: this.#copiedBytes,
      removedBackups,
      findings: this.#findings.findings,
    }
  }

  /**
   * All but damaged ones, which lend nothing, and stay for whoever looks into them. One that only
   * could not be read now may be sound: it is not taken for damaged.
   */
  #readEarlier(numbers: readonly number[]): DecodedBackup[] {
    const { fileSystem } = this.#environment
    const earlier: DecodedBackup[] = []
    for (const number of numbers) {
      try {
        earlier.push(readBackupSync(fileSystem, this.#target, number))
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error
        this.#hasDamaged = true
      }
    }
    for (const { databaseId } of earlier) {
      if (equalBytes(databaseId, this.#job.databaseId)) continue
      throw new InvalidArgumentError(
        `${this.#target} holds backups of another database: give each one a directory of its own`,
      )
    }
    return earlier
  }

  #addTable(table: TableMetadata): void {
    const { fileSystem, hasher } = this.#environment
    const { control, directory } = this.#job
    const name = formatFileName('table', table.fileNumber)
    const path = joinPath(this.#target, name)
    this.#refuseRival(table)
    if (this.#isThere(table, name, path)) return
    const source = joinPath(directory, name)
    const temporary = `${path}${TEMPORARY_SUFFIX}`
    removeIfExists(fileSystem, temporary)
    try {
      const copied = copyFileSync(fileSystem, source, temporary, hasher, control)
      expectWhole(source, table, copied)
      fileSystem.renameSync(temporary, path)
      this.#copiedBytes += copied.size
    } catch (error) {
      removeIfExists(fileSystem, temporary)
      throw error
    }
  }

  /** Throws when an earlier backup has another table of that number: it would lose it. */
  #refuseRival({ fileNumber, size, fileChecksum }: TableMetadata): void {
    for (const { number, tables } of this.#earlier) {
      const same = tables.find(table => table.fileNumber === fileNumber)
      if (same === undefined) continue
      if (same.size === size && same.fileChecksum === fileChecksum) continue
      throw new InvalidArgumentError(
        `backup ${number} in ${this.#target} is of another life of this database, which was ` +
          'rolled back since, or is a copy: give this one a directory of its own',
      )
    }
  }

  /** Whether the table was copied before. What no backup vouches for is read to find out. */
  #isThere(table: TableMetadata, name: string, path: string): boolean {
    if (!this.#names.has(name)) return false
    const { fileSystem, hasher } = this.#environment
    const { control } = this.#job
    const { size, fileChecksum } = table
    const isKnown = this.#earlier.some(({ tables }) =>
      tables.some(
        other =>
          other.fileNumber === table.fileNumber &&
          other.size === size &&
          other.fileChecksum === fileChecksum,
      ),
    )
    const file = fileSystem.openSync(path)
    try {
      if (file.sizeSync() !== size) return false
      if (isKnown) {
        addProgress(control, size)
        return true
      }
      return digestSync(file, hasher, control).checksum === fileChecksum
    } finally {
      file.closeSync()
    }
  }

  #writeFile(name: string, bytes: Uint8Array): void {
    const { fileSystem } = this.#environment
    const path = joinPath(this.#target, name)
    const temporary = `${path}${TEMPORARY_SUFFIX}`
    removeIfExists(fileSystem, temporary)
    const file = fileSystem.createSync(temporary)
    try {
      file.writeSync(bytes, 0, bytes.length, 0)
      file.syncSync()
    } finally {
      file.closeSync()
    }
    fileSystem.renameSync(temporary, path)
  }

  /**
   * Removes the backups beyond those to keep, and then the tables that none of the rest names: of
   * these, while there is a damaged one, only those that a removed one named, as the others may be
   * its. What cannot be removed stays, with all that it needs, and is a finding: the new backup is
   * whole. The next one tries again.
   */
  #removeOlder(tables: readonly TableMetadata[]): number {
    const { fileSystem } = this.#environment
    const kept = this.#earlier.slice(0, this.#job.keep - 1)
    const needed = new Set(tables.map(({ fileNumber }) => fileNumber))
    for (const backup of kept) for (const table of backup.tables) needed.add(table.fileNumber)
    const removed: DecodedBackup[] = []
    for (const backup of this.#earlier.slice(kept.length)) {
      if (this.#remove(formatFileName('backup', backup.number))) removed.push(backup)
      else for (const table of backup.tables) needed.add(table.fileNumber)
    }
    // A name that may come back must find its tables.
    const sync = () => fileSystem.syncDirectorySync(this.#target)
    const what = 'backups that were removed may come back'
    if (!unlessRefused(this.#findings, this.#target, what, sync)) return removed.length
    const over = this.#hasDamaged
      ? removed.flatMap(backup => backup.tables.map(({ fileNumber }) => fileNumber))
      : numbersOf([...this.#names], 'table')
    for (const fileNumber of new Set(over)) {
      if (!needed.has(fileNumber)) this.#remove(formatFileName('table', fileNumber))
    }
    return removed.length
  }

  /** What a backup was writing when its process was killed: the next one may not need the like. */
  #removeUnfinished(): void {
    for (const name of this.#names) {
      if (!name.endsWith(TEMPORARY_SUFFIX)) continue
      const kind = parseFileName(name.slice(0, -TEMPORARY_SUFFIX.length))?.kind
      if (kind === 'table' || kind === 'backup') this.#remove(name)
    }
  }

  #remove(name: string): boolean {
    const { fileSystem } = this.#environment
    const path = joinPath(this.#target, name)
    return unlessRefused(this.#findings, path, UNREMOVED, () => removeIfExists(fileSystem, path))
  }
}

function refuseDatabase(target: string, names: readonly string[]): void {
  const isDatabase = names.some(name => {
    const kind = parseFileName(name)?.kind
    // The owner is the database that keeps its last level there.
    return kind === 'current' || kind === 'manifest' || kind === 'wal' || kind === 'owner'
  })
  if (!isDatabase) return
  throw new InvalidArgumentError(
    `${target} holds a database: backups have a directory of their own, choose another one`,
  )
}

function removeIfExists(fileSystem: FileSystem, path: string): void {
  try {
    fileSystem.removeSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}
