/** What recovery looks at in the directory besides the MANIFEST's edits. Changes nothing. */

import { CorruptionError } from '../errors.ts'
import { readColdPointerSync } from './cold-files.ts'
import { COLD_FILE_NAME, CURRENT_FILE_NAME, formatFileName, parseFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { salvageManifest } from './manifest-format.ts'
import type { ManifestState } from './manifest-state.ts'
import { shortRead } from './short-read.ts'
import type { Version } from './version.ts'
import { Feature } from './version-edit.ts'
import { WAL_HEADER_SIZE } from './wal-format.ts'

/** The largest number of any file of ours in the directory, 0 for none. */
export function largestFileNumberSync(fileSystem: FileSystem, directory: string): number {
  let largest = 0
  for (const name of fileSystem.listSync(directory)) {
    largest = Math.max(largest, parseFileName(name)?.fileNumber ?? 0)
  }
  return largest
}

/**
 * Throws when data is there though CURRENT is not. A crash while the database was being created
 * leaves at most a MANIFEST and a WAL segment without frames. Where COLD is gone, too, only a
 * MANIFEST may tell of tables: all of them can be in the second directory.
 */
export function expectNoDataSync(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[] = fileSystem.listSync(directory),
): void {
  for (const name of names) {
    const { kind, fileNumber = 0 } = parseFileName(name) ?? {}
    const path = joinPath(directory, name)
    if (kind !== 'table' && kind !== 'wal' && kind !== 'manifest') continue
    if (kind === 'wal' && sizeOf(fileSystem, path) <= WAL_HEADER_SIZE) continue
    if (kind === 'manifest' && !tellsOfColdTables(fileSystem, path, fileNumber)) continue
    throw new CorruptionError(
      { path: joinPath(directory, CURRENT_FILE_NAME), offset: 0 },
      `CURRENT is missing, although ${name} holds or names data; a repair writes it anew`,
    )
  }
}

/** Whether the MANIFEST, as far as it can be read, is of a database with a second directory. */
function tellsOfColdTables(fileSystem: FileSystem, path: string, fileNumber: number): boolean {
  const edits = salvageManifest(readManifestSync(fileSystem, path), path, fileNumber)?.edits ?? []
  const { features = 0 } = edits.findLast(edit => edit.features !== undefined) ?? {}
  return (features & Feature.coldDirectory) !== 0
}

/** Throws when tables are in a second directory and nothing says where that is. */
export function checkColdPointerSync(
  fileSystem: FileSystem,
  directory: string,
  { features }: ManifestState,
): void {
  if ((features & Feature.coldDirectory) === 0) return
  if (readColdPointerSync(fileSystem, directory) !== undefined) return
  throw new CorruptionError(
    { path: joinPath(directory, COLD_FILE_NAME), offset: 0 },
    'COLD is missing, although tables of the database are in a second directory',
  )
}

/** Throws unless every table of the version exists and has the size that was recorded. */
export function checkTablesSync(fileSystem: FileSystem, directory: string, version: Version): void {
  for (const { table } of version.tables()) {
    const path = joinPath(directory, formatFileName('table', table.fileNumber))
    const expected = `${table.size} bytes`
    let size: number
    try {
      size = sizeOf(fileSystem, path)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
      const place = { path, offset: 0, expected }
      throw new CorruptionError(place, 'a table of the database is missing', { cause: error })
    }
    if (size === table.size) continue
    throw new CorruptionError(
      { path, offset: Math.min(size, table.size), expected, actual: `${size} bytes` },
      'a table has another size than when it was written',
    )
  }
}

function sizeOf(fileSystem: FileSystem, path: string): number {
  const file = fileSystem.openSync(path)
  try {
    return file.sizeSync()
  } finally {
    file.closeSync()
  }
}

/** All bytes of the MANIFEST that CURRENT names. */
export function readManifestSync(fileSystem: FileSystem, path: string): Uint8Array {
  let file: File
  try {
    file = fileSystem.openSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    const what = 'the MANIFEST that CURRENT names is missing'
    throw new CorruptionError({ path, offset: 0 }, what, { cause: error })
  }
  try {
    const bytes = new Uint8Array(file.sizeSync())
    const length = file.readSync(bytes, 0, bytes.length, 0)
    if (length === bytes.length) return bytes
    throw shortRead(file, 0, bytes.length, length, 'the file has become shorter')
  } finally {
    file.closeSync()
  }
}
