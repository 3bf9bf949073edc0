/**
 * Where the log goes on after a recovery: the segment that is begun, and the edit that makes tables
 * take the place of what was replayed. At opening (recovery.ts), or once there is room for it
 * (late-recovery.ts).
 *
 * Invariants:
 *  1. The new segment exists, durably, before the MANIFEST says that the log begins there.
 *  2. Nothing is removed but the file that this process made: a segment that bears the number
 *     already is another one's, and may hold what that one has acknowledged.
 */
import type { ExpiryClock } from './expiry-clock.ts'
import { formatFileName } from './file-names.ts'
import type { FileSystem } from './file-system.ts'
import type { Manifest } from './manifest.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import type { ResolvedDbOptions } from './options.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { VersionEdit } from './version-edit.ts'
import { paddingFor, prepareSegment, WalWriter } from './wal-writer.ts'

/** Where the log goes on. */
export interface LogStart {
  /** Of the segment, which is empty or not there yet. */
  readonly fileNumber: number
  /** The largest sequence in use. */
  readonly sequence: number
  /** The newest segment that was replayed, 0 for none. */
  readonly previous: number
}

export interface LogParts {
  readonly directory: string
  readonly options: ResolvedDbOptions
  readonly fileSystem: FileSystem
  readonly manifest: Manifest
  readonly obsoleteFiles: ObsoleteFiles
}

/** The edit that makes the tables, which hold all that was replayed, take the place of the log. */
export function logEdit(
  { expiry }: { readonly expiry: ExpiryClock },
  { fileNumber, sequence }: LogStart,
  tables: readonly TableMetadata[],
): VersionEdit {
  return {
    logNumber: fileNumber,
    lastSequence: sequence,
    wallMsMax: Math.floor(expiry.nowMs),
    added: tables.map(table => ({ level: 0, table })),
  }
}

/**
 * Begins the segment and then has it recorded; takes it back when either fails, so that both may be
 * tried again after a shortage (io-failure.ts).
 */
export async function beginLog(
  parts: LogParts,
  { fileNumber, sequence, previous }: LogStart,
  record: () => Promise<unknown>,
): Promise<WalWriter> {
  const { directory, fileSystem, manifest, obsoleteFiles, options } = parts
  // At once: the next try uses the name again.
  const takeBack = (name: string) => obsoleteFiles.takeBack(name)
  obsoleteFiles.clear(formatFileName('wal', fileNumber))
  const segment = await prepareSegment(fileSystem, directory, fileNumber, takeBack)
  let wal: WalWriter | undefined
  try {
    wal = await WalWriter.begin(segment, {
      databaseId: manifest.databaseId,
      firstSequence: sequence + 1,
      // Named, so that its loss is noticed, but nothing is promised of its length.
      previous,
      paddingSize: paddingFor(options.memtableSize),
    })
    await record()
    return wal
  } catch (error) {
    wal?.close()
    // Else nobody knows whether it is recorded.
    if (manifest.failure === undefined) takeBack(formatFileName('wal', fileNumber))
    throw error
  }
}
