/**
 * What all edits of a MANIFEST add up to. Pure: manifest.ts reads and writes.
 *
 * Invariant: counters only rise, and every table has a number below nextFileNumber.
 */
import { equalBytes } from '../bytes.ts'
import { Version } from './version.ts'
import type { ClosedWal, VersionEdit } from './version-edit.ts'

export interface ManifestState {
  /** Bits of Feature. */
  readonly features: number
  readonly databaseId: Uint8Array
  readonly nextFileNumber: number
  readonly lastSequence: number
  readonly logNumber: number
  readonly wallMsMax: number
  readonly closedWal: ClosedWal | undefined
  readonly version: Version
}

export function emptyManifestState(databaseId: Uint8Array): ManifestState {
  return {
    features: 0,
    databaseId,
    nextFileNumber: 1,
    lastSequence: 0,
    logNumber: 0,
    wallMsMax: 0,
    closedWal: undefined,
    version: Version.empty(),
  }
}

/** The state after `edit`, or what is wrong with the edit. */
export function applyEdit(state: ManifestState, edit: VersionEdit): ManifestState | string {
  const { databaseId, logNumber = state.logNumber, added = [] } = edit
  if (databaseId !== undefined && !equalBytes(databaseId, state.databaseId)) {
    return 'an edit belongs to another database'
  }
  if (logNumber < state.logNumber) return `logNumber falls from ${state.logNumber} to ${logNumber}`
  const nextFileNumber = edit.nextFileNumber ?? state.nextFileNumber
  if (nextFileNumber < state.nextFileNumber) {
    return `nextFileNumber falls from ${state.nextFileNumber} to ${nextFileNumber}`
  }
  const closedWal = edit.closedWal ?? state.closedWal
  const version = state.version.tryApply(edit)
  if (typeof version === 'string') return version
  let lastSequence = Math.max(state.lastSequence, edit.lastSequence ?? 0)
  for (const { table } of added) {
    if (table.fileNumber >= nextFileNumber) return `table ${table.fileNumber} has no number of ours`
    lastSequence = Math.max(lastSequence, table.largestSequence)
  }
  return {
    features: edit.features ?? state.features,
    databaseId: state.databaseId,
    nextFileNumber,
    lastSequence,
    logNumber,
    wallMsMax: Math.max(state.wallMsMax, edit.wallMsMax ?? 0),
    // Of a segment that is no longer needed nobody asks how long it was.
    closedWal: closedWal !== undefined && closedWal.fileNumber >= logNumber ? closedWal : undefined,
    version,
  }
}

/** One edit that leads from nothing to the state. */
export function snapshotEdit(state: ManifestState): VersionEdit {
  return {
    features: state.features,
    databaseId: state.databaseId,
    nextFileNumber: state.nextFileNumber,
    lastSequence: state.lastSequence,
    logNumber: state.logNumber,
    wallMsMax: state.wallMsMax,
    closedWal: state.closedWal,
    added: [...state.version.tables()],
  }
}
