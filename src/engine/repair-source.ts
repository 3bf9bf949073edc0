/**
 * What a repair begins with: what can be known of a database whose MANIFEST may be damaged.
 *
 * The MANIFEST is trusted when it is whole, every file that it names is there, and it knows of a
 * second directory if tables are in one. Otherwise what is readable of it says which tables and
 * segments are no longer needed, and everything else in the directory counts.
 */
import { assert } from '../assert.ts'
import { equalBytes } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import type { ColdLocation } from './cold-location.ts'
import { readCurrentSync } from './current-file.ts'
import {
  CURRENT_FILE_NAME,
  formatFileName,
  type NumberedFileKind,
  parseFileName,
} from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { LAST_LEVEL } from './level-shape.ts'
import { stateOf } from './manifest.ts'
import { readManifestSync } from './manifest-files.ts'
import { salvageManifest } from './manifest-format.ts'
import { applyEdit, type ManifestState } from './manifest-state.ts'
import { showKey } from './table-salvage.ts'
import { Feature } from './version-edit.ts'
import { readWalHeaderSync } from './wal-check.ts'

export interface RepairSource {
  /** What the MANIFEST says, when it is trusted. */
  readonly state: ManifestState | undefined
  /** The MANIFEST that the state is from; 0 without one. */
  readonly manifestNumber: number
  /** Undefined when no file tells it. */
  readonly databaseId: Uint8Array | undefined
  /** Tables that the MANIFEST in force names and that are nowhere. */
  readonly missingTables: number
  /** What follows is of use without a state: a damaged MANIFEST says no less. */
  readonly removedTables: ReadonlySet<number>
  /** Bits of Feature that it has, or in any edit had. */
  readonly features: number
  /** Above every number that the MANIFEST knows of, so that none is used a second time. */
  readonly nextFileNumber: number
  readonly logNumber: number
  readonly lastSequence: number
  readonly wallMsMax: number
}

/** What the caller knows of the second directory. */
export interface SecondDirectory {
  readonly cold?: ColdLocation | undefined
  /** It is lost for good. */
  readonly isColdLost: boolean
}

