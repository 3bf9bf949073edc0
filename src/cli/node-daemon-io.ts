/** DaemonIo of this process: streams, signals and settings files, as kvd sees them. */
import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { resolve } from 'node:path'
import { systemClock } from '../clock.ts'
import { IoError } from '../errors.ts'
import type { DaemonIo, DaemonOutput } from './daemon-io.ts'
import { softFileLimit } from './file-limit.ts'
import { packageVersion } from './package-version.ts'
import { readSecretLine } from './secret-input.ts'

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
    stampOf,
    replaceFile,
    readSecret: readSecretLine,
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

/** Throws where only another user could make such a file; then nothing is replaced. */
function keepAccess(file: number, before: Stats): void {
  const { uid, gid } = fstatSync(file)
  if (uid !== before.uid || gid !== before.gid) fchownSync(file, before.uid, before.gid)
  fchmodSync(file, before.mode & 0o7777)
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`
}

/**
 * A crash leaves the old file or the new one, whole. Who may read the old one may read the new one:
 * a node that runs as another user would lose it otherwise.
 */
function replaceFile(path: string, text: string): void {
  const next = `${path}.${process.pid}.new`
  try {
    const before = statSync(path, { throwIfNoEntry: false })
    const file = openSync(next, 'wx', 0o600)
    try {
      if (before !== undefined) keepAccess(file, before)
      writeSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(next, path)
  } catch (error) {
    rmSync(next, { force: true })
    const why = error instanceof Error ? error.message : String(error)
    throw new IoError(`cannot write ${path}: ${why}`, { cause: error })
  }
}
