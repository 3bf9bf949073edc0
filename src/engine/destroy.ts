/**
 * Removes a database from its directory.
 *
 * Invariant: CURRENT goes first, for good, and everything else after it. So whenever it is cut
 * short there is the whole database or none, never a part of one that opens; and calling it again
 * finishes it.
 */
import { yieldToEventLoop } from '../clock.ts'
import { backupNumbers } from './backup-files.ts'
import { isOwnedSync, readColdPointerSync } from './cold-files.ts'
import { COLD_FILE_NAME, CURRENT_FILE_NAME, OWNER_FILE_NAME, parseFileName } from './file-names.ts'
import { type DirectoryLock, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'

/** destroy() of open.ts, on the given disk. */
export async function destroyIn(fileSystem: FileSystem, directory: string): Promise<void> {
  if (namesOfOurs(fileSystem, directory).length === 0) return
  const lock = fileSystem.lockSync(directory)
  try {
    await removeFiles(fileSystem, directory, lock)
  } finally {
    lock.releaseSync()
  }
  try {
    fileSystem.removeDirectorySync(directory)
  } catch (error) {
    // Somebody else's files keep it.
    const code = systemErrorCode(error)
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}

async function removeFiles(
  fileSystem: FileSystem,
  directory: string,
  lock: DirectoryLock,
): Promise<void> {
  const names = namesOfOurs(fileSystem, directory)
  if (names.includes(CURRENT_FILE_NAME)) {
    fileSystem.removeSync(joinPath(directory, CURRENT_FILE_NAME))
    fileSystem.syncDirectorySync(directory)
  }

  await removeColdFiles(fileSystem, directory)
  // COLD goes last: until then it says where the rest of the tables is.
  names.sort((a, b) => Number(a === COLD_FILE_NAME) - Number(b === COLD_FILE_NAME))
  for (const name of names) {
    if (name === CURRENT_FILE_NAME) continue
    // Removing a large file takes a file system a while.
    await yieldToEventLoop()
    lock.verifySync()
    fileSystem.removeSync(joinPath(directory, name))
  }
}

/** Removes the tables in the second directory, if it is there and still the database's. */
async function removeColdFiles(fileSystem: FileSystem, directory: string): Promise<void> {
  const pointer = readColdPointerSync(fileSystem, directory)
  if (pointer === undefined) return
  const { path, databaseId } = pointer
  if (!isOwnedSync(fileSystem, path, databaseId)) return
  const lock = fileSystem.lockSync(path)
  try {
    const names = fileSystem.listSync(path)
    const tables = names.filter(name => parseFileName(name)?.kind === 'table')
    for (const name of [...tables, OWNER_FILE_NAME]) {
      await yieldToEventLoop()
      lock.verifySync()
      fileSystem.removeSync(joinPath(path, name))
    }
    fileSystem.syncDirectorySync(path)
  } finally {
    lock.releaseSync()
  }
}

/** Files that belong to a database, but for its lock. */
function namesOfOurs(fileSystem: FileSystem, directory: string): string[] {
  let names: string[]
  try {
    names = fileSystem.listSync(directory)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
  // Tables beside a backup are the backup.
  if (backupNumbers(names).length > 0) return []
  return names.filter(name => {
    const kind = parseFileName(name)?.kind
    return kind !== undefined && kind !== 'lock'
  })
}
