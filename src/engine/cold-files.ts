/**
 * The two small files that tie a database to the second directory in which it keeps the tables of
 * its last level: COLD, in the database's directory, says where that is, and OWNER, in the second
 * one, whose tables are there. Both name the database, so neither can be taken for another's.
 *
 *   cold  := path "\n" id " " sum "\n"        an absolute path
 *   owner := [ home "\n" ] id " " sum "\n"       the database's directory, an absolute path
 *   id    := the database id, 32 hexadecimal digits
 *   sum   := XXH32 (seed 0) of all before the space in front of it, eight hexadecimal digits
 *
 * Invariant: each is replaced as a whole, so after any crash there is the old one or the new one.
 */
import { equalBytes } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import { COLD_FILE_NAME, OWNER_FILE_NAME, TEMPORARY_SUFFIX } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { sealText, unsealText } from './sealed-text.ts'
import { shortRead } from './short-read.ts'

/** Longer than any path that systems take. */
const SIZE_MAX = 64 * 1024

/** What COLD says. */
export interface ColdPointer {
  /** The absolute path of the second directory. */
  readonly path: string
  readonly databaseId: Uint8Array
}

/** What OWNER says. */
export interface ColdOwner {
  /** The absolute path of the database's own directory; undefined where an older build wrote it. */
  readonly home: string | undefined
  readonly databaseId: Uint8Array
}

/** Undefined when there is none. Throws CorruptionError. */
export function readColdPointerSync(
  fileSystem: FileSystem,
  directory: string,
): ColdPointer | undefined {
  const path = joinPath(directory, COLD_FILE_NAME)
  const text = readSealed(fileSystem, path)
  if (text === undefined) return undefined
  const named = decode(text)
  if (named?.path !== undefined) return { path: named.path, databaseId: named.databaseId }
  throw new CorruptionError({ path, offset: 0 }, 'COLD does not name a directory')
}

/** As readColdPointerSync, but damage is no error: for who can do without. */
export function lookAtColdPointerSync(
  fileSystem: FileSystem,
  directory: string,
): { readonly pointer?: ColdPointer | undefined; readonly damage?: CorruptionError } {
  try {
    return { pointer: readColdPointerSync(fileSystem, directory) }
  } catch (error) {
    if (error instanceof CorruptionError) return { damage: error }
    throw error
  }
}

export function writeColdPointerSync(
  fileSystem: FileSystem,
  directory: string,
  { path, databaseId }: ColdPointer,
): void {
  writeSealed(fileSystem, directory, COLD_FILE_NAME, `${path}\n${encodeId(databaseId)}`)
}

/** The database whose tables are in the directory; undefined when nobody's are. */
export function readColdOwnerSync(
  fileSystem: FileSystem,
  coldDirectory: string,
): ColdOwner | undefined {
  const path = joinPath(coldDirectory, OWNER_FILE_NAME)
  const text = readSealed(fileSystem, path)
  if (text === undefined) return undefined
  const named = decode(text)
  if (named !== undefined) return { home: named.path, databaseId: named.databaseId }
  throw new CorruptionError({ path, offset: 0 }, 'OWNER does not name a database')
}

/** As readColdOwnerSync, but damage is no error: for who can do without. */
export function lookAtColdOwnerSync(
  fileSystem: FileSystem,
  coldDirectory: string,
): { readonly owner?: ColdOwner | undefined; readonly damage?: CorruptionError } {
  try {
    return { owner: readColdOwnerSync(fileSystem, coldDirectory) }
  } catch (error) {
    if (error instanceof CorruptionError) return { damage: error }
    throw error
  }
}

export function writeColdOwnerSync(
  fileSystem: FileSystem,
  coldDirectory: string,
  { home, databaseId }: { readonly home: string; readonly databaseId: Uint8Array },
): void {
  writeSealed(fileSystem, coldDirectory, OWNER_FILE_NAME, `${home}\n${encodeId(databaseId)}`)
}

/** Whether the directory is there and holds the tables of this database. */
export function isOwnedSync(
  fileSystem: FileSystem,
  coldDirectory: string,
  databaseId: Uint8Array,
): boolean {
  const owner = readColdOwnerSync(fileSystem, coldDirectory)
  return owner !== undefined && equalBytes(owner.databaseId, databaseId)
}

/** The path, if there is one, and the id; undefined when the text is neither. */
function decode(
  text: string,
): { readonly path: string | undefined; readonly databaseId: Uint8Array } | undefined {
  const end = text.lastIndexOf('\n')
  const databaseId = decodeId(text.slice(end + 1))
  if (databaseId === undefined || end === 0) return undefined
  return { path: end < 0 ? undefined : text.slice(0, end), databaseId }
}

function encodeId(databaseId: Uint8Array): string {
  return Buffer.from(databaseId).toString('hex')
}

function decodeId(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]+$/.test(text) || text.length !== 2 * DATABASE_ID_SIZE) return undefined
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** The text in front of the sum; undefined without a file. */
function readSealed(fileSystem: FileSystem, path: string): string | undefined {
  let file: File
  try {
    file = fileSystem.openSync(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const bytes = new Uint8Array(Math.min(file.sizeSync(), SIZE_MAX))
    const length = file.readSync(bytes, 0, bytes.length, 0)
    if (length !== bytes.length) throw shortRead(file, 0, bytes.length, length, 'it is cut')
    const text = unsealText(bytes.subarray(0, length))
    if (text !== undefined) return text
    const what = 'the file is damaged; a repair of the database writes it anew (kvcli debug repair)'
    throw new CorruptionError({ path, offset: 0 }, what)
  } finally {
    file.closeSync()
  }
}

function writeSealed(fileSystem: FileSystem, directory: string, name: string, text: string): void {
  const path = joinPath(directory, name)
  const temporary = `${path}${TEMPORARY_SUFFIX}`
  removeIfExistsSync(fileSystem, temporary)
  const file = fileSystem.createSync(temporary)
  try {
    const bytes = sealText(text)
    file.writeSync(bytes, 0, bytes.length, 0)
    file.syncSync()
  } finally {
    file.closeSync()
  }
  fileSystem.renameSync(temporary, path)
  fileSystem.syncDirectorySync(directory)
}

export function removeIfExistsSync(fileSystem: FileSystem, path: string): void {
  try {
    fileSystem.removeSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}
