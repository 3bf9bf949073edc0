/**
 * Whose a second directory is when the first one was copied, file by file: both then bear one id,
 * and COLD in both names the same second directory. Were the copy opened with that, its compactions
 * would remove tables that the original needs.
 *
 * Invariant: nothing is written to a second directory for a database while another one is there,
 * in the directory that OWNER names, that needs it.
 */
import { equalBytes } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import { type ColdPointer, lookAtColdOwnerSync, lookAtColdPointerSync } from './cold-files.ts'
import { LOCK_FILE_NAME } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'

/** Longer than any LOCK. */
const LOCK_SIZE_MAX = 64 * 1024

/**
 * The directory of the database that `path` belongs to rather than to the one in `directory`, which
 * the caller has locked; undefined when there is none. A database that was moved is none, as its
 * old place is empty, and neither is one that has a second directory of its own by now.
 */
export function rivalOfSync(
  fileSystem: FileSystem,
  directory: string,
  path: string,
): string | undefined {
  const { owner } = lookAtColdOwnerSync(fileSystem, path)
  if (owner?.home === undefined) return undefined
  const { home, databaseId } = owner
  const own = fileSystem.resolveSync(directory)
  if (home === own) return undefined
  const pointer = pointerIn(fileSystem, home)
  if (pointer === undefined || !equalBytes(pointer.databaseId, databaseId)) return undefined
  if (pointer.path !== path && isItsOwn(fileSystem, pointer)) return undefined
  return isSameDirectory(fileSystem, home, own) ? undefined : home
}

/** Throws InvalidArgumentError when there is one. */
export function refuseRivalSync(fileSystem: FileSystem, directory: string, path: string): void {
  const home = rivalOfSync(fileSystem, directory, path)
  if (home === undefined) return
  throw new InvalidArgumentError(
    `${path} holds tables of the database in ${home}, of which ${directory} is a copy: its use ` +
      `here would destroy them there. Copy ${path}, too, and give that copy as coldDirectory; ` +
      `or, if ${directory} is to take its place, move or remove ${home} first`,
  )
}

/** What COLD in there says. What cannot be read is no database that could be opened either. */
function pointerIn(fileSystem: FileSystem, home: string): ColdPointer | undefined {
  try {
    return lookAtColdPointerSync(fileSystem, home).pointer
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return undefined
  }
}

function isItsOwn(fileSystem: FileSystem, { path, databaseId }: ColdPointer): boolean {
  const { owner } = lookAtColdOwnerSync(fileSystem, path)
  return owner !== undefined && equalBytes(owner.databaseId, databaseId)
}

/** Whether both are one directory under two names, as of a bind mount: then our LOCK is in both. */
function isSameDirectory(fileSystem: FileSystem, home: string, own: string): boolean {
  const ours = lockIn(fileSystem, own)
  return ours.length > 0 && equalBytes(ours, lockIn(fileSystem, home))
}

/** Each holder's is another. Empty without one. */
function lockIn(fileSystem: FileSystem, directory: string): Uint8Array {
  let file: File
  try {
    file = fileSystem.openSync(joinPath(directory, LOCK_FILE_NAME))
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return new Uint8Array(0)
  }
  try {
    const bytes = new Uint8Array(Math.min(file.sizeSync(), LOCK_SIZE_MAX))
    return bytes.subarray(0, file.readSync(bytes, 0, bytes.length, 0))
  } finally {
    file.closeSync()
  }
}