export function readRepairSource(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[],
  cold: SecondDirectory,
  findings: FindingList,
): RepairSource {
  const manifests = numbersOf(names, 'manifest').sort((a, b) => b - a)
  const current = currentNumber(fileSystem, directory, findings)
  // The one in force; or, when nobody says which that is, the newest that can be trusted.
  const candidates = current === undefined ? manifests : [current]
  let missingTables = 0
  const parts = { fileSystem, directory, ...cold, findings }
  for (const manifestNumber of candidates) {
    const { state, missing } = trustedState(parts, manifestNumber)
    if (manifestNumber === candidates[0]) missingTables = missing
    if (state === undefined) continue
    const { databaseId, features, nextFileNumber, logNumber, lastSequence, wallMsMax } = state
    const removedTables = new Set<number>()
    return {
      state,
      manifestNumber,
      databaseId,
      missingTables: missing,
      features,
      removedTables,
      nextFileNumber,
      logNumber,
      lastSequence,
      wallMsMax,
    }
  }
  const known = knownOf(fileSystem, directory, current ?? manifests[0])
  const databaseId = known.databaseId ?? idOfLog(fileSystem, directory, names)
  return { ...known, databaseId, missingTables, state: undefined, manifestNumber: 0 }
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

interface TrustParts extends SecondDirectory {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly findings: FindingList
}

/** Without a state when it is not trusted; and how many of its tables are missing. */
function trustedState(
  { fileSystem, directory, cold, isColdLost, findings }: TrustParts,
  manifestNumber: number,
): { readonly state?: ManifestState; readonly missing: number } {
  const path = joinPath(directory, formatFileName('manifest', manifestNumber))
  try {
    const read = stateOf(readManifestSync(fileSystem, path), path, manifestNumber)
    const { tornTail } = read
    const names = new Set(fileSystem.listSync(directory))
    const { state, lost } = isColdLost
      ? withoutLost(directory, names, read.state, findings)
      : { state: read.state, lost: 0 }
    const missing = missingNames(directory, names, state, findings)
    const tables = missing.filter(name => parseFileName(name)?.kind === 'table').length
    if (missing.length > 0) return { missing: lost + tables }
    if (cold !== undefined && (state.features & Feature.coldDirectory) === 0) {
      if (numbersOf(fileSystem.listSync(cold.path), 'table').length > 0) {
        findings.damage(path, 0, `it does not know of the tables in ${cold.path}`)
        return { missing: 0 }
      }
    }
    if (tornTail === undefined || !isOvertaken(names, state)) return { state, missing: lost }
    findings.damage(path, tornTail.offset, 'the last edit is damaged, and it took effect')
  } catch (error) {
    findings.addError(error, path)
  }
  return { missing: 0 }
}

/**
 * The state without the tables of the last level that are not there: where the second directory is
 * lost, those were in it. Says of each what is lost with it.
 */
function withoutLost(
  directory: string,
  names: ReadonlySet<string>,
  state: ManifestState,
  findings: FindingList,
): { readonly state: ManifestState; readonly lost: number } {
  const removed: { readonly level: number; readonly fileNumber: number }[] = []
  for (const table of state.version.levels[LAST_LEVEL]!) {
    const name = formatFileName('table', table.fileNumber)
    if (names.has(name)) continue
    const { entryCount, smallestKey, largestKey } = table
    const span = `from ${showKey(smallestKey)} to ${showKey(largestKey)}`
    const what = `lost with the cold directory: ${entryCount} entries, of keys ${span}`
    findings.damage(joinPath(directory, name), 0, what)
    removed.push({ level: LAST_LEVEL, fileNumber: table.fileNumber })
  }
  const left = applyEdit(state, { removed })
  assert(typeof left !== 'string', `tables that are there can be taken out: ${left}`)
  return { state: left, lost: removed.length }
}

/** Which tables are not there, whatever their bytes say, or where the log begins. */
function missingNames(
  directory: string,
  names: ReadonlySet<string>,
  state: ManifestState,
  findings: FindingList,
): string[] {
  const { version, logNumber } = state
  const needed = [...version.tables()].map(({ table }) => formatFileName('table', table.fileNumber))
  if (logNumber > 0) needed.push(formatFileName('wal', logNumber))
  const missing = needed.filter(name => !names.has(name))
  for (const name of missing) {
    findings.damage(joinPath(directory, name), 0, 'a file of the database is missing')
  }
  return missing
}

/** Whether there are tables that only an edit behind the torn tail can have added. */
function isOvertaken(names: ReadonlySet<string>, state: ManifestState): boolean {
  const tables = new Set<number>()
  for (const { table } of state.version.tables()) tables.add(table.fileNumber)
  return numbersOf([...names], 'table').some(fileNumber => !tables.has(fileNumber))
}

type Known = Pick<
  RepairSource,
  | 'databaseId'
  | 'features'
  | 'removedTables'
  | 'nextFileNumber'
  | 'logNumber'
  | 'lastSequence'
  | 'wallMsMax'
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
  let features = 0
  if (!salvaged) return { databaseId: undefined, features, removedTables, ...counters }
  for (const edit of salvaged.edits) {
    for (const name of Object.keys(counters) as (keyof typeof counters)[]) {
      counters[name] = Math.max(counters[name], edit[name] ?? 0)
    }
    features |= edit.features ?? 0
    for (const { fileNumber } of edit.removed ?? []) removedTables.add(fileNumber)
    for (const { table } of edit.added ?? []) removedTables.delete(table.fileNumber)
  }
  return { databaseId: salvaged.databaseId, features, removedTables, ...counters }
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
    let file: File | undefined
    try {
      file = fileSystem.openSync(joinPath(directory, formatFileName('wal', fileNumber)))
      const other = readWalHeaderSync(file, fileNumber)?.databaseId
      if (id !== undefined && other !== undefined && !equalBytes(id, other)) return undefined
      id ??= other
    } catch (error) {
      // Something else has its name: it tells nothing, and is a finding once the log is read.
      if (!(error instanceof CorruptionError)) throw error
    } finally {
      file?.closeSync()
    }
  }
  return id
}
