/**
 * Files of a database that nothing needs, as a crash leaves them behind, and their removal when the
 * database is opened.
 *
 * Invariant: what some MANIFEST that a power loss could put into force mentions is no orphan.
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { formatFileName, parseFileName } from './file-names.ts'
import { type FileSystem, joinPath } from './file-system.ts'
import type { Manifest } from './manifest.ts'
import { readManifestSync } from './manifest-files.ts'
import { decodeManifest } from './manifest-format.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import { numbersOf } from './repair-source.ts'
import type { WalSegments } from './wal-segments.ts'

export interface OrphanParts {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly manifest: Manifest
  readonly obsoleteFiles: ObsoleteFiles
}

/** Removes what no edit of the MANIFEST mentions any more. Requires that it is durable. */
export function removeOrphans(
  { fileSystem, directory, manifest, obsoleteFiles }: OrphanParts,
  walSegments: WalSegments,
): void {
  const tables = new Set<number>()
  for (const { table } of manifest.version.tables()) tables.add(table.fileNumber)
  for (const name of fileSystem.listSync(directory)) {
    const parsed = parseFileName(name)
    if (parsed === undefined) continue
    const { kind, fileNumber } = parsed
    const orphan =
      kind === 'temporary' ||
      (kind === 'table' && !tables.has(fileNumber)) ||
      (kind === 'wal' &&
        fileNumber < manifest.logNumber &&
        walSegments.complete(fileNumber) === undefined) ||
      (kind === 'manifest' && fileNumber !== manifest.fileNumber)
    if (orphan) obsoleteFiles.remove(name)
  }
}

/**
 * Removes, for the room that they take, what was never in force: outputs of work that did not come
 * to its end. That is safe also while it is not known whether the newest edits of the MANIFEST are
 * durable, and whether CURRENT is: no edit mentions them, the undone ones included.
 */
export function removeNeverUsed(parts: OrphanParts): void {
  const { fileSystem, directory, manifest, obsoleteFiles } = parts
  const names = fileSystem.listSync(directory)
  const tables = everMentioned(parts, names)
  for (const name of names) {
    const { kind, fileNumber = 0 } = parseFileName(name) ?? {}
    const isNeverUsed =
      kind === 'temporary' ||
      (kind === 'table' && tables?.has(fileNumber) === false) ||
      // CURRENT names the newest one that ever was in force.
      (kind === 'manifest' && fileNumber > manifest.fileNumber)
    if (isNeverUsed) obsoleteFiles.remove(name)
  }
}

/** Numbers of the tables in any edit; undefined when not all edits can be read. */
function everMentioned(
  { fileSystem, directory, manifest }: OrphanParts,
  names: readonly string[],
): Set<number> | undefined {
  const tables = new Set<number>()
  for (const fileNumber of numbersOf(names, 'manifest')) {
    if (fileNumber > manifest.fileNumber) continue
    const path = joinPath(directory, formatFileName('manifest', fileNumber))
    try {
      const { edits } = decodeManifest(readManifestSync(fileSystem, path), path, fileNumber)
      for (const { added = [] } of edits) {
        for (const { table } of added) tables.add(table.fileNumber)
      }
    } catch (error) {
      // A build that is older than this one may have begun with what this one cannot read.
      if (error instanceof CorruptionError || error instanceof VersionMismatchError) {
        return undefined
      }
      throw error
    }
  }
  return tables
}
