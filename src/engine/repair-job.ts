/**
 * Repair: makes a database that opens out of the files of one that does not, with everything that
 * can still be read, and says what cannot.
 *
 *   MANIFEST trusted (repair-source.ts)      tables stay where they are; a damaged one is replaced
 *                                            by one with its whole blocks (table-salvage.ts); a log
 *                                            that recovery accepts stays, of another every whole
 *                                            frame becomes a table of level 0
 *   not trusted                              every table and segment in the directory counts, and
 *                                            the newest version of each key goes to the last level
 *
 * Invariants:
 *  1. No file that was there is changed. What is not needed any more is moved to `lost/<n>/`; it is
 *     there, durably, before CURRENT names the new MANIFEST, so a crash loses nothing either.
 *  2. Nothing is invented: every entry stood behind a checksum that holds.
 *  3. Tables in a second directory that nobody can name, or that are not in the one that is there,
 *     are not taken for lost, unless the caller says that they are: nothing is done. It may be an
 *     old copy, and once the right one is back those tables would be removed from it as orphans.
 *  4. What is sound is not touched: repairing a database that is whole changes nothing.
 */
import { CorruptionError, NotFoundError } from '../errors.ts'
import { type ColdLocation, checkColdLocationSync, requireColdLocation } from './cold-location.ts'
import { formatFileName, parseFileName } from './file-names.ts'
import { type File, joinPath } from './file-system.ts'
import { type Finding, FindingList } from './finding.ts'
import type { TableOptions } from './job.ts'
import { LogTables } from './log-tables.ts'
import { addProgress, beginProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { largestFileNumberSync } from './manifest-files.ts'
import { largerKey } from './range-fragment.ts'
import { formLevel, mergedCountMax, mergeTables } from './repair-merge.ts'
import { publishRepair } from './repair-publication.ts'
import { numbersOf, type RepairSource, readRepairSource } from './repair-source.ts'
import type { JobEnvironment } from './run-job.ts'
import { checkTable } from './table-check.ts'
import type { TableMetadata } from './table-metadata.ts'
import { readTableMetadata } from './table-metadata-reader.ts'
import { type SalvageParts, salvageTable } from './table-salvage.ts'
import { Feature, LEVEL_COUNT, type LeveledTable } from './version-edit.ts'
import { readWalHeaderSync, scanWalSegment } from './wal-check.ts'
import { replayWal } from './wal-replay.ts'

/** How new tables are written; compaction rewrites them as the options of the database say. */
const TABLE_OPTIONS: TableOptions = { blockSize: 4096, filterBitsPerKey: 10 }

export interface RepairJob {
  readonly directory: string
  /** The identity of the database if no file tells it. */
  readonly databaseId: Uint8Array
  /** Its second directory, if it is known. */
  readonly cold?: ColdLocation | undefined
  /** It is lost for good: what was there is given up. */
  readonly isColdLost: boolean
  readonly control: JobControl
}

export interface RepairReport {
  /** False when all was sound, and nothing was changed. */
  readonly changed: boolean
  /** Whether the MANIFEST could be used, or the database was put together from its tables. */
  readonly manifest: 'kept' | 'rebuilt'
  /** What is damaged, lost or left out, in the order in which it was met; at most 1000. */
  readonly findings: readonly Finding[]
  readonly findingsOmitted: number
  /** Tables that were whole; of which some blocks, or all, were saved; of which nothing was. */
  readonly tablesWhole: number
  readonly tablesSalvaged: number
  readonly tablesLost: number
  readonly blocksSalvaged: number
  /** Stretches of tables that are lost. */
  readonly blocksLost: number
  /** Entries that were taken from a damaged log, and the stretches of it that are lost. */
  readonly logEntries: number
  readonly logGaps: number
  /** Where the originals are; undefined when there are none. */
  readonly lostDirectory: string | undefined
  readonly movedFiles: readonly string[]
}

/**
 * Throws NotFoundError, InvalidArgumentError, AbortedError, VersionMismatchError, or an error of
 * the system that is no damage.
 */
export async function runRepairJob(
  job: RepairJob,
  environment: JobEnvironment,
): Promise<RepairReport> {
  return await new Repair(job, environment).run()
}

class Repair {
  readonly #job: RepairJob
  readonly #environment: JobEnvironment
  readonly #findings = new FindingList()
  readonly #names: readonly string[]
  readonly #source: RepairSource
  readonly #salvageParts: SalvageParts
  #nextFileNumber: number
  /** Tables that this repair wrote: removed when it fails, or where a merge took their entries. */
  readonly #written: number[] = []
  #tablesWhole = 0
  #tablesSalvaged = 0
  #tablesLost = 0
  #blocksSalvaged = 0
  #blocksLost = 0
  #logEntries = 0
  #logGaps = 0
  #logLastSequence = 0

  constructor(job: RepairJob, environment: JobEnvironment) {
    const { fileSystem, hasher } = environment
    const { directory, control, cold, isColdLost } = job
    this.#job = job
    this.#environment = environment
    this.#names = fileSystem.listSync(directory)
    if (!this.#names.some(name => (parseFileName(name)?.fileNumber ?? 0) > 0)) {
      throw new NotFoundError(`there is no database in ${directory}: check the path`)
    }
    this.#source = readRepairSource(fileSystem, directory, this.#names, job, this.#findings)
    const { features, state, missingTables } = this.#source
    checkColdLocationSync(fileSystem, directory, this.#source, cold, this.#findings)
    if (cold === undefined && !isColdLost) {
      requireColdLocation(fileSystem, directory, features, state !== undefined)
    }
    if (missingTables > 0 && cold !== undefined && !isColdLost) {
      throw new NotFoundError(
        `${missingTables} tables of the database are neither in ${directory} nor in ${cold.path}:` +
          ' give the directory that has them, as when this one is an old copy, or say that they ' +
          'are lost for good (coldDirectoryLost beside coldDirectory, kvcli debug repair ' +
          `--cold-directory ${cold.path} --cold-directory-lost)`,
      )
    }
    this.#tablesLost = missingTables
    const unused = largestFileNumberSync(fileSystem, directory) + 1
    this.#nextFileNumber = Math.max(this.#source.nextFileNumber, unused)
    this.#salvageParts = {
      fileSystem,
      directory,
      hasher,
      findings: this.#findings,
      control,
      tableOptions: TABLE_OPTIONS,
      newFileNumber: () => this.#newTable(),
    }
  }

  async run(): Promise<RepairReport> {
    try {
      return this.#source.state === undefined ? await this.#rebuild() : await this.#mend()
    } catch (error) {
      for (const fileNumber of this.#written) this.#removeTable(fileNumber)
      throw error
    }
  }

  /** With a MANIFEST that can be trusted. */
  async #mend(): Promise<RepairReport> {
    const state = this.#source.state!
    const before = [...state.version.tables()]
    this.#begin(before.map(({ table }) => table.fileNumber))
    const tables: LeveledTable[] = []
    for (const { level, table } of before) {
      const kept = this.#saveTable(table.fileNumber, table)
      if (kept !== undefined) tables.push({ level, table: kept })
    }
    const isLogSound = await this.#isLogSound()
    if (!isLogSound) {
      const fromLog = await this.#saveLog(tables.map(({ table }) => table))
      tables.push(...fromLog.map(table => ({ level: 0, table })))
    }
    const { features, isColdLost, cold } = { ...this.#source, ...this.#job }
    const isWhole = !isColdLost || cold !== undefined || (features & Feature.coldDirectory) === 0
    const isSound = isWhole && isLogSound && this.#written.length === 0 && this.#tablesLost === 0
    if (isSound && this.#findings.damages === 0) return this.#report(undefined, [])
    return this.#publish(tables, isLogSound)
  }

  /** From the tables and segments alone. */
  async #rebuild(): Promise<RepairReport> {
    const { removedTables } = this.#source
    const numbers = numbersOf(this.#names, 'table').filter(number => !removedTables.has(number))
    this.#begin([...numbers, ...numbers])
    const tables: TableMetadata[] = []
    for (const fileNumber of numbers.sort((a, b) => a - b)) {
      const kept = this.#saveTable(fileNumber, undefined)
      if (kept !== undefined) tables.push(kept)
    }
    tables.push(...(await this.#saveLog(tables)))
    const level = LEVEL_COUNT - 1
    const merged = this.#merge(tables)
    return this.#publish(
      merged.map(table => ({ level, table })),
      false,
    )
  }

  #merge(tables: readonly TableMetadata[]): readonly TableMetadata[] {
    if (formLevel(tables)) return tables
    const { directory, control } = this.#job
    const fileNumberCount = mergedCountMax(tables)
    const firstFileNumber = this.#nextFileNumber
    this.#nextFileNumber += fileNumberCount
    for (let offset = 0; offset < fileNumberCount; offset++) {
      this.#written.push(firstFileNumber + offset)
    }
    const merge = {
      directory,
      control,
      tableOptions: TABLE_OPTIONS,
      firstFileNumber,
      fileNumberCount,
    }
    const outputs = mergeTables(tables, merge, this.#environment)
    // What this repair wrote on the way is no original.
    for (const { fileNumber } of tables) {
      if (!this.#written.includes(fileNumber)) continue
      this.#removeTable(fileNumber)
    }
    return outputs
  }

  /** The table itself when it is whole, a new one with what is whole of it, or undefined. */
  #saveTable(fileNumber: number, recorded: TableMetadata | undefined): TableMetadata | undefined {
    const { control } = this.#job
    const path = this.#path('table', fileNumber)
    throwIfCancelled(control)
    const whole = this.#wholeTable(path, fileNumber, recorded)
    if (whole !== undefined) {
      this.#tablesWhole++
      return whole
    }
    const file = this.#openIfFile(path)
    if (file === undefined) {
      this.#tablesLost++
      return undefined
    }
    try {
      const { table, blocks, lostBlocks } = salvageTable(file, fileNumber, this.#salvageParts)
      this.#blocksSalvaged += blocks
      this.#blocksLost += lostBlocks
      if (table === undefined) this.#tablesLost++
      else this.#tablesSalvaged++
      return table
    } finally {
      file.closeSync()
    }
  }

  #wholeTable(
    path: string,
    fileNumber: number,
    recorded: TableMetadata | undefined,
  ): TableMetadata | undefined {
    const { fileSystem, hasher } = this.#environment
    const { control } = this.#job
    const findings = new FindingList()
    let file: File | undefined
    try {
      file = fileSystem.openSync(path)
      const metadata = recorded ?? readTableMetadata(file, fileNumber, hasher, control)
      checkTable(file, metadata, { hasher, control, findings })
      if (findings.damages === 0) return metadata
      // What is damaged is said in more detail while it is salvaged.
      const [first] = findings.findings
      if (first !== undefined) this.#findings.add(first)
    } catch (error) {
      this.#findings.addError(error, path)
    } finally {
      file?.closeSync()
    }
    return undefined
  }

  async #isLogSound(): Promise<boolean> {
    const { fileSystem, hasher } = this.#environment
    const { directory } = this.#job
    const { databaseId, logNumber, closedWal } = this.#source.state!
    const fileNumbers = this.#segments()
    const options = { fileSystem, directory, databaseId, hasher, fileNumbers, logNumber }
    try {
      await replayWal({ ...options, closed: closedWal }, { op: () => false })
      return true
    } catch (error) {
      this.#findings.addError(error, directory)
      return false
    }
  }

  #segments(): number[] {
    const { logNumber } = this.#source
    return numbersOf(this.#names, 'wal')
      .filter(fileNumber => fileNumber >= logNumber)
      .sort((a, b) => a - b)
  }

  /** Every whole frame of the log as tables, oldest first. */
  async #saveLog(tables: readonly TableMetadata[]): Promise<readonly TableMetadata[]> {
    let largestKey: Uint8Array | undefined
    for (const table of tables) largestKey = largerKey(largestKey, table.largestKey)
    const { directory } = this.#job
    const newFileNumber = () => this.#newTable()
    const parts = { directory, tableOptions: TABLE_OPTIONS, newFileNumber, largestKey }
    const log = new LogTables(parts, this.#environment)
    for (const fileNumber of this.#segments()) await this.#saveSegment(fileNumber, log)
    return log.finish()
  }

  async #saveSegment(fileNumber: number, log: LogTables): Promise<void> {
    const { fileSystem, hasher } = this.#environment
    const { control, databaseId: fallbackId } = this.#job
    const path = this.#path('wal', fileNumber)
    let file: File | undefined
    try {
      file = fileSystem.openSync(path)
      const size = file.sizeSync()
      const header = readWalHeaderSync(file, fileNumber)
      // An empty one is the next segment, which a crash left before its first byte.
      if (size === 0) return
      if (header === undefined) this.#findings.damage(path, 0, 'the header is damaged')
      const databaseId = this.#source.databaseId ?? header?.databaseId ?? fallbackId
      const onFrame = () => throwIfCancelled(control)
      const after = this.#logLastSequence
      const scan = { file, fileNumber, size, databaseId, hasher, onFrame, after }
      const { entries, gaps, lastSequence } = await scanWalSegment(scan, log)
      this.#logEntries += entries
      this.#logLastSequence = Math.max(after, lastSequence)
      for (const { what, offset, length } of gaps) {
        this.#logGaps++
        this.#findings.damage(path, offset, `${what}: ${length} bytes are lost`)
      }
    } catch (error) {
      this.#findings.addError(error, path)
      if (file === undefined) this.#logGaps++
    } finally {
      addProgress(control, file?.sizeSync() ?? 0)
      file?.closeSync()
    }
  }

  #publish(tables: readonly LeveledTable[], keepsLog: boolean): RepairReport {
    const { fileSystem } = this.#environment
    const { directory, control, databaseId: fallbackId, cold } = this.#job
    const { state, databaseId = fallbackId, wallMsMax } = this.#source
    throwIfCancelled(control)
    const manifestNumber = this.#nextFileNumber++
    let lastSequence = Math.max(this.#source.lastSequence, this.#logLastSequence)
    for (const { table } of tables) lastSequence = Math.max(lastSequence, table.largestSequence)
    const moved = publishRepair(fileSystem, directory, {
      names: this.#names,
      databaseId,
      manifestNumber,
      coldDirectory: cold?.path,
      snapshot: {
        features: cold === undefined ? 0 : Feature.coldDirectory,
        databaseId,
        nextFileNumber: this.#nextFileNumber,
        lastSequence,
        logNumber: keepsLog ? (state?.logNumber ?? 0) : 0,
        wallMsMax,
        closedWal: keepsLog ? state?.closedWal : undefined,
        added: tables,
      },
    })
    return this.#report(moved.directory, moved.names)
  }

  #report(lostDirectory: string | undefined, movedFiles: readonly string[]): RepairReport {
    return {
      changed: lostDirectory !== undefined,
      manifest: this.#source.state === undefined ? 'rebuilt' : 'kept',
      findings: this.#findings.findings,
      findingsOmitted: this.#findings.omitted,
      tablesWhole: this.#tablesWhole,
      tablesSalvaged: this.#tablesSalvaged,
      tablesLost: this.#tablesLost,
      blocksSalvaged: this.#blocksSalvaged,
      blocksLost: this.#blocksLost,
      logEntries: this.#logEntries,
      logGaps: this.#logGaps,
      lostDirectory,
      movedFiles,
    }
  }

  #begin(tableNumbers: readonly number[]): void {
    let totalBytes = 0
    const paths = tableNumbers.map(fileNumber => this.#path('table', fileNumber))
    for (const fileNumber of this.#segments()) paths.push(this.#path('wal', fileNumber))
    for (const path of paths) {
      const file = this.#openIfFile(path)
      totalBytes += file?.sizeSync() ?? 0
      file?.closeSync()
    }
    beginProgress(this.#job.control, totalBytes)
  }

  /** Undefined when the name stands for something else, of which nothing can be saved. */
  #openIfFile(path: string): File | undefined {
    try {
      return this.#environment.fileSystem.openSync(path)
    } catch (error) {
      if (error instanceof CorruptionError) return undefined
      throw error
    }
  }

  #newTable(): number {
    this.#written.push(this.#nextFileNumber)
    return this.#nextFileNumber++
  }

  #removeTable(fileNumber: number): void {
    const name = formatFileName('table', fileNumber)
    const { fileSystem } = this.#environment
    const { directory } = this.#job
    if (!fileSystem.listSync(directory).includes(name)) return
    fileSystem.removeSync(joinPath(directory, name))
  }

  #path(kind: 'table' | 'wal', fileNumber: number): string {
    return joinPath(this.#job.directory, formatFileName(kind, fileNumber))
  }
}
