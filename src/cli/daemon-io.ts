/**
 * The world around kvd: arguments, environment, output, signals, the end of the process.
 * node-daemon-io.ts is the real one; tests bring their own.
 */
import type { Clock } from '../clock.ts'
import type { Environment } from './settings.ts'

export interface DaemonOutput {
  write(text: string): void
  readonly isTTY: boolean
}

export interface DaemonIo {
  /** What stands behind the program's name. */
  readonly argv: readonly string[]
  readonly env: Environment
  readonly stdout: DaemonOutput
  readonly stderr: DaemonOutput
  readonly clock: Clock
  readonly packageVersion: string
  /** The absolute form of a path, as the current directory has it. */
  absolutePath(path: string): string
  /** The content of a file. Throws IoError that names it. */
  readText(path: string): string
  /** Tells one state of a file from any other; '' when there is none. */
  stampOf(path: string): string
  /** Puts a file that its owner alone may read in the place of what is there. Throws IoError. */
  replaceFile(path: string, text: string): void
  /** A line that is typed and not shown, or the first of stdin. */
  readSecret(prompt: string): Promise<string>
  /** The soft limit of open files; undefined when there is none, or the system does not tell. */
  openFilesLimit(): number | undefined
  /** The process that started this one, or that took it over when that one was gone. */
  parentId(): number
  /** Calls back at every signal that asks the process to stop. */
  onStopSignal(listener: (signal: string) => void): void
  /**
   * Calls back at an error that nobody caught: what the process knows may be wrong from then on.
   */
  onUncaught(listener: (error: unknown) => void): void
  /** Ends the process now. */
  exit(code: number): void
}
