/**
 * Every entry that the tables of a database hold, those included that no reader sees: read from the
 * files, so nothing that the engine believes comes in between.
 */
import type { FileSystem } from '../../src/engine/file-system.ts'
import { LevelCursor } from '../../src/engine/level-cursor.ts'
import { Manifest } from '../../src/engine/manifest.ts'
import { ObsoleteFiles } from '../../src/engine/obsolete-files.ts'
import { ReadAheadSource } from '../../src/engine/read-ahead-source.ts'
import type { Hasher } from '../../src/hash.ts'
import { silentLogger } from '../../src/logger.ts'
import { entriesAhead, type ModelEntry } from './table-model.ts'

export function storedEntries(
  fileSystem: FileSystem,
  directory: string,
  hasher: Hasher,
): ModelEntry[] {
  const obsoleteFiles = new ObsoleteFiles(fileSystem, directory, silentLogger)
  const verifyLock = () => undefined
  const manifest = Manifest.recover({ fileSystem, directory, obsoleteFiles, hasher, verifyLock })
  const source = new ReadAheadSource(fileSystem, directory, hasher)
  try {
    return [...(manifest?.version.tables() ?? [])].flatMap(({ table }) => {
      const cursor = new LevelCursor([table], source)
      cursor.seekToFirst()
      return entriesAhead(cursor)
    })
  } finally {
    source.close()
  }
}
