/**
 * The MANIFEST: which tables and logs make up the database, as a log of version edits. Format in
 * manifest-format.ts, the pointer to the file in force in current-file.ts.
 *
 * Law of order, here and in whoever calls append():
 *   tables synced -> their directory synced -> edit synced -> visible -> old files gone
 *
 * Invariants:
 *  1. One writer: edits are appended one after another, each durable before the next is written.
 *  2. A file that recovery read is never appended to. The first edit after opening starts a fresh
 *     file with a snapshot of everything, and so does one after the file has grown fivefold; until
 *     then recovery has changed nothing on disk.
 *  3. After a failed write or sync of the file in force, or once it is unknown which file is in
 *     force, every append fails with that first error; but see 4.
 *  4. When there was no room for an edit, the file in force may end with it, or a part of it.
 *     Nothing is written to that file any more: the next edit starts a fresh one, without the edit
 *     that was refused. Until that is in force, recovery may find the edit or not, and both are
 *     right: its tables stay as well as whatever it took out.
 *  5. File numbers given out lie above every number on disk and in the MANIFEST.
 */
import { assert } from '../assert.ts'
import { CorruptionError, toError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { prepareCurrent, readCurrentSync, replaceCurrent } from './current-file.ts'
import { formatFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { isShortage } from './io-failure.ts'
import {
  checkColdPointerSync,
  checkTablesSync,
  expectNoDataSync,
  largestFileNumberSync,
  readManifestSync,
} from './manifest-files.ts'
import {
  decodeManifest,
  encodeManifestFileInSlices,
  encodeManifestFrame,
  type ManifestTornTail,
} from './manifest-format.ts'
import {
  applyEdit,
  emptyManifestState,
  type ManifestState,
  snapshotEdit,
} from './manifest-state.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import type { Version } from './version.ts'
import type { ClosedWal, VersionEdit } from './version-edit.ts'

/** A file is replaced by a fresh one when it is this many times as large as its snapshot was. */
const GROWTH_MAX = 5
/** But not below this many bytes. */
const ROTATION_SIZE_MIN = 1024 * 1024

export interface ManifestParts {
  readonly fileSystem: FileSystem
  readonly directory: string
  /** Removes a file that is no longer in force. */
  readonly obsoleteFiles: ObsoleteFiles
  readonly hasher: Hasher
  /** Throws when this process no longer holds the directory. Called before each edit. */
  readonly verifyLock: () => void
  /** @defaultValue 1 MiB */
  readonly rotationSizeMin?: number
  /** `fileSystem` knows of the second directory. @defaultValue false */
  readonly isTiered?: boolean
}

/** The file that edits are appended to. */
interface OpenManifest {
  readonly file: File
  readonly fileNumber: number
  readonly seed: number
  readonly length: number
  readonly chain: number
  /** It is replaced when it is longer than this. */
  readonly lengthMax: number
}

export class Manifest {
  readonly #parts: ManifestParts
  /** What was torn when the file was read: an edit that nobody was told of. */
  readonly tornTail: ManifestTornTail | undefined
  #state: ManifestState
  #nextFileNumber: number
  /** The file in force; 0 before the first edit of a new database. */
  #fileNumber: number
  /** Undefined until the first edit. */
  #open: OpenManifest | undefined
  /** Settles, never rejecting, when the edits so far are done. */
  #last: Promise<void> = Promise.resolve()
  #failure: Error | undefined
  /** Names of the new tables of an edit that was refused (invariant 4); undefined without one. */
  #refusedTables: readonly string[] | undefined

  /** Use create() or recover(). */
  private constructor(
    parts: ManifestParts,
    state: ManifestState,
    fileNumber: number,
    tornTail: ManifestTornTail | undefined,
  ) {
    const { fileSystem, directory } = parts
    this.#parts = parts
    this.#state = state
    this.#fileNumber = fileNumber
    this.tornTail = tornTail
    this.#nextFileNumber = Math.max(
      state.nextFileNumber,
      largestFileNumberSync(fileSystem, directory) + 1,
    )
  }

  /** The MANIFEST of a new database. The first edit brings it into being. */
  static create(parts: ManifestParts, databaseId: Uint8Array): Manifest {
    return new Manifest(parts, emptyManifestState(databaseId), 0, undefined)
  }

  /**
   * Reads the MANIFEST in force, or returns undefined when the directory holds no database. Changes
   * nothing. Throws CorruptionError, also when a table is missing or has another size than it says.
   */
  static recover(parts: ManifestParts): Manifest | undefined {
    const { fileSystem, directory } = parts
    const read = readManifestStateSync(fileSystem, directory)
    if (read === undefined) {
      expectNoDataSync(fileSystem, directory)
      return undefined
    }
    const { state, fileNumber, tornTail } = read
    if (parts.isTiered !== true) checkColdPointerSync(fileSystem, directory, state)
    checkTablesSync(fileSystem, directory, state.version)
    return new Manifest(parts, state, fileNumber, tornTail)
  }

  get databaseId(): Uint8Array {
    return this.#state.databaseId
  }

  /** What the edits so far add up to. */
  get state(): ManifestState {
    return this.#state
  }

  get version(): Version {
    return this.#state.version
  }

  /** The oldest WAL segment that is still needed; 0 when none was ever recorded. */
  get logNumber(): number {
    return this.#state.logNumber
  }

  /** The largest sequence recorded; the WAL may hold larger ones. */
  get lastSequence(): number {
    return this.#state.lastSequence
  }

  /** The latest wall clock recorded, in milliseconds since the Unix epoch. */
  get wallMsMax(): number {
    return this.#state.wallMsMax
  }

  get closedWal(): ClosedWal | undefined {
    return this.#state.closedWal
  }

  /** The number of the MANIFEST in force; 0 before the first edit of a new database. */
  get fileNumber(): number {
    return this.#fileNumber
  }

  /** Bytes of the MANIFEST in force as far as this process wrote it. */
  get size(): number {
    return this.#open?.length ?? 0
  }

  /** The error that every further append gets. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** The first of `count` file numbers that are the caller's alone. */
  reserveFileNumbers(count: number): number {
    assert(Number.isSafeInteger(count) && count >= 1, 'at least one number is reserved')
    const first = this.#nextFileNumber
    this.#nextFileNumber += count
    return first
  }

  /**
   * Resolves with the new version once the edit is durable. The tables it adds must be durable
   * already, names included. Edits are applied in the order of the calls.
   *
   * Rejects as the system does. After a shortage (io-failure.ts), while `failure` is undefined,
   * nothing has changed, and another edit may be tried; the tables that this one was to add are
   * removed, now or when that is safe.
   */
  append(edit: VersionEdit): Promise<Version> {
    const appended = this.#last.then(() => this.#append(edit))
    this.#last = appended.then(ignore, ignore)
    return appended
  }

  /** Waits for the edits so far and closes the file. Idempotent; nothing may be appended after. */
  async close(): Promise<void> {
    await this.#last
    this.#open?.file.closeSync()
  }

  async #append(edit: VersionEdit): Promise<Version> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      this.#parts.verifyLock()
    } catch (error) {
      if (!isShortage(error)) throw this.#fail(error)
      this.#removeTables(this.#newTables(edit))
      throw error
    }
    const open = this.#open
    const isOver = this.#refusedTables !== undefined || (open && open.length > open.lengthMax)
    if (open === undefined || isOver) return this.#startFile(edit, open)
    return this.#appendTo(open, edit)
  }

  async #appendTo(open: OpenManifest, edit: VersionEdit): Promise<Version> {
    const complete = { ...edit, nextFileNumber: this.#nextFileNumber }
    const state = this.#stateAfter(complete)
    const { bytes, chain } = encodeManifestFrame(complete, open.seed, open.length, open.chain)
    try {
      await open.file.write(bytes, 0, bytes.length, open.length)
      await open.file.sync()
    } catch (error) {
      if (!isShortage(error)) throw this.#fail(error)
      this.#refusedTables = this.#newTables(edit)
      throw error
    }
    this.#open = { ...open, length: open.length + bytes.length, chain }
    this.#state = state
    return state.version
  }

  /** Writes everything, the edit included, to a fresh file and puts that in force. */
  async #startFile(edit: VersionEdit, old: OpenManifest | undefined): Promise<Version> {
    const { fileSystem, directory, obsoleteFiles } = this.#parts
    const fileNumber = this.reserveFileNumbers(1)
    const state = this.#stateAfter({ ...edit, nextFileNumber: this.#nextFileNumber })
    let written: OpenManifest | undefined
    let open: OpenManifest
    let prepared: string
    try {
      written = open = await this.#writeSnapshot(state, fileNumber)
      prepared = await prepareCurrent(fileSystem, directory, fileNumber)
    } catch (error) {
      written?.file.closeSync()
      // A name that is taken is another process's: the lock was lost, and looked at too early.
      const isOurs = written !== undefined || systemErrorCode(error) !== 'EEXIST'
      if (isOurs) obsoleteFiles.removeIfExists(formatFileName('manifest', fileNumber))
      if (old === undefined || this.#refusedTables !== undefined) {
        if (!isShortage(error)) throw this.#fail(error)
        this.#removeTables(this.#newTables(edit))
        throw error
      }
      // The old file is in force and intact: go on with it, and try again when it has grown.
      this.#open = { ...old, lengthMax: old.length * 2 }
      return this.#appendTo(this.#open, edit)
    }
    const replaced = this.#fileNumber
    try {
      await replaceCurrent(fileSystem, directory, prepared)
    } catch (error) {
      open.file.closeSync()
      throw this.#fail(error)
    }
    this.#open = open
    this.#fileNumber = fileNumber
    this.#state = state
    old?.file.closeSync()
    if (replaced !== 0) obsoleteFiles.remove(formatFileName('manifest', replaced))
    this.#removeTables(this.#refusedTables ?? [])
    this.#refusedTables = undefined
    return state.version
  }

  /** Names of the tables that the edit adds, but for those that only change their level. */
  #newTables({ added = [] }: VersionEdit): readonly string[] {
    const known = new Set(this.version.levels.flat().map(table => table.fileNumber))
    return added
      .filter(({ table }) => !known.has(table.fileNumber))
      .map(({ table }) => formatFileName('table', table.fileNumber))
  }

  #removeTables(names: readonly string[]): void {
    for (const name of names) this.#parts.obsoleteFiles.remove(name)
  }

  async #writeSnapshot(state: ManifestState, fileNumber: number): Promise<OpenManifest> {
    const { fileSystem, directory, rotationSizeMin = ROTATION_SIZE_MIN, hasher } = this.#parts
    const { databaseId } = state
    const snapshot = snapshotEdit(state)
    const encoded = encodeManifestFileInSlices(databaseId, fileNumber, snapshot, hasher)
    const { bytes, seed, chain } = await encoded
    const { length } = bytes
    const path = joinPath(directory, formatFileName('manifest', fileNumber))
    const file = await fileSystem.create(path)
    try {
      await file.write(bytes, 0, length, 0)
      await file.sync()
      await fileSystem.syncDirectory(directory)
    } catch (error) {
      file.closeSync()
      throw error
    }
    const lengthMax = Math.max(rotationSizeMin, GROWTH_MAX * length)
    return { file, fileNumber, seed, length, chain, lengthMax }
  }

  #stateAfter(edit: VersionEdit): ManifestState {
    const state = applyEdit(this.#state, edit)
    assert(typeof state !== 'string', `the edit fits what there is: ${state}`)
    return state
  }

  #fail(error: unknown): Error {
    this.#failure ??= toError(error)
    return this.#failure
  }
}

