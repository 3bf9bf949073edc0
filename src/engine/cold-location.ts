/**
 * Where the second directory of a closed database is, also when COLD is damaged or gone: whoever
 * checks or repairs must not take a directory that it cannot find for one that is not there.
 *
 * Invariants:
 *  1. A location's OWNER was read, and names the database that the location names. Where it is
 *     damaged or gone COLD does, or the MANIFEST, whose tables are all there.
 *  2. An empty directory without OWNER, as of a disk that is not mounted, is no location.
 *  3. What is to be written to is never another directory than the one that COLD names while that
 *     is there: a copy that was left behind would take its place. Nor is it one that belongs to a
 *     database of which this one is a copy.
 */
import { checkFlag, checkPath } from '../arguments.ts'
import { equalBytes } from '../bytes.ts'
import { CorruptionError, InvalidArgumentError, NotFoundError } from '../errors.ts'
import { refuseRivalSync, rivalOfSync } from './cold-claim.ts'
import { type ColdPointer, lookAtColdOwnerSync, lookAtColdPointerSync } from './cold-files.ts'
import { foreignColdDirectory, holdsTablesOnly, requireOutside, requireOwned } from './cold-tier.ts'
import { COLD_FILE_NAME, formatFileName, OWNER_FILE_NAME } from './file-names.ts'
import { type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { readManifestStateSync } from './manifest.ts'
import { checkTablesSync } from './manifest-files.ts'
import { tieredFileSystem } from './tiered-file-system.ts'
import { Feature } from './version-edit.ts'

/** Plain data, so that it crosses to a thread. */
export interface ColdLocation {
  /** Absolute. */
  readonly path: string
  /** As OWNER says, or, where that is damaged or gone, COLD or the MANIFEST. */
  readonly databaseId: Uint8Array
}

/** What a caller says of the second directory. */
export interface ColdOptions {
  readonly coldDirectory?: string | undefined
  /** It is gone for good; with `coldDirectory`: what is not there is. */
  readonly coldDirectoryLost?: boolean | undefined
}

/** Whether the tables are only read, or the database is to be put together with them. */
export type ColdPurpose = 'read' | 'write'

/**
 * The directory that the caller gives, or else the one that COLD names; undefined when nobody says
 * one, or when it is lost. An OWNER that is damaged or gone is made up for by COLD or the MANIFEST.
 * Throws NotFoundError, InvalidArgumentError, and CorruptionError when nothing says whose it is.
 * Requires that `directory` is locked.
 */
export function findColdDirectorySync(
  fileSystem: FileSystem,
  directory: string,
  options: ColdOptions,
  purpose: ColdPurpose,
): ColdLocation | undefined {
  const found = locate(fileSystem, directory, options, purpose)
  if (found === undefined || purpose === 'read') return found
  const known = knownIdSync(fileSystem, directory)
  // Where it is another database's altogether the work says so.
  const isCopy = known === undefined || equalBytes(known, found.databaseId)
  if (isCopy) refuseRivalSync(fileSystem, directory, found.path)
  return found
}

/** The id of the database, as COLD says, or else the MANIFEST; undefined when neither can. */
function knownIdSync(fileSystem: FileSystem, directory: string): Uint8Array | undefined {
  const { pointer } = lookAtColdPointerSync(fileSystem, directory)
  if (pointer !== undefined) return pointer.databaseId
  try {
    return readManifestStateSync(fileSystem, directory)?.state.databaseId
  } catch (error) {
    if (error instanceof CorruptionError) return undefined
    throw error
  }
}

function locate(
  fileSystem: FileSystem,
  directory: string,
  { coldDirectory: given, coldDirectoryLost = false }: ColdOptions,
  purpose: ColdPurpose,
): ColdLocation | undefined {
  if (coldDirectoryLost && given === undefined) return undefined
  const { pointer } = lookAtColdPointerSync(fileSystem, directory)
  const path = given === undefined ? pointer?.path : fileSystem.resolveSync(given)
  if (path === undefined) return undefined
  requireOutside(fileSystem, directory, path)
  const isRecorded = path === pointer?.path
  if (pointer !== undefined && !isRecorded && purpose === 'write') {
    refuseSecond(fileSystem, directory, path, pointer)
  }
  const { owner, damage } = lookAtColdOwnerSync(fileSystem, path)
  if (owner !== undefined) {
    if (pointer !== undefined) requireOwned(fileSystem, path, pointer.path, pointer.databaseId)
    return { path, databaseId: owner.databaseId }
  }
  if (pointer !== undefined) {
    const { databaseId } = pointer
    if (damage !== undefined) return { path, databaseId }
    if (isRecorded && holdsTablesOnly(fileSystem, path)) return { path, databaseId }
  }
  if (damage !== undefined) throw damage
  const databaseId = idByTables(fileSystem, directory, path, coldDirectoryLost)
  if (databaseId !== undefined) return { path, databaseId }
  if (pointer !== undefined && !holdsTablesOnly(fileSystem, path)) {
    requireOwned(fileSystem, path, pointer.path, pointer.databaseId)
  }
  if (!isDirectorySync(fileSystem, path)) {
    throw new NotFoundError(
      `there is no directory ${path}: check coldDirectory, mount its disk, or say that it is ` +
        'lost for good (coldDirectoryLost)',
    )
  }
  throw new NotFoundError(
    `${path} has no OWNER, and not the tables of the database: check coldDirectory, or say that ` +
      'what is missing there is lost for good (coldDirectoryLost)',
  )
}

function isDirectorySync(fileSystem: FileSystem, path: string): boolean {
  try {
    fileSystem.listSync(path)
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    throw error
  }
}

/** Throws InvalidArgumentError while the directory that COLD names is there, as a second one. */
function refuseSecond(
  fileSystem: FileSystem,
  directory: string,
  path: string,
  { path: named, databaseId }: ColdPointer,
) {
  if (!isThere(fileSystem, named, databaseId)) return
  // A copy of both directories: what COLD still names is the original's.
  if (rivalOfSync(fileSystem, directory, named) !== undefined) return
  throw new InvalidArgumentError(
    `the database keeps tables in ${named}, which is there: leave coldDirectory out to repair ` +
      `with it. If ${path} is to take its place, move or unmount ${named} first`,
  )
}

/** Whether the directory is this database's, or may be: OWNER is damaged or gone. */
function isThere(fileSystem: FileSystem, path: string, databaseId: Uint8Array): boolean {
  try {
    const { owner, damage } = lookAtColdOwnerSync(fileSystem, path)
    if (owner !== undefined) return equalBytes(owner.databaseId, databaseId)
    return damage !== undefined || holdsTablesOnly(fileSystem, path)
  } catch (error) {
    // A disk that cannot be read has nothing to lose.
    if (systemErrorCode(error) === undefined) throw error
    return false
  }
}

/** The database whose MANIFEST finds all its tables with those in `path`, or, so asked, some. */
function idByTables(
  fileSystem: FileSystem,
  directory: string,
  path: string,
  areSomeEnough: boolean,
): Uint8Array | undefined {
  if (!holdsTablesOnly(fileSystem, path)) return undefined
  try {
    const read = readManifestStateSync(fileSystem, directory)
    if (read === undefined) return undefined
    const { version, databaseId } = read.state
    const there = new Set(fileSystem.listSync(path))
    const known = [...version.tables()].map(({ table }) =>
      formatFileName('table', table.fileNumber),
    )
    if (areSomeEnough) return known.some(name => there.has(name)) ? databaseId : undefined
    checkTablesSync(tieredFileSystem(fileSystem, directory, path), directory, version)
    return databaseId
  } catch (error) {
    if (error instanceof CorruptionError) return undefined
    throw error
  }
}

/** What the MANIFEST, or what can be read of it, says. */
export interface KnownOfCold {
  readonly features: number
  readonly databaseId: Uint8Array | undefined
}

/**
 * Adds what is wrong with COLD and OWNER. Throws InvalidArgumentError when the second directory is
 * another database's.
 */
export function checkColdLocationSync(
  fileSystem: FileSystem,
  directory: string,
  { features, databaseId }: KnownOfCold,
  cold: ColdLocation | undefined,
  findings: FindingList,
): void {
  const path = joinPath(directory, COLD_FILE_NAME)
  const { pointer, damage } = lookAtColdPointerSync(fileSystem, directory)
  if (damage !== undefined) {
    findings.addError(damage, path)
  } else if (pointer === undefined && (features & Feature.coldDirectory) !== 0) {
    findings.damage(path, 0, 'COLD is missing, although tables are in a second directory')
  }
  if (cold === undefined) return
  const found = lookAtColdOwnerSync(fileSystem, cold.path)
  const ownerPath = joinPath(cold.path, OWNER_FILE_NAME)
  if (found.damage !== undefined) findings.addError(found.damage, ownerPath)
  else if (found.owner === undefined) findings.damage(ownerPath, 0, 'OWNER is missing')
  if (databaseId === undefined) return
  if (!equalBytes(cold.databaseId, databaseId)) throw foreignColdDirectory(cold.path)
}

/**
 * Throws NotFoundError when there may be tables in a second directory and nobody says where that
 * is: a repair would take them for lost. `isTrusted` when `features` is all that there is to know.
 */
export function requireColdLocation(
  fileSystem: FileSystem,
  directory: string,
  features: number,
  isTrusted: boolean,
): void {
  const { damage } = lookAtColdPointerSync(fileSystem, directory)
  const isNamed = damage !== undefined && !isTrusted
  if ((features & Feature.coldDirectory) === 0 && !isNamed) return
  const path = joinPath(directory, COLD_FILE_NAME)
  throw new NotFoundError(
    `${path}, which names the directory of the last level's tables, is missing or damaged: ` +
      'give that directory as coldDirectory (kvcli debug repair --cold-directory <path>), ' +
      'or say that it is lost (--cold-directory-lost)',
  )
}

/** Throws InvalidArgumentError unless they are what they should be. */
export function checkColdOptions(options: ColdOptions): void {
  const { coldDirectory, coldDirectoryLost } = options
  checkFlag(coldDirectoryLost, 'coldDirectoryLost')
  if (coldDirectory !== undefined) checkPath(coldDirectory, 'coldDirectory')
}
