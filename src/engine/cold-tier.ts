/**
 * The second directory of a database, for the tables of its last level: takes and checks it when
 * the database is opened, and says where tables are and belong.
 *
 * Order, so that no table is ever in a directory that nobody knows of:
 *   OWNER durable -> COLD durable -> feature in the MANIFEST -> first table there
 *   last table gone -> feature out of the MANIFEST -> COLD gone -> OWNER gone
 *
 * Invariants:
 *  1. The directory is locked while the database is open, and its OWNER names this database, also
 *     by its directory: what is a copy of it is told apart by that (cold-claim.ts).
 *  2. Which tables are there is known from its list of names at opening and from finished jobs.
 *  3. Tables are there only while the MANIFEST has the feature: else nothing is done to them.
 */
import { equalBytes } from '../bytes.ts'
import { CorruptionError, InvalidArgumentError, NotFoundError } from '../errors.ts'
import { refuseRivalSync } from './cold-claim.ts'
import {
  type ColdPointer,
  isOwnedSync,
  lookAtColdPointerSync,
  readColdOwnerSync,
  removeIfExistsSync,
  writeColdOwnerSync,
  writeColdPointerSync,
} from './cold-files.ts'
import { COLD_FILE_NAME, OWNER_FILE_NAME, parseFileName } from './file-names.ts'
import {
  type DirectoryLock,
  type FileSystem,
  isWithin,
  joinPath,
  systemErrorCode,
} from './file-system.ts'
import { LAST_LEVEL } from './level-shape.ts'
import type { Manifest } from './manifest.ts'
import { numbersOf } from './repair-source.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'
import { Feature } from './version-edit.ts'

export class ColdTier {
  readonly path: string
  /** Whether tables go there; else they come back. */
  readonly isWanted: boolean
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #lock: DirectoryLock
  readonly #numbers: Set<number>

