/**
 * A database's directory and the second one for cold tables as if they were one: a table that is
 * not in the first is looked for in the second. Whoever opens, lists, links or removes tables need
 * not know where they are; only who creates one says so, by its path.
 *
 * That works as a table's number is used once: no table is in both.
 *
 * Invariant: only names of tables directly in the database's directory are looked for elsewhere.
 */
import { copyBytesSync } from './copy-file.ts'
import { parseFileName } from './file-names.ts'
import {
  type DirectoryLock,
  type File,
  type FileAccess,
  type FileSystem,
  isLinkRefusal,
  joinPath,
  parentOf,
  systemErrorCode,
} from './file-system.ts'

export class TieredFileSystem implements FileSystem {
  readonly #inner: FileSystem
  readonly #directory: string
  readonly #coldDirectory: string
  readonly #prefix: string

  constructor(inner: FileSystem, directory: string, coldDirectory: string) {
    this.#inner = inner
    this.#directory = directory
    this.#coldDirectory = coldDirectory
    this.#prefix = joinPath(directory, '')
  }

  openSync(path: string, access?: FileAccess): File {
    return this.#either(path, place => this.#inner.openSync(place, access))
  }

  createSync(path: string): File {
    return this.#inner.createSync(path)
  }

  create(path: string): Promise<File> {
    return this.#inner.create(path)
  }

  makeDirectorySync(path: string): void {
    this.#inner.makeDirectorySync(path)
  }

  listSync(path: string): string[] {
    const names = this.#inner.listSync(path)
    if (path !== this.#directory) return names
    const cold = this.#inner.listSync(this.#coldDirectory)
    return [...new Set([...names, ...cold.filter(isTable)])]
  }

  renameSync(source: string, target: string): void {
    this.#either(source, place => {
      try {
        this.#inner.renameSync(place, target)
      } catch (error) {
        if (place === source || !isLinkRefusal(error)) throw error
        copyBytesSync(this.#inner, place, target)
        this.#inner.syncDirectorySync(parentOf(target))
        this.#inner.removeSync(place)
      }
    })
  }

  rename(source: string, target: string): Promise<void> {
    return this.#inner.rename(source, target)
  }

  removeSync(path: string): void {
    this.#either(path, place => this.#inner.removeSync(place))
  }

  async remove(path: string): Promise<void> {
    try {
      await this.#inner.remove(path)
    } catch (error) {
      const cold = this.#coldPath(path)
      if (cold === undefined || systemErrorCode(error) !== 'ENOENT') throw error
      await this.#inner.remove(cold)
    }
  }

  linkSync(source: string, target: string): void {
    this.#either(source, place => this.#inner.linkSync(place, target))
  }

  removeDirectorySync(path: string): void {
    this.#inner.removeDirectorySync(path)
  }

  resolveSync(path: string): string {
    return this.#inner.resolveSync(path)
  }

  syncDirectorySync(path: string): void {
    this.#inner.syncDirectorySync(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#inner.syncDirectory(path)
  }

  lockSync(directory: string): DirectoryLock {
    return this.#inner.lockSync(directory)
  }

  /** Acts on the path, and if there is no such file on its other place. */
  #either<Result>(path: string, act: (place: string) => Result): Result {
    try {
      return act(path)
    } catch (error) {
      const cold = this.#coldPath(path)
      if (cold === undefined || systemErrorCode(error) !== 'ENOENT') throw error
      return act(cold)
    }
  }

  #coldPath(path: string): string | undefined {
    if (!path.startsWith(this.#prefix)) return undefined
    const name = path.slice(this.#prefix.length)
    return isTable(name) ? joinPath(this.#coldDirectory, name) : undefined
  }
}

/** `fileSystem` as it is without a second directory. */
export function tieredFileSystem(
  fileSystem: FileSystem,
  directory: string,
  coldDirectory: string | undefined,
): FileSystem {
  if (coldDirectory === undefined) return fileSystem
  return new TieredFileSystem(fileSystem, directory, coldDirectory)
}

function isTable(name: string): boolean {
  return parseFileName(name)?.kind === 'table'
}
