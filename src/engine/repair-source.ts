/**
 * What a repair begins with: what can be known of a database whose MANIFEST may be damaged.
 *
 * The MANIFEST is trusted when it is whole and every file that it names is there. Otherwise what
 * is readable of it says which tables and segments are no longer needed, and everything else in
 * the directory counts.
 */
import { equalBytes } from '../bytes.ts'
import { readCurrentSync } from './current-file.ts'
import {
  CURRENT_FILE_NAME,
  formatFileName,
  type NumberedFileKind,
  parseFileName,
} from './file-names.ts'
import { type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { stateOf } from './manifest.ts'
import { readManifestSync } from './manifest-files.ts'
import { salvageManifest } from './manifest-format.ts'
import type { ManifestState } from './manifest-state.ts'
import { readWalHeaderSync } from './wal-check.ts'

export interface RepairSource {
  /** What the MANIFEST says, when it is trusted. */
  readonly state: ManifestState | undefined
  /** The MANIFEST that the state is from; 0 without one. */
  readonly manifestNumber: number
  /** Undefined when no file tells it. */
  readonly databaseId: Uint8Array | undefined
  /** What follows is of use without a state: a damaged MANIFEST says no less. */
  readonly removedTables: ReadonlySet<number>
  /** Above every number that the MANIFEST knows of, so that none is used a second time. */
  readonly nextFileNumber: number
  readonly logNumber: number
  readonly lastSequence: number
  readonly wallMsMax: number
}

export function readRepairSource(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[],
  findings: FindingList,
): RepairSource {
  const manifests = numbersOf(names, 'manifest').sort((a, b) => b - a)
  const current = currentNumber(fileSystem, directory, findings)
  // The one in force; or, when nobody says which that is, the newest that can be trusted.
  for (const manifestNumber of current === undefined ? manifests : [current]) {
    const state = trustedState(fileSystem, directory, manifestNumber, findings)
    if (state === undefined) continue
    const { databaseId, nextFileNumber, logNumber, lastSequence, wallMsMax } = state
    const removedTables = new Set<number>()
    return {
      state,
      manifestNumber,
      databaseId,
      removedTables,
      nextFileNumber,
      logNumber,
      lastSequence,
      wallMsMax,
    }
  }
  const known = knownOf(fileSystem, directory, current ?? manifests[0])
  const databaseId = known.databaseId ?? idOfLog(fileSystem, directory, names)
  return { ...known, databaseId, state: undefined, manifestNumber: 0 }
}

export function numbersOf(names: readonly string[], kind: NumberedFileKind): number[] {
  const numbers: number[] = []
  for (const name of names) {
    const parsed = parseFileName(name)
    if (parsed?.kind === kind) numbers.push(parsed.fileNumber)
  }
  return numbers
}

function currentNumber(
  fileSystem: FileSystem,
  directory: string,
  findings: FindingList,
): number | undefined {
  const path = joinPath(directory, CURRENT_FILE_NAME)
  try {
    const current = readCurrentSync(fileSystem, directory)
    if (current === undefined) findings.damage(path, 0, 'CURRENT is missing')
    return current
  } catch (error) {
    findings.addError(error, path)
    return undefined
  }
}

function trustedState(
  fileSystem: FileSystem,
  directory: string,
  manifestNumber: number,
  findings: FindingList,
): ManifestState | undefined {
  const path = joinPath(directory, formatFileName('manifest', manifestNumber))
  try {
    const { state, tornTail } = stateOf(readManifestSync(fileSystem, path), path, manifestNumber)
    const names = new Set(fileSystem.listSync(directory))
    if (!areAllThere(directory, names, state, findings)) return undefined
    if (tornTail === undefined || !isOvertaken(names, state)) return state
    findings.damage(path, tornTail.offset, 'the last edit is damaged, and it took effect')
    return undefined
  } catch (error) {
    findings.addError(error, path)
    return undefined
  }
}

/** Whether each table is there, whatever its bytes say, and where the log begins. */
function areAllThere(
  directory: string,
  names: ReadonlySet<string>,
  state: ManifestState,
  findings: FindingList,
): boolean {
  let areThere = true
  const { version, logNumber } = state
  const needed = [...version.tables()].map(({ table }) => formatFileName('table', table.fileNumber))
  if (logNumber > 0) needed.push(formatFileName('wal', logNumber))
  for (const name of needed) {
    if (names.has(name)) continue
    findings.damage(joinPath(directory, name), 0, 'a file of the database is missing')
    areThere = false
  }
  return areThere
}

/** Whether there are tables that only an edit behind the torn tail can have added. */
function isOvertaken(names: ReadonlySet<string>, state: ManifestState): boolean {
  const tables = new Set<number>()
  for (const { table } of state.version.tables()) tables.add(table.fileNumber)
  return numbersOf([...names], 'table').some(fileNumber => !tables.has(fileNumber))
}

type Known = Pick<
  RepairSource,
  'databaseId' | 'removedTables' | 'nextFileNumber' | 'logNumber' | 'lastSequence' | 'wallMsMax'
>

/** What of a damaged MANIFEST can be read. */
function knownOf(
  fileSystem: FileSystem,
  directory: string,
  manifestNumber: number | undefined,
): Known {
  const removedTables = new Set<number>()
  const counters = { nextFileNumber: 1, logNumber: 0, lastSequence: 0, wallMsMax: 0 }
  const salvaged = manifestNumber && salvageAt(fileSystem, directory, manifestNumber)
  if (!salvaged) return { databaseId: undefined, removedTables, ...counters }
  for (const edit of salvaged.edits) {
    for (const name of Object.keys(counters) as (keyof typeof counters)[]) {
      counters[name] = Math.max(counters[name], edit[name] ?? 0)
    }
    for (const { fileNumber } of edit.removed ?? []) removedTables.add(fileNumber)
    for (const { table } of edit.added ?? []) removedTables.delete(table.fileNumber)
  }
  return { databaseId: salvaged.databaseId, removedTables, ...counters }
}

function salvageAt(fileSystem: FileSystem, directory: string, manifestNumber: number) {
  const path = joinPath(directory, formatFileName('manifest', manifestNumber))
  try {
    return salvageManifest(readManifestSync(fileSystem, path), path, manifestNumber)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'KV_CORRUPTION' || code === 'KV_IO' || code === 'EIO') return undefined
    throw error
  }
}

/** The identity that the segments of the log bear, if they agree. */
function idOfLog(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[],
): Uint8Array | undefined {
  let id: Uint8Array | undefined
  for (const fileNumber of numbersOf(names, 'wal')) {
    const file = fileSystem.openSync(joinPath(directory, formatFileName('wal', fileNumber)))
    try {
      const other = readWalHeaderSync(file, fileNumber)?.databaseId
      if (id !== undefined && other !== undefined && !equalBytes(id, other)) return undefined
      id ??= other
    } finally {
      file.closeSync()
    }
  }
  return id
}
