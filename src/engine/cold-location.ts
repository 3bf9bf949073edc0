/**
 * Where the second directory of a closed database is, also when COLD is damaged or gone: whoever
 * checks or repairs must not take a directory that it cannot find for one that is not there.
 *
 * Invariant: a location's OWNER was read, and names the database that the location names; where it
 * is damaged, COLD does.
 */
import { equalBytes } from '../bytes.ts'
import { InvalidArgumentError, NotFoundError } from '../errors.ts'
import { lookAtColdOwnerSync, lookAtColdPointerSync, readColdOwnerSync } from './cold-files.ts'
import { foreignColdDirectory, requireOutside, requireOwned } from './cold-tier.ts'
import { COLD_FILE_NAME, OWNER_FILE_NAME } from './file-names.ts'
import { type FileSystem, joinPath } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { Feature } from './version-edit.ts'

/** Plain data, so that it crosses to a thread. */
export interface ColdLocation {
  /** Absolute. */
  readonly path: string
  /** As OWNER says, or COLD where that is damaged. */
  readonly databaseId: Uint8Array
}

/** What a caller says of the second directory. */
export interface ColdOptions {
  readonly coldDirectory?: string | undefined
  /** It is gone for good. */
  readonly coldDirectoryLost?: boolean | undefined
}

/**
 * The directory that the caller gives, or else the one that COLD names; undefined when nobody says
 * one, or when it is lost. A damaged OWNER is made up for by COLD. Throws NotFoundError,
 * InvalidArgumentError, and CorruptionError when neither says whose it is.
 */
export function findColdDirectorySync(
  fileSystem: FileSystem,
  directory: string,
  { coldDirectory: given, coldDirectoryLost = false }: ColdOptions,
): ColdLocation | undefined {
  if (coldDirectoryLost) return undefined
  const { pointer } = lookAtColdPointerSync(fileSystem, directory)
  const path = given === undefined ? pointer?.path : fileSystem.resolveSync(given)
  if (path === undefined) return undefined
  requireOutside(fileSystem, directory, path)
  const isOwnerDamaged = lookAtColdOwnerSync(fileSystem, path).damage !== undefined
  if (pointer !== undefined) {
    if (isOwnerDamaged) return { path, databaseId: pointer.databaseId }
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
  const owner = lookAtColdOwnerSync(fileSystem, cold.path)
  if (owner.damage !== undefined) {
    findings.addError(owner.damage, joinPath(cold.path, OWNER_FILE_NAME))
  }
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
  const { coldDirectory, coldDirectoryLost } = options as Record<string, unknown>
  if (coldDirectoryLost !== undefined && typeof coldDirectoryLost !== 'boolean') {
    throw new InvalidArgumentError('coldDirectoryLost must be true or false')
  }
  if (coldDirectory === undefined) return
  if (coldDirectoryLost === true) {
    throw new InvalidArgumentError(
      'the cold directory is either given (coldDirectory) or lost (coldDirectoryLost), not both',
    )
  }
  if (typeof coldDirectory === 'string' && coldDirectory !== '') return
  throw new InvalidArgumentError('coldDirectory must be the path of a directory')
}
