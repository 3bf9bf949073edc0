/** Notes the calls of a file system and of its files that make the thread wait for the disk. */
import type { FileSystem } from '../../src/engine/file-system.ts'

/** Reads are not among them, nor are writes: they go to the page cache. */
const WAITING_CALLS = ['createSync', 'renameSync', 'removeSync', 'syncDirectorySync', 'syncSync']

/** The same disk, whose waiting calls are added to `seen`, each with its first argument. */
export function noteWaitingCalls(fileSystem: FileSystem, seen: string[]): FileSystem {
  return noting(fileSystem, seen)
}

function noting<T extends object>(target: T, seen: string[]): T {
  return new Proxy(target, {
    get(object, name) {
      const member: unknown = Reflect.get(object, name, object)
      if (typeof member !== 'function') return member
      return (...given: unknown[]) => {
        if (WAITING_CALLS.includes(String(name))) seen.push(`${String(name)} ${String(given[0])}`)
        const result: unknown = Reflect.apply(member, object, given)
        if (name !== 'create' || !(result instanceof Promise)) return result
        return result.then((file: object) => noting(file, seen))
      }
    },
  })
}
