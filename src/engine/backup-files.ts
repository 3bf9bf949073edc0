/** Reads what a directory of backups holds. */
import { NotFoundError } from '../errors.ts'
import { type DecodedBackup, decodeBackup } from './backup-format.ts'
import { formatFileName } from './file-names.ts'
import { type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { readManifestSync } from './manifest-files.ts'
import { numbersOf } from './repair-source.ts'

/** Numbers of the backups in a directory with these names, newest first. */
export function backupNumbers(names: readonly string[]): number[] {
  return numbersOf(names, 'backup').sort((a, b) => b - a)
}

/** Throws CorruptionError, VersionMismatchError, or NotFoundError when it is not there. */
export function readBackupSync(
  fileSystem: FileSystem,
  directory: string,
  number: number,
): DecodedBackup {
  const path = joinPath(directory, formatFileName('backup', number))
  return decodeBackup(readManifestSync(fileSystem, path), path, number)
}

/** The backup with this number, the newest one by default. */
export function findBackupSync(
  fileSystem: FileSystem,
  directory: string,
  number: number | undefined,
): DecodedBackup {
  const numbers = backupNumbers(listBackups(fileSystem, directory))
  const [newest] = numbers
  if (newest === undefined) {
    throw new NotFoundError(`there is no backup in ${directory}: check the path`)
  }
  if (number !== undefined && !numbers.includes(number)) {
    throw new NotFoundError(
      `there is no backup ${number} in ${directory}, which has ${numbers.join(', ')}`,
    )
  }
  return readBackupSync(fileSystem, directory, number ?? newest)
}

function listBackups(fileSystem: FileSystem, directory: string): string[] {
  try {
    return fileSystem.listSync(directory)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    throw new NotFoundError(`there is no directory ${directory}: check the path`, { cause: error })
  }
}
