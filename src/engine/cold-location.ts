/**
 * Where the second directory of a closed database is, also when COLD is damaged or gone: whoever
 * checks or repairs must not take a directory that it cannot find for one that is not there.
 *
 * Invariant: a location's OWNER was read, and names the database that the location names.
 */
import { equalBytes } from '../bytes.ts'
import { InvalidArgumentError, NotFoundError } from '../errors.ts'
import { lookAtColdPointerSync, readColdOwnerSync } from './cold-files.ts'
import { foreignColdDirectory, requireOutside, requireOwned } from './cold-tier.ts'
import { COLD_FILE_NAME } from './file-names.ts'
import { type FileSystem, joinPath } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { Feature } from './version-edit.ts'

/** Plain data, so that it crosses to a thread. */
export interface ColdLocation {
  /** Absolute. */
  readonly path: string
  /** As OWNER says. */
  readonly databaseId: Uint8Array
}

/**
 * The directory that the caller gives, or else the one that COLD names; undefined when nobody says
 * one. Throws NotFoundError, InvalidArgumentError, and CorruptionError when OWNER is damaged.
 */
export function findColdDirectorySync(
  fileSystem: FileSystem,
  directory: string,
  given: string | undefined,
): ColdLocation | undefined {
  const { pointer } = lookAtColdPointerSync(fileSystem, directory)
  const path = given === undefined ? pointer?.path : fileSystem.resolveSync(given)
  if (path === undefined) return undefined
  requireOutside(fileSystem, directory, path)
  if (pointer !== undefined) {
    requireOwned(fileSystem, path, pointer.path, pointer.databaseId)
    return { path, databaseId: pointer.databaseId }
  }
  const databaseId = readColdOwnerSync(fileSystem, path)
  if (databaseId !== undefined) return { path, databaseId }
  throw new NotFoundError(
    `${path} has no OWNER, so it is not the cold directory of a database: check coldDirectory`,
  )
}

/** What the MANIFEST, or what can be read of it, says. */
export interface KnownOfCold {
  readonly features: number
  readonly databaseId: Uint8Array | undefined
}

/**
 * Adds what is wrong with COLD. Throws InvalidArgumentError when the second directory is another
 * database's.
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
  if (cold === undefined || databaseId === undefined) return
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
      'give that directory as coldDirectory (kvcli debug repair --cold-directory <path>)',
  )
}

/** Throws InvalidArgumentError unless it may be given as a directory. */
export function checkColdDirectoryOption(coldDirectory: unknown): void {
  if (coldDirectory === undefined) return
  if (typeof coldDirectory === 'string' && coldDirectory !== '') return
  throw new InvalidArgumentError('coldDirectory must be the path of a directory')
}
