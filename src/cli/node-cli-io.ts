/** CliIo of this process: streams, terminal, environment and signals, as commands see them. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../clock.ts'
import type { Db } from '../engine/index.ts'
import { systemRandom } from '../random.ts'
import { type CliIo, type CliOutput, type DatabaseFiles, STOP_SIGNALS } from './cli-io.ts'
import { nodeCliFiles } from './node-cli-files.ts'
import { isAlive } from './node-process.ts'
import { nodeStdout } from './node-stdout.ts'
import { packageVersion } from './package-version.ts'
import { watchParent } from './parent-watch.ts'

export function nodeCliIo(): CliIo {
  return {
    argv: process.argv.slice(2),
    env: process.env,
    stdin: process.stdin,
    stdout: nodeStdout(),
    stderr: process.stderr,
    files: nodeCliFiles(),
    databaseFiles: nodeDatabaseFiles(),
    clock: systemClock(),
    random: systemRandom(),
    version: { package: packageVersion(), node: process.version },
    stateDirectory: userDirectory('XDG_STATE_HOME', '.local/state'),
    configDirectory: userDirectory('XDG_CONFIG_HOME', '.config'),
    isAlive,
    onInterrupt(listener) {
      let isListening = true
      for (const signal of STOP_SIGNALS) process.on(signal, listener)
      if (process.env['npm_lifecycle_event'] === 'npx') {
        const gone = (): void => {
          if (isListening) listener('SIGTERM')
        }
        // npx does not pass a signal on before it dies of it.
        watchParent(systemClock(), () => process.ppid, gone)
      }
      return () => {
        isListening = false
        for (const signal of STOP_SIGNALS) process.off(signal, listener)
      }
    },
  }
}

/** Every command but debug starts sooner without the engine, so it is loaded at the first call. */
function nodeDatabaseFiles(): DatabaseFiles {
  const engine = () => import('../engine/index.ts')
  return {
    verify: async (...args) => (await engine()).verifyDirectory(...args),
    repair: async (...args) => (await engine()).repairDirectory(...args),
    dump: async (...args) => (await engine()).dumpFile(...args),
    restore: async (...args) => (await engine()).restoreBackup(...args),
    backup: (directory, target, options) => withOpen(directory, db => db.backup(target, options)),
    readmit: async directory => {
      const { readmit } = await import('../cluster/index.ts')
      return withOpen(directory, db => readmit(db, directory, systemClock().wallMs()))
    },
  }
}

/** Opens the database for the time that it takes. */
async function withOpen<Result>(
  directory: string,
  work: (db: Db) => Promise<Result>,
): Promise<Result> {
  const { open } = await import('../engine/index.ts')
  // What a member owes to others is read from its log after a restart, so all of that stays.
  const db = await open(directory, { createIfMissing: false, holdWalFrom: 'oldest' })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

/** Ends the process once everything written has left it; whatever still runs is not waited for. */
export async function exitProcess(io: CliIo, code: number): Promise<never> {
  await Promise.all([flush(io.stdout), flush(io.stderr)])
  process.exit(code)
}

function flush(stream: CliOutput): Promise<void> {
  return new Promise(resolve => {
    if (stream.destroyed || stream.writableEnded) resolve()
    else stream.write('', () => resolve())
  })
}

/** As the XDG base directories have it: the variable where it is absolute, else below the home. */
function userDirectory(variable: string, standard: string): string | undefined {
  const given = process.env[variable]
  if (given?.startsWith('/') === true) return given
  const home = homedir()
  return home === '' ? undefined : join(home, standard)
}
