/** What `kvcli debug` works with, on this thread instead of one of its own. */
import type { DatabaseFiles } from '../../src/cli/cli-io.ts'
import { systemClock } from '../../src/clock.ts'
import { readmit } from '../../src/cluster/index.ts'
import {
  type Db,
  dumpFile,
  InlineExecutor,
  nodeFileSystem,
  openInEnvironment,
  repairInEnvironment,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'

/** On the real disk, but on this thread: a thread that reads the sources takes seconds to start. */
export function inlineDatabaseFiles(): DatabaseFiles {
  const clock = systemClock()
  const fileSystem = nodeFileSystem()
  const environment = async () => {
    const executor = new InlineExecutor({ fileSystem, hasher: await loadHasher(), clock })
    return { fileSystem, executor, clock, random: seededRandom(1) }
  }
  const withOpen = async <Result>(path: string, work: (db: Db) => Promise<Result>) => {
    const options = { createIfMissing: false, holdWalFrom: 'oldest' } as const
    const db = await openInEnvironment(path, options, await environment())
    try {
      return await work(db)
    } finally {
      await db.close()
    }
  }
  return {
    verify: async (path, options = {}) => verifyInEnvironment(path, options, await environment()),
    repair: async (path, options = {}) => repairInEnvironment(path, options, await environment()),
    dump: dumpFile,
    restore: async (path, target, options = {}) =>
      restoreInEnvironment(path, target, options, await environment()),
    backup: (directory, target, options) => withOpen(directory, db => db.backup(target, options)),
    readmit: directory => withOpen(directory, db => readmit(db, directory, clock.wallMs())),
  }
}
