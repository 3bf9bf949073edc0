/**
 * The file that makes a backup of the tables beside it: `BACKUP-<number>`. Its format is that of a
 * MANIFEST (manifest-format.ts) whose only edit is a snapshot without a log, sealed with its own
 * number and with the identity of the database that was backed up.
 */
import { CorruptionError } from '../errors.ts'
import { decodeManifest, encodeManifestFile } from './manifest-format.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { VersionEdit } from './version-edit.ts'

export interface DecodedBackup {
  readonly number: number
  readonly databaseId: Uint8Array
  readonly snapshot: VersionEdit
  readonly tables: readonly TableMetadata[]
  /** It holds every write up to this one. */
  readonly sequence: number
}

export function encodeBackup(
  databaseId: Uint8Array,
  number: number,
  snapshot: VersionEdit,
): Uint8Array {
  return encodeManifestFile(databaseId, number, snapshot).bytes
}

/** Throws CorruptionError, or VersionMismatchError. */
export function decodeBackup(bytes: Uint8Array, path: string, number: number): DecodedBackup {
  const { databaseId, edits, tornTail } = decodeManifest(bytes, path, number)
  const [snapshot, ...others] = edits
  if (snapshot === undefined || others.length > 0 || tornTail !== undefined) {
    throw new CorruptionError({ path, offset: 0 }, 'a backup is one edit, whole')
  }
  const tables = (snapshot.added ?? []).map(({ table }) => table)
  return { number, databaseId, snapshot, tables, sequence: snapshot.lastSequence ?? 0 }
}