  private constructor(
    fileSystem: FileSystem,
    directory: string,
    path: string,
    isWanted: boolean,
    lock: DirectoryLock,
  ) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.path = path
    this.isWanted = isWanted
    this.#lock = lock
    this.#numbers = new Set(numbersOf(fileSystem.listSync(path), 'table'))
  }

  /**
   * Takes the directory that the database has, or is to have; undefined when there is none.
   * `wanted` as the option; a directory with an OWNER makes up for a damaged COLD. Throws
   * NotFoundError, InvalidArgumentError, LockedError, CorruptionError.
   */
  static open(
    fileSystem: FileSystem,
    directory: string,
    wanted: string | null | undefined,
  ): ColdTier | undefined {
    const { pointer, damage } = lookAtColdPointerSync(fileSystem, directory)
    const given = typeof wanted === 'string' ? fileSystem.resolveSync(wanted) : undefined
    if (damage !== undefined) {
      if (given === undefined || readColdOwnerSync(fileSystem, given) === undefined) throw damage
    }
    const path = given ?? pointer?.path
    if (path === undefined) return undefined
    requireOutside(fileSystem, directory, path)
    if (pointer === undefined) fileSystem.makeDirectorySync(path)
    else {
      requireOwned(fileSystem, path, pointer.path, pointer.databaseId)
      if (path !== pointer.path) requireWhole(fileSystem, path, pointer)
    }
    const lock = fileSystem.lockSync(path)
    try {
      if (pointer === undefined) requireUnused(fileSystem, directory, path)
      return new ColdTier(fileSystem, directory, path, wanted !== null, lock)
    } catch (error) {
      lock.releaseSync()
      throw error
    }
  }

  /**
   * Throws InvalidArgumentError unless the directory is the database's own, or nobody's, and
   * CorruptionError when it holds tables and the MANIFEST knows of no second directory: to it they
   * would be orphans. Call it before anything is removed.
   */
  check({ databaseId, state }: Manifest): void {
    const ids = [
      lookAtColdPointerSync(this.#fileSystem, this.#directory).pointer?.databaseId,
      readColdOwnerSync(this.#fileSystem, this.path)?.databaseId,
    ]
    for (const id of ids) {
      if (id !== undefined && !equalBytes(id, databaseId)) throw foreignColdDirectory(this.path)
    }
    refuseRivalSync(this.#fileSystem, this.#directory, this.path)
    if (this.#numbers.size === 0 || (state.features & Feature.coldDirectory) !== 0) return
    throw new CorruptionError(
      { path: joinPath(this.path, OWNER_FILE_NAME), offset: 0 },
      'tables of the database are here, and its MANIFEST knows of no second directory; ' +
        'a repair with this coldDirectory puts them together',
    )
  }

  /** Throws LockedError when the directory is no longer this process's. */
  verifyLock(): void {
    this.#lock.verifySync()
  }

  release(): void {
    this.#lock.releaseSync()
  }

  /** Whether a table of the last level is not where it should be. */
  isMisplaced({ fileNumber }: TableMetadata): boolean {
    return this.#numbers.has(fileNumber) !== this.isWanted
  }

  /** Bytes of the version's tables that are in the directory. */
  bytesOf({ levels }: Version): number {
    let bytes = 0
    for (const { fileNumber, size } of levels[LAST_LEVEL]!) {
      if (this.#numbers.has(fileNumber)) bytes += size
    }
    return bytes
  }

  /** Takes note of tables that a job put there. */
  added(tables: readonly TableMetadata[]): void {
    for (const { fileNumber } of tables) this.#numbers.add(fileNumber)
  }

  removed(fileNumber: number): void {
    this.#numbers.delete(fileNumber)
  }

  /**
   * Writes down that the directory belongs to the database, or lets go of it when it is not wanted
   * and nothing is in it. Call it once the MANIFEST is durable and orphans are gone.
   */
  async settle(manifest: Manifest): Promise<void> {
    const { databaseId, state } = manifest
    const features = state.features & ~Feature.coldDirectory
    if (!this.isWanted && this.#numbers.size === 0) {
      // No table may come back after the feature has gone.
      this.#fileSystem.syncDirectorySync(this.path)
      if (features !== state.features) await manifest.append({ features })
      removeIfExistsSync(this.#fileSystem, joinPath(this.#directory, COLD_FILE_NAME))
      this.#fileSystem.syncDirectorySync(this.#directory)
      removeIfExistsSync(this.#fileSystem, joinPath(this.path, OWNER_FILE_NAME))
      return
    }
    const { pointer } = lookAtColdPointerSync(this.#fileSystem, this.#directory)
    const owner = readColdOwnerSync(this.#fileSystem, this.path)
    const home = this.#fileSystem.resolveSync(this.#directory)
    if (owner?.home !== home) {
      writeColdOwnerSync(this.#fileSystem, this.path, { home, databaseId })
    }
    if (pointer?.path !== this.path) {
      writeColdPointerSync(this.#fileSystem, this.#directory, { path: this.path, databaseId })
    }
    if (features === state.features) {
      await manifest.append({ features: features | Feature.coldDirectory })
    }
  }
}

/** Throws InvalidArgumentError when one of the two directories is in the other. */
export function requireOutside(fileSystem: FileSystem, directory: string, path: string): void {
  const own = fileSystem.resolveSync(directory)
  if (!isWithin(path, own) && !isWithin(own, path)) return
  throw new InvalidArgumentError(
    `coldDirectory must lie outside of the database's own directory, got ${path}`,
  )
}

/**
 * Throws unless the directory is there and holds the tables of the database: CorruptionError when
 * only OWNER does not say so.
 */
export function requireOwned(
  fileSystem: FileSystem,
  path: string,
  recordedPath: string,
  databaseId: Uint8Array,
): void {
  if (isOwnedSync(fileSystem, path, databaseId)) return
  if (path !== recordedPath && isOwnedSync(fileSystem, recordedPath, databaseId)) {
    throw elsewhere(path, recordedPath)
  }
  if (readColdOwnerSync(fileSystem, path) !== undefined) throw foreignColdDirectory(path)
  if (holdsTablesOnly(fileSystem, path)) {
    throw new CorruptionError(
      { path: joinPath(path, OWNER_FILE_NAME), offset: 0 },
      'OWNER is missing beside the tables; a repair of the database writes it anew ' +
        '(kvcli debug repair)',
    )
  }
  throw new NotFoundError(
    `${path}, where the database keeps tables of its last level, is missing or empty: mount it, ` +
      'or give its new place as coldDirectory; when it is lost for good, give up what was there ' +
      'with: kvcli debug repair --cold-directory-lost',
  )
}

/** Throws InvalidArgumentError while the recorded directory has tables that `path` lacks. */
function requireWhole(
  fileSystem: FileSystem,
  path: string,
  { path: recordedPath, databaseId }: ColdPointer,
): void {
  const there = tablesIfOwned(fileSystem, recordedPath, databaseId)
  const here = new Set(fileSystem.listSync(path))
  if (there.some(name => !here.has(name))) throw elsewhere(path, recordedPath)
}

/** Names of the tables there; none where that cannot be read, or is not the database's any more. */
function tablesIfOwned(fileSystem: FileSystem, path: string, databaseId: Uint8Array): string[] {
  try {
    if (!isOwnedSync(fileSystem, path, databaseId)) return []
    return fileSystem.listSync(path).filter(name => parseFileName(name)?.kind === 'table')
  } catch (error) {
    if (error instanceof CorruptionError || systemErrorCode(error) !== undefined) return []
    throw error
  }
}

function elsewhere(path: string, recordedPath: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `the database keeps tables in ${recordedPath}: move that directory to ${path} while the ` +
      'database is closed, or open it with coldDirectory null until they have come back',
  )
}

/** Whether tables are there, and nothing that makes it a database or backups of its own. */
export function holdsTablesOnly(fileSystem: FileSystem, path: string): boolean {
  let names: string[]
  try {
    names = fileSystem.listSync(path)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    return false
  }
  const kinds = new Set(names.map(name => parseFileName(name)?.kind))
  if (!kinds.has('table')) return false
  return !(['current', 'manifest', 'wal', 'backup'] as const).some(kind => kinds.has(kind))
}

/** A directory that is not the database's yet must hold nothing of another one. */
function requireUnused(fileSystem: FileSystem, directory: string, path: string): void {
  if (readColdOwnerSync(fileSystem, path) !== undefined) {
    // Whose it is, the MANIFEST tells (see check), and that CURRENT is gone, the recovery. A
    // database that is yet to be made has no tables.
    const kinds = fileSystem.listSync(directory).map(name => parseFileName(name)?.kind)
    if (kinds.includes('current') || kinds.includes('manifest')) return
    throw foreignColdDirectory(path)
  }
  const name = fileSystem.listSync(path).find(other => {
    const kind = parseFileName(other)?.kind
    return kind !== undefined && kind !== 'lock' && kind !== 'temporary'
  })
  if (name === undefined) return
  throw new InvalidArgumentError(
    `${path} cannot be the cold directory, it holds ${name}: choose an empty one; if those are ` +
      'tables of this database, a repair takes them (kvcli debug repair --cold-directory <path>)',
  )
}

export function foreignColdDirectory(path: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `${path} holds tables of another database: choose another coldDirectory`,
  )
}
