/** DaemonIo of this process: streams, signals and settings files, as kvd sees them. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemClock } from '../clock.ts'
import { IoError } from '../errors.ts'
import type { DaemonIo, DaemonOutput } from './daemon-io.ts'
import { softFileLimit } from './file-limit.ts'
import { packageVersion } from './package-version.ts'

/** Where Linux tells the limits of this process. */
const LIMITS_PATH = '/proc/self/limits'
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export function nodeDaemonIo(): DaemonIo {
  return {
    argv: process.argv.slice(2),
    env: process.env,
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    clock: systemClock(),
    packageVersion: packageVersion(),
    absolutePath: path => resolve(path),
    readText,
    openFilesLimit,
    parentId: () => process.ppid,
    onStopSignal(listener) {
      for (const signal of STOP_SIGNALS) process.on(signal, listener)
    },
    onUncaught(listener) {
      // Covers unhandled rejections too: Node turns them into uncaught exceptions.
      process.on('uncaughtException', listener)
    },
    exit: code => process.exit(code),
  }
}

function outputOf(stream: NodeJS.WriteStream): DaemonOutput {
  // Whoever reads the log may go away (a closed pipe, a full disk); the node goes on without.
  stream.on('error', ignore)
  return { write: text => stream.write(text), isTTY: stream.isTTY === true }
}

function ignore(): void {}

/** Node.js raises the soft limit to the hard one as it starts, so that is what counts. */
function openFilesLimit(): number | undefined {
  if (!existsSync(LIMITS_PATH)) return undefined
  return softFileLimit(readText(LIMITS_PATH))
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new IoError(`cannot read ${path}: ${why}`, { cause: error })
  }
}
