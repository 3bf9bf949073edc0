/**
 * Removes a database from its directory.
 *
 * Invariant: CURRENT goes first, for good, and everything else after it. So whenever it is cut
 * short there is the whole database or none, never a part of one that opens; and calling it again
 * finishes it. What can be refused is found out before: where the second directory is, and that
 * nobody holds it.
 */
import { CorruptionError } from '../errors.ts'
import { backupNumbers } from './backup-files.ts'
import { rivalOfSync } from './cold-claim.ts'
import { isOwnedSync, lookAtColdPointerSync } from './cold-files.ts'
import { COLD_FILE_NAME, CURRENT_FILE_NAME, OWNER_FILE_NAME, parseFileName } from './file-names.ts'
import { type DirectoryLock, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { type Finding, FindingList } from './finding.ts'

export interface DestroyReport {
  /** Why tables in a second directory, if there are any, were left there; else empty. */
  readonly findings: readonly Finding[]
}

/** The second directory, held. */
interface ColdTables {
  readonly path: string
  readonly lock: DirectoryLock
}

/** destroy() of open.ts, on the given disk. */
export async function destroyIn(fileSystem: FileSystem, directory: string): Promise<DestroyReport> {
  const list = new FindingList()
  const { findings } = list
  if (namesOfOurs(fileSystem, directory).length === 0) return { findings }
  const lock = fileSystem.lockSync(directory)
  let cold: ColdTables | undefined
  try {
    cold = takeColdTables(fileSystem, directory, list)
    await removeFiles(fileSystem, directory, lock, cold)
  } finally {
    cold?.lock.releaseSync()
    lock.releaseSync()
  }
  try {
    fileSystem.removeDirectorySync(directory)
  } catch (error) {
    // Somebody else's files keep it.
    const code = systemErrorCode(error)
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
  return { findings }
}

/** Undefined when there is none, or, with a finding, when it is not known to be the database's. */
function takeColdTables(
  fileSystem: FileSystem,
  directory: string,
  findings: FindingList,
): ColdTables | undefined {
  const { pointer, damage } = lookAtColdPointerSync(fileSystem, directory)
  if (damage !== undefined) findings.addError(damage, directory)
  if (pointer === undefined) return undefined
  const { path, databaseId } = pointer
  try {
    const rival = rivalOfSync(fileSystem, directory, path)
    if (rival !== undefined) {
      findings.notice(path, 0, `belongs to the database in ${rival}, of which this is a copy`)
      return undefined
    }
    if (isOwnedSync(fileSystem, path, databaseId)) return { path, lock: fileSystem.lockSync(path) }
    findings.notice(path, 0, 'is missing or not the directory of the database any more')
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error
    findings.addError(error, path)
  }
  return undefined
}

async function removeFiles(
  fileSystem: FileSystem,
  directory: string,
  lock: DirectoryLock,
  cold: ColdTables | undefined,
): Promise<void> {
  const names = namesOfOurs(fileSystem, directory)
  if (names.includes(CURRENT_FILE_NAME)) {
    fileSystem.removeSync(joinPath(directory, CURRENT_FILE_NAME))
    await fileSystem.syncDirectory(directory)
  }

  if (cold !== undefined) await removeColdFiles(fileSystem, cold)
  // COLD goes last: until then it says where the rest of the tables is.
  names.sort((a, b) => Number(a === COLD_FILE_NAME) - Number(b === COLD_FILE_NAME))
  for (const name of names) {
    if (name === CURRENT_FILE_NAME) continue
    lock.verifySync()
    // Not within the turn: removing a large file takes a file system a while.
    await fileSystem.remove(joinPath(directory, name))
  }
}

async function removeColdFiles(fileSystem: FileSystem, { path, lock }: ColdTables): Promise<void> {
  const names = fileSystem.listSync(path)
  const tables = names.filter(name => parseFileName(name)?.kind === 'table')
  for (const name of [...tables, OWNER_FILE_NAME]) {
    lock.verifySync()
    await fileSystem.remove(joinPath(path, name))
  }
  await fileSystem.syncDirectory(path)
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
  // Tables beside a backup are the backup, and beside OWNER the last level of a database elsewhere.
  if (backupNumbers(names).length > 0 || names.includes(OWNER_FILE_NAME)) return []
  return names.filter(name => {
    const kind = parseFileName(name)?.kind
    return kind !== undefined && kind !== 'lock'
  })
}
