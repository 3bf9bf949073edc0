/**
 * Restores a backup: a database of its own in a new directory, made of copies whose checksums are
 * compared on the way. After a crash or an error the directory is not there.
 */
import { InvalidArgumentError } from '../errors.ts'
import { findBackupSync } from './backup-files.ts'
import { buildCopy, type CheckpointResult, explained } from './checkpoint-job.ts'
import { type FileSystem, isWithin, systemErrorCode } from './file-system.ts'
import type { JobControl } from './maintenance-job.ts'
import type { JobEnvironment } from './run-job.ts'

export interface RestoreJob {
  /** The directory of backups. */
  readonly directory: string
  readonly target: string
  /** Which one; undefined for the newest. */
  readonly backup: number | undefined
  /** The identity of the database that is made. */
  readonly databaseId: Uint8Array
  readonly control: JobControl
}

export interface RestoreResult {
  /** The directory of the database, as an absolute path. */
  readonly directory: string
  readonly backup: number
  readonly sequence: number
  readonly tableCount: number
  readonly tableBytes: number
}

/**
 * Throws NotFoundError without a backup, CorruptionError when it is damaged, InvalidArgumentError
 * when the target is not empty.
 */
export function runRestoreJob(job: RestoreJob, environment: JobEnvironment): RestoreResult {
  const { fileSystem } = environment
  const { directory, control, databaseId } = job
  const found = findBackupSync(fileSystem, directory, job.backup)
  const target = fileSystem.resolveSync(job.target)
  checkTarget(fileSystem, target, fileSystem.resolveSync(directory))
  const { snapshot, number } = found
  const manifestNumber = snapshot.nextFileNumber ?? 1
  const copied = { ...snapshot, databaseId, nextFileNumber: manifestNumber + 1 }
  const build = {
    directory,
    target,
    databaseId,
    manifestNumber,
    snapshot: copied,
    copy: true,
    control,
  }
  let made: CheckpointResult
  try {
    made = buildCopy(build, environment, target)
  } catch (error) {
    throw explained(error, `the database ${target}`, 'nothing of it was kept')
  }
  const { sequence, tableCount, tableBytes } = made
  return { directory: made.directory, backup: number, sequence, tableCount, tableBytes }
}

function checkTarget(fileSystem: FileSystem, target: string, backups: string): void {
  if (isWithin(target, backups)) {
    throw new InvalidArgumentError(`a backup is not restored into its own directory, got ${target}`)
  }
  let names: string[]
  try {
    names = fileSystem.listSync(target)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return
    if (systemErrorCode(error) !== 'ENOTDIR') throw error
    throw new InvalidArgumentError(`${target} is a file: give a directory that is not there`)
  }
  if (names.length === 0) {
    // The whole database takes this name in one step.
    fileSystem.removeDirectorySync(target)
    return
  }
  throw new InvalidArgumentError(
    `${target} is not empty: a backup is restored into a new directory, choose another name`,
  )
}
