/**
 * The world around kvcli: arguments, environment, the three standard streams, signals, files, time
 * and chance. node-cli-io.ts is the real one; tests bring streams of their own.
 */
import type { Readable, Writable } from 'node:stream'
import type { Clock } from '../clock.ts'
import type { Readmission } from '../cluster/index.ts'
import type {
  BackupOptions,
  BackupResult,
  dumpFile,
  repairDirectory,
  restoreBackup,
  verifyDirectory,
} from '../engine/index.ts'
import type { Random } from '../random.ts'

/** Ctrl-C, `kill`, and the terminal that is closed. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
export type StopSignal = (typeof STOP_SIGNALS)[number]

export interface CliInput extends Readable {
  readonly isTTY?: boolean
  /** Terminals only: every key at once, Ctrl-C included. */
  setRawMode?(raw: boolean): unknown
}

export interface CliOutput extends Writable {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

export interface CliIo {
  /** What stands behind the program's name. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: CliInput
  readonly stdout: CliOutput
  readonly stderr: CliOutput
  readonly files: CliFiles
  /** What works on the files of databases. */
  readonly databaseFiles: DatabaseFiles
  readonly clock: Clock
  readonly random: Random
  /** The version of this package and of Node.js. */
  readonly version: { readonly package: string; readonly node: string }
  /** Where state of the user's programs is kept, or undefined when there is no home directory. */
  readonly stateDirectory: string | undefined
  /** Where the user's settings of programs are kept, or undefined likewise. */
  readonly configDirectory: string | undefined
  /** True when there is a process with this id. */
  isAlive(pid: number): boolean
  /** Calls back at each signal that asks to stop, until the returned function is called. */
  onInterrupt(listener: (signal: StopSignal) => void): () => void
}

/** Work on the files of a database that is closed, as the engine offers it. */
export interface DatabaseFiles {
  readonly verify: typeof verifyDirectory
  readonly repair: typeof repairDirectory
  readonly dump: typeof dumpFile
  readonly restore: typeof restoreBackup
  /** Opens the database in `directory` for the time that it takes. */
  backup(directory: string, target: string, options: BackupOptions): Promise<BackupResult>
  /** Takes a member's directory back that its cluster refused as an old copy. */
  readmit(directory: string): Promise<Readmission>
}

/** A file, or standard input, read front to back. */
export interface InputSource {
  /** Bytes of the file, and when it last changed; undefined for a pipe. */
  readonly size: number | undefined
  readonly modifiedMs: number | undefined
  /** The content, decompressed. */
  readonly chunks: AsyncIterable<Uint8Array>
  /** Bytes of the file taken so far, as `size` counts them. */
  consumed(): number
  close(): void
}

/** A file that takes its name only when it is complete. */
export interface OutputTarget {
  write(bytes: Uint8Array): Promise<void>
  /** Makes the content durable and gives the file its name. */
  finish(): Promise<void>
  /** Removes what was written. Idempotent, and harmless after finish. */
  discard(): Promise<void>
}

export interface AppendOptions {
  /** Empties the file first. @defaultValue false */
  readonly replace?: boolean
  /** Stands in front when the file is empty. @defaultValue nothing */
  readonly head?: Uint8Array
}

/** Errors are IoErrors that name the path, NotFoundErrors for what does not exist. */
export interface CliFiles {
  /** Opens a file from byte `offset` of its (decompressed) content; `.gz` is decompressed. */
  openInput(path: string, offset: number): Promise<InputSource>
  /**
   * Creates `path.partial`, renamed to `path` at the end; compressed when the name ends in .gz.
   * What is there and no file (a pipe, a device) is written to as it is. A file that is there is a
   * RefusedError unless it is to be replaced.
   */
  createOutput(path: string, options?: { readonly replace?: boolean }): Promise<OutputTarget>
  readBytes(path: string): Promise<Uint8Array>
  /** Undefined when the file does not exist. */
  readText(path: string): Promise<string | undefined>
  /** Replaces the file as a whole or not at all; creates its directory. */
  writeText(path: string, text: string): Promise<void>
  /** Creates the file and its directory when missing. */
  append(path: string, content: string | Uint8Array, options?: AppendOptions): Promise<void>
  /** Names in a directory, those of directories with '/' behind them; none when it is not one. */
  list(directory: string): Promise<readonly string[]>
  /** Harmless when the file does not exist. */
  remove(path: string): Promise<void>
}
