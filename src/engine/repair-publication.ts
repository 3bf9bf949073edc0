/**
 * The last step of a repair: puts the new MANIFEST in force and the originals aside.
 *
 * Invariant: before CURRENT names the new MANIFEST everything that it does not need is in the lost
 * directory too, durably, under a second name, so that the next open, which removes what no
 * MANIFEST mentions, cannot take it. Where there are no links files are moved behind that step.
 */
import { CorruptionError } from '../errors.ts'
import {
  lookAtColdOwnerSync,
  lookAtColdPointerSync,
  removeIfExistsSync,
  writeColdOwnerSync,
  writeColdPointerSync,
} from './cold-files.ts'
import { copyBytesSync } from './copy-file.ts'
import { prepareCurrentSync, replaceCurrentSync } from './current-file.ts'
import {
  COLD_FILE_NAME,
  CURRENT_FILE_NAME,
  formatFileName,
  OWNER_FILE_NAME,
  parseFileName,
} from './file-names.ts'
import { type FileSystem, isLinkRefusal, joinPath, systemErrorCode } from './file-system.ts'
import { encodeManifestFile } from './manifest-format.ts'
import type { VersionEdit } from './version-edit.ts'

const LOST_DIRECTORY_NAME = 'lost'

export interface RepairPublication {
  /** What the directory held before the repair. */
  readonly names: readonly string[]
  readonly databaseId: Uint8Array
  readonly manifestNumber: number
  /** The second directory, absolute; undefined when there is none. */
  readonly coldDirectory: string | undefined
  /** Everything that the new MANIFEST says. */
  readonly snapshot: VersionEdit
}

export interface MovedFiles {
  readonly directory: string
  readonly names: readonly string[]
}

export function publishRepair(
  fileSystem: FileSystem,
  directory: string,
  publication: RepairPublication,
): MovedFiles {
  const { names, manifestNumber, databaseId, snapshot } = publication
  const lost = newLostDirectory(fileSystem, directory)
  const moved = namesToMove(names, snapshot)
  writeManifest(fileSystem, directory, manifestNumber, databaseId, snapshot)
  const linked = new Set<string>()
  for (const name of moved) {
    if (link(fileSystem, joinPath(directory, name), joinPath(lost, name))) linked.add(name)
  }
  saveCopy(fileSystem, directory, lost, CURRENT_FILE_NAME)
  replaceColdPointer(fileSystem, directory, lost, publication)
  fileSystem.syncDirectorySync(lost)
  const prepared = prepareCurrentSync(fileSystem, directory, manifestNumber)
  replaceCurrentSync(fileSystem, directory, prepared)
  for (const name of moved) {
    const path = joinPath(directory, name)
    if (linked.has(name)) fileSystem.removeSync(path)
    else fileSystem.renameSync(path, joinPath(lost, name))
  }
  fileSystem.syncDirectorySync(lost)
  fileSystem.syncDirectorySync(directory)
  return { directory: lost, names: fileSystem.listSync(lost).sort(byName) }
}

function byName(a: string, b: string): number {
  return a < b ? -1 : 1
}

/** What the new MANIFEST does not need. */
function namesToMove(names: readonly string[], snapshot: VersionEdit): string[] {
  const { added = [], logNumber = 0 } = snapshot
  const tables = new Set(added.map(({ table }) => table.fileNumber))
  return names.filter(name => {
    const parsed = parseFileName(name)
    if (parsed?.kind === 'table') return !tables.has(parsed.fileNumber)
    // Log number 0 says that no segment is needed. Else older ones may be held (wal-hold.ts).
    if (parsed?.kind === 'wal') return logNumber === 0
    return parsed?.kind === 'manifest'
  })
}

function newLostDirectory(fileSystem: FileSystem, directory: string): string {
  const parent = joinPath(directory, LOST_DIRECTORY_NAME)
  for (let number = 1; ; number++) {
    const path = joinPath(parent, String(number))
    if (exists(fileSystem, path)) continue
    fileSystem.makeDirectorySync(path)
    return path
  }
}

function exists(fileSystem: FileSystem, path: string): boolean {
  try {
    fileSystem.listSync(path)
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return false
    if (code === 'ENOTDIR') return true
    throw error
  }
}

function writeManifest(
  fileSystem: FileSystem,
  directory: string,
  manifestNumber: number,
  databaseId: Uint8Array,
  snapshot: VersionEdit,
): void {
  const { bytes } = encodeManifestFile(databaseId, manifestNumber, snapshot)
  const path = joinPath(directory, formatFileName('manifest', manifestNumber))
  const file = fileSystem.createSync(path)
  try {
    file.writeSync(bytes, 0, bytes.length, 0)
    file.syncSync()
  } finally {
    file.closeSync()
  }
  fileSystem.syncDirectorySync(directory)
}

/** False where there can be no link. */
function link(fileSystem: FileSystem, source: string, target: string): boolean {
  try {
    fileSystem.linkSync(source, target)
    return true
  } catch (error) {
    if (!isLinkRefusal(error)) throw error
    return false
  }
}

/** Makes COLD name the second directory, or none, if it does not yet. */
function replaceColdPointer(
  fileSystem: FileSystem,
  directory: string,
  lost: string,
  { coldDirectory, databaseId }: RepairPublication,
): void {
  if (coldDirectory !== undefined) {
    replaceColdOwner(fileSystem, directory, lost, coldDirectory, databaseId)
  }
  const { pointer, damage } = lookAtColdPointerSync(fileSystem, directory)
  if (damage === undefined && pointer?.path === coldDirectory) return
  saveCopy(fileSystem, directory, lost, COLD_FILE_NAME)
  fileSystem.syncDirectorySync(lost)
  if (coldDirectory === undefined) {
    removeIfExistsSync(fileSystem, joinPath(directory, COLD_FILE_NAME))
  } else {
    writeColdPointerSync(fileSystem, directory, { path: coldDirectory, databaseId })
  }
}

/** Makes OWNER name the database if it is damaged or gone. */
function replaceColdOwner(
  fileSystem: FileSystem,
  directory: string,
  lost: string,
  coldDirectory: string,
  databaseId: Uint8Array,
): void {
  if (lookAtColdOwnerSync(fileSystem, coldDirectory).owner !== undefined) return
  saveCopy(fileSystem, coldDirectory, lost, OWNER_FILE_NAME)
  fileSystem.syncDirectorySync(lost)
  const home = fileSystem.resolveSync(directory)
  writeColdOwnerSync(fileSystem, coldDirectory, { home, databaseId })
}

/** A copy of a file that is replaced. What else has that name has no bytes to copy: it is moved. */
function saveCopy(fileSystem: FileSystem, directory: string, lost: string, name: string): void {
  const [path, saved] = [joinPath(directory, name), joinPath(lost, name)]
  try {
    copyBytesSync(fileSystem, path, saved)
  } catch (error) {
    if (error instanceof CorruptionError) fileSystem.renameSync(path, saved)
    else if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}
