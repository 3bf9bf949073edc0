/** What `kvcli debug` works with, on this thread instead of one of its own. */
import type { DatabaseFiles } from '../../src/cli/cli-io.ts'
import { systemClock } from '../../src/clock.ts'
import {
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
  return {
    verify: async (path, options = {}) => verifyInEnvironment(path, options, await environment()),
    repair: async (path, options = {}) => repairInEnvironment(path, options, await environment()),
    dump: dumpFile,
    restore: async (path, target, options = {}) =>
      restoreInEnvironment(path, target, options, await environment()),
    backup: async (directory, target, options) => {
      const db = await openInEnvironment(directory, {}, await environment())
      try {
        return await db.backup(target, options)
      } finally {
        await db.close()
      }
    },
  }
}