/** What the MANIFEST in force says. */
export interface ReadManifest {
  readonly state: ManifestState
  readonly fileNumber: number
  readonly tornTail: ManifestTornTail | undefined
}

/** Reads the MANIFEST that CURRENT names, or returns undefined when there is no CURRENT. */
export function readManifestStateSync(
  fileSystem: FileSystem,
  directory: string,
): ReadManifest | undefined {
  const fileNumber = readCurrentSync(fileSystem, directory)
  if (fileNumber === undefined) return undefined
  const path = joinPath(directory, formatFileName('manifest', fileNumber))
  return { ...stateOf(readManifestSync(fileSystem, path), path, fileNumber), fileNumber }
}

/** What the bytes of a MANIFEST add up to. Throws CorruptionError or VersionMismatchError. */
export function stateOf(
  bytes: Uint8Array,
  path: string,
  fileNumber: number,
): Omit<ReadManifest, 'fileNumber'> {
  const decoded = decodeManifest(bytes, path, fileNumber)
  let state = emptyManifestState(decoded.databaseId)
  for (const edit of decoded.edits) {
    const next = applyEdit(state, edit)
    if (typeof next === 'string') throw new CorruptionError({ path, offset: 0 }, next)
    state = next
  }
  return { state, tornTail: decoded.tornTail }
}

function ignore(): void {
  // The caller of append() has the error; the next edit looks at #failure.
}
