/**
 * Names of the files in a database directory.
 *
 *   table     := number ".sst"              sorted table
 *   wal       := number ".wal"              write-ahead log segment
 *   manifest  := "MANIFEST-" number         log of version edits
 *   backup    := "BACKUP-" number           in the directory of backups: which tables make up one
 *   current   := "CURRENT"                  names the manifest in force
 *   cold      := "COLD"                     names the second directory, if there is one
 *   owner     := "OWNER"                    in the second directory: whose tables are there
 *   lock      := "LOCK"                     held by the process that has the directory open
 *   temporary := anything ".tmp"            never holds live data; removed on open
 *   number    := decimal, at least six digits, more only without leading zeros, 1 to 2^53 - 1
 *
 * All numbered files draw from one counter, so a number is used once in a directory's life.
 *
 * Invariant: parseFileName(formatFileName(kind, number)) gives kind and number back, and every
 * other spelling parses to undefined, so a file of somebody else is never taken for ours.
 */
import { assert } from '../assert.ts'

export type NumberedFileKind = 'table' | 'wal' | 'manifest' | 'backup'
export type FileKind = NumberedFileKind | 'current' | 'cold' | 'owner' | 'lock' | 'temporary'

export interface FileName {
  readonly kind: FileKind
  /** 0 for the kinds without a number. */
  readonly fileNumber: number
}

export const CURRENT_FILE_NAME = 'CURRENT'
export const COLD_FILE_NAME = 'COLD'
export const OWNER_FILE_NAME = 'OWNER'
export const LOCK_FILE_NAME = 'LOCK'
export const TEMPORARY_SUFFIX = '.tmp'

const NUMBER_DIGITS_MIN = 6
const NUMBERED = /^(?:(\d{6,16})\.(sst|wal)|(MANIFEST|BACKUP)-(\d{6,16}))$/

const KINDS: Readonly<Record<string, NumberedFileKind>> = {
  sst: 'table',
  wal: 'wal',
  MANIFEST: 'manifest',
  BACKUP: 'backup',
}

/** The name of a numbered file. Requires a file number from 1. */
export function formatFileName(kind: NumberedFileKind, fileNumber: number): string {
  assert(Number.isSafeInteger(fileNumber) && fileNumber >= 1, 'file numbers start at 1')
  const digits = String(fileNumber).padStart(NUMBER_DIGITS_MIN, '0')
  switch (kind) {
    case 'table':
      return `${digits}.sst`
    case 'wal':
      return `${digits}.wal`
    case 'manifest':
      return `MANIFEST-${digits}`
    case 'backup':
      return `BACKUP-${digits}`
  }
}

/** What the file named `name` is, or undefined when the name is not one of ours. */
export function parseFileName(name: string): FileName | undefined {
  if (name === CURRENT_FILE_NAME) return { kind: 'current', fileNumber: 0 }
  if (name === COLD_FILE_NAME) return { kind: 'cold', fileNumber: 0 }
  if (name === OWNER_FILE_NAME) return { kind: 'owner', fileNumber: 0 }
  if (name === LOCK_FILE_NAME) return { kind: 'lock', fileNumber: 0 }
  if (name.endsWith(TEMPORARY_SUFFIX)) return { kind: 'temporary', fileNumber: 0 }
  const match = NUMBERED.exec(name)
  if (match === null) return undefined
  const [, tableOrLog, extension, word, other] = match
  const fileNumber = Number(tableOrLog ?? other)
  if (!Number.isSafeInteger(fileNumber) || fileNumber < 1) return undefined
  const kind = word === undefined ? KINDS[extension!]! : KINDS[word]!
  return formatFileName(kind, fileNumber) === name ? { kind, fileNumber } : undefined
}
