/**
 * Checks every file of a database: of a closed one all that the directory holds, of an open one
 * what it consisted of when the check began. Changes nothing.
 *
 * What is looked at, besides table-check.ts for each table: CURRENT, each edit of the MANIFEST and
 * that they fit each other, that tables are there and levels do not overlap, each frame of the log
 * and that the log is whole as far as anything promised.
 */
import { CorruptionError } from '../errors.ts'
import { backupNumbers, readBackupSync } from './backup-files.ts'
import { type ColdLocation, checkColdLocationSync, type KnownOfCold } from './cold-location.ts'
import { CURRENT_FILE_NAME, formatFileName, parseFileName } from './file-names.ts'
import { type File, joinPath } from './file-system.ts'
import { type Finding, FindingList } from './finding.ts'
import { addProgress, beginProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { type ReadManifest, readManifestStateSync, stateOf } from './manifest.ts'
import type { JobEnvironment } from './run-job.ts'
import { checkTable } from './table-check.ts'
import type { LeveledTable } from './version-edit.ts'
import { type ScannedSegment, scanWalSegment } from './wal-check.ts'
import { replayWal } from './wal-replay.ts'

/** A file that is being appended to, as long as it was when the check began. */
export interface GrowingFile {
  readonly fileNumber: number
  readonly size: number
}

/** What an open database consists of at one moment. Its files must stay until the job ends. */
export interface LiveFiles {
  readonly databaseId: Uint8Array
  readonly manifest: GrowingFile
  readonly tables: readonly LeveledTable[]
  /** Oldest first. */
  readonly segments: readonly GrowingFile[]
}

export interface VerifyJob {
  readonly directory: string
  /** Undefined for a database that is closed. */
  readonly live: LiveFiles | undefined
  /** Of a closed one: its second directory, if it is known. */
  readonly cold?: ColdLocation | undefined
  readonly control: JobControl
}

export interface VerifyReport {
  /** No finding is damage. */
  readonly ok: boolean
  /** At most 1000, in the order in which they came; `findingsOmitted` were left out. */
  readonly findings: readonly Finding[]
  readonly findingsOmitted: number
  /** Findings that are damage, the omitted ones included. */
  readonly damages: number
  /** What was read. */
  readonly tables: number
  readonly blocks: number
  readonly entries: number
  readonly rangeTombstones: number
  readonly walSegments: number
  readonly walFrames: number
  readonly walEntries: number
  readonly bytes: number
}

/** Throws AbortedError, VersionMismatchError, or an error of the system that is no damage. */
export async function runVerifyJob(
  job: VerifyJob,
  environment: JobEnvironment,
): Promise<VerifyReport> {
  const verification = new Verification(job, environment)
  if (job.live === undefined) await verification.closed()
  else await verification.live(job.live)
  return verification.report()
}

interface SegmentCounts {
  segments: number
  frames: number
  entries: number
}

class Verification {
  readonly #job: VerifyJob
  readonly #environment: JobEnvironment
  readonly #findings = new FindingList()
  readonly #wal: SegmentCounts = { segments: 0, frames: 0, entries: 0 }
  #tables = 0
  #blocks = 0
  #entries = 0
  #rangeTombstones = 0

  constructor(job: VerifyJob, environment: JobEnvironment) {
    this.#job = job
    this.#environment = environment
  }

  report(): VerifyReport {
    const findings = this.#findings
    return {
      ok: findings.damages === 0,
      findings: findings.findings,
      findingsOmitted: findings.omitted,
      damages: findings.damages,
      tables: this.#tables,
      blocks: this.#blocks,
      entries: this.#entries,
      rangeTombstones: this.#rangeTombstones,
      walSegments: this.#wal.segments,
      walFrames: this.#wal.frames,
      walEntries: this.#wal.entries,
      bytes: this.#job.control.progress[0]!,
    }
  }

  async live({ databaseId, manifest, tables, segments }: LiveFiles): Promise<void> {
    this.#begin(tables, segments, manifest.size)
    this.#checkLiveManifest(manifest, tables)
    this.#checkTables(tables)
    for (const { fileNumber, size } of segments) {
      const scanned = await this.#scan(fileNumber, size, databaseId)
      const path = this.#path('wal', fileNumber)
      for (const gap of scanned?.gaps ?? []) this.#findings.add({ ...gap, path, severity: DAMAGE })
    }
  }

  /** What the file says is what the database believes. */
  #checkLiveManifest({ fileNumber, size }: GrowingFile, tables: readonly LeveledTable[]): void {
    const path = this.#path('manifest', fileNumber)
    this.#withFile(path, file => {
      const bytes = new Uint8Array(size)
      const count = file.readSync(bytes, 0, size, 0)
      const { state, tornTail } = stateOf(bytes.subarray(0, count), path, fileNumber)
      addProgress(this.#job.control, size)
      if (tornTail !== undefined) {
        this.#findings.damage(path, tornTail.offset, 'an edit that was written is not whole')
      }
      const recorded = new Set<string>()
      for (const table of state.version.tables()) recorded.add(nameOf(table))
      for (const table of tables) {
        if (recorded.delete(nameOf(table))) continue
        this.#findings.damage(path, 0, `${nameOf(table)} is in use and not recorded`)
      }
      for (const name of recorded) this.#findings.damage(path, 0, `${name} is not in use`)
    })
  }

  async closed(): Promise<void> {
    const { fileSystem } = this.#environment
    const { directory } = this.#job
    const names = fileSystem.listSync(directory)
    const numbers = backupNumbers(names)
    if (numbers.length > 0) {
      this.#backups(numbers)
      return
    }
    let read: ReadManifest | undefined
    try {
      read = readManifestStateSync(fileSystem, directory)
    } catch (error) {
      this.#findings.addError(error, joinPath(directory, CURRENT_FILE_NAME))
      this.#checkCold({ features: 0, databaseId: undefined })
      return
    }
    if (read === undefined) {
      const isEmpty = names.every(name => {
        const kind = parseFileName(name)?.kind
        return kind !== 'table' && kind !== 'wal' && kind !== 'manifest'
      })
      const what = isEmpty ? 'there is no database in this directory' : 'CURRENT is missing'
      this.#findings.damage(joinPath(directory, CURRENT_FILE_NAME), 0, what)
      this.#checkCold({ features: 0, databaseId: undefined })
      return
    }
    const { state, fileNumber, tornTail } = read
    this.#checkCold(state)
    const tables = [...state.version.tables()]
    const segments = this.#segmentsOf(names, state.logNumber)
    this.#begin(tables, segments, 0)
    if (tornTail !== undefined) {
      const path = this.#path('manifest', fileNumber)
      this.#findings.notice(
        path,
        tornTail.offset,
        'the last edit is not whole: a crash cut it off, or damage; it counts as never made',
      )
    }
    this.#tellOrphans(names, read)
    this.#checkTables(tables)
    await this.#checkLog(read, segments)
  }

  #checkCold(known: KnownOfCold): void {
    const { directory, cold } = this.#job
    checkColdLocationSync(this.#environment.fileSystem, directory, known, cold, this.#findings)
  }

  /** A directory of backups: each of them, and each table once. */
  #backups(numbers: readonly number[]): void {
    const { fileSystem } = this.#environment
    const { directory } = this.#job
    const tables = new Map<string, LeveledTable>()
    for (const number of numbers) {
      try {
        const { snapshot } = readBackupSync(fileSystem, directory, number)
        for (const leveled of snapshot.added ?? []) {
          const { fileNumber, fileChecksum } = leveled.table
          tables.set(`${fileNumber} ${fileChecksum}`, leveled)
        }
      } catch (error) {
        this.#findings.addError(error, joinPath(directory, formatFileName('backup', number)))
      }
    }
    this.#begin([...tables.values()], [], 0)
    this.#checkTables([...tables.values()])
  }

  #segmentsOf(names: readonly string[], logNumber: number): GrowingFile[] {
    const segments: GrowingFile[] = []
    for (const name of names) {
      const parsed = parseFileName(name)
      if (parsed?.kind !== 'wal' || parsed.fileNumber < logNumber) continue
      const { fileNumber } = parsed
      this.#withFile(this.#path('wal', fileNumber), file => {
        segments.push({ fileNumber, size: file.sizeSync() })
      })
    }
    return segments.sort((a, b) => a.fileNumber - b.fileNumber)
  }

  /** Recovery's own verdict first; when that is damage, all other places that are. */
  async #checkLog({ state }: ReadManifest, segments: readonly GrowingFile[]): Promise<void> {
    const { fileSystem, hasher } = this.#environment
    const { directory } = this.#job
    const { databaseId, logNumber, closedWal } = state
    const fileNumbers = segments.map(segment => segment.fileNumber)
    const scans: [GrowingFile, ScannedSegment | undefined][] = []
    for (const segment of segments) {
      scans.push([segment, await this.#scan(segment.fileNumber, segment.size, databaseId)])
    }
    try {
      const options = { fileSystem, directory, databaseId, hasher, fileNumbers, logNumber }
      const { tornTail } = await replayWal({ ...options, closed: closedWal }, { op: () => false })
      if (tornTail === undefined) return
      const { path, offset, length } = tornTail
      this.#findings.notice(path, offset, `a torn tail of ${length} bytes: never acknowledged`)
    } catch (error) {
      this.#findings.addError(error, directory)
      const { path, offset } = error instanceof CorruptionError ? error : NOWHERE
      for (const [{ fileNumber }, scanned] of scans) {
        for (const gap of scanned?.gaps ?? []) {
          const place = this.#path('wal', fileNumber)
          if (place === path && gap.offset === offset) continue
          this.#findings.add({ ...gap, path: place, severity: DAMAGE })
        }
      }
    }
  }

  async #scan(
    fileNumber: number,
    size: number,
    databaseId: Uint8Array,
  ): Promise<ScannedSegment | undefined> {
    const { fileSystem, hasher } = this.#environment
    const { control } = this.#job
    const path = this.#path('wal', fileNumber)
    let file: File
    try {
      file = fileSystem.openSync(path)
    } catch (error) {
      this.#findings.addError(error, path)
      return undefined
    }
    try {
      const onFrame = () => throwIfCancelled(control)
      const options = { file, fileNumber, size, databaseId, hasher, onFrame }
      const scanned = await scanWalSegment(options)
      this.#wal.segments++
      this.#wal.frames += scanned.frames
      this.#wal.entries += scanned.entries
      return scanned
    } catch (error) {
      this.#findings.addError(error, path)
      return undefined
    } finally {
      addProgress(control, size)
      file.closeSync()
    }
  }

  #checkTables(tables: readonly LeveledTable[]): void {
    const { hasher } = this.#environment
    const { control } = this.#job
    const parts = { hasher, control, findings: this.#findings }
    for (const { table } of tables) {
      throwIfCancelled(control)
      this.#withFile(this.#path('table', table.fileNumber), file => {
        const checked = checkTable(file, table, parts)
        this.#tables++
        this.#blocks += checked.blocks
        this.#entries += checked.entries
        this.#rangeTombstones += checked.rangeTombstones
      })
    }
  }

  #tellOrphans(names: readonly string[], { state, fileNumber: inForce }: ReadManifest): void {
    const tables = new Set<number>()
    for (const { table } of state.version.tables()) tables.add(table.fileNumber)
    for (const name of names) {
      const parsed = parseFileName(name)
      if (parsed === undefined) continue
      const { kind, fileNumber } = parsed
      const isOrphan =
        kind === 'temporary' ||
        (kind === 'table' && !tables.has(fileNumber)) ||
        (kind === 'wal' && fileNumber < state.logNumber) ||
        (kind === 'manifest' && fileNumber !== inForce)
      if (!isOrphan) continue
      const path = joinPath(this.#job.directory, name)
      const unless = kind === 'wal' ? ', unless it is asked to keep the log (holdWalFrom)' : ''
      const what = `is not part of the database; the next open removes it${unless}`
      this.#findings.notice(path, 0, what)
    }
  }

  #begin(
    tables: readonly LeveledTable[],
    segments: readonly GrowingFile[],
    otherBytes: number,
  ): void {
    const tableBytes = tables.reduce((sum, { table }) => sum + table.size, 0)
    const walBytes = segments.reduce((sum, segment) => sum + segment.size, 0)
    beginProgress(this.#job.control, tableBytes + walBytes + otherBytes)
  }

  /** What goes wrong with the file is a finding. */
  #withFile(path: string, work: (file: File) => void): void {
    try {
      const file = this.#environment.fileSystem.openSync(path)
      try {
        work(file)
      } finally {
        file.closeSync()
      }
    } catch (error) {
      this.#findings.addError(error, path)
    }
  }

  #path(kind: 'table' | 'wal' | 'manifest', fileNumber: number): string {
    return joinPath(this.#job.directory, formatFileName(kind, fileNumber))
  }
}

const DAMAGE = 'damage'
const NOWHERE = { path: '', offset: -1 }

function nameOf({ level, table }: LeveledTable): string {
  return `table ${table.fileNumber} of level ${level}`
}
