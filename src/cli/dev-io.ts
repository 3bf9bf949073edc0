/**
 * What `kvd dev` needs of the world besides what every kvd does: processes, files, ports.
 * node-dev-io.ts is the real one; tests bring their own.
 */
import type { DevFiles } from './dev-control.ts'

/** A node in a process of its own. Nothing is told before `spawnNode` has returned. */
export interface DevProcess {
  /** Undefined when it could not be started; then `onExit` says why. */
  readonly pid: number | undefined
  /** False when there is no such process, or no such signal. */
  kill(signal: string): boolean
  /** Each line of its output. */
  onLine(listener: (line: string) => void): void
  /** Once, when it is gone and its output was read: `code 0`, `SIGKILL`, or what went wrong. */
  onExit(listener: (how: string) => void): void
}

export interface DevIo {
  /** Of this process. */
  readonly pid: number
  readonly files: DevFiles
  /**
   * Starts this program once more with other arguments, out of reach of the terminal's signals;
   * it ends by itself when this process is gone.
   */
  spawnNode(args: readonly string[]): DevProcess
  /** True when nobody listens on that port of the loopback interface. */
  isPortFree(port: number): Promise<boolean>
  isAlive(pid: number): boolean
  /** A new secret, in hexadecimal. */
  createSecret(): string
}
