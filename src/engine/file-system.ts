/**
 * The engine's whole view of the disk. node-file-system.ts implements it over node:fs; the tests
 * implement it in memory, with power loss, torn writes and errors on demand.
 *
 * Durability contract, which every implementation keeps and every caller must not exceed:
 *  1. Written bytes survive a process crash once the write returns, and a power loss only once a
 *     later sync of that file returns. Unsynced writes may survive in part and in any order.
 *  2. The existence of a name (create, rename, remove, link) survives a power loss only once
 *     a sync of its directory returns. Until then any subset may have happened.
 *  3. After a failed write or sync the state of that file is unknown. Never sync it again and
 *     believe the answer: fail, and let recovery look at what is there.
 *  4. One write is an exception: one that only adds to a file and fails for want of space (ENOSPC,
 *     EDQUOT). It may have added a part, and what was there before is as it was.
 *
 * Synchronous calls serve worker threads, opening, and small cached reads; the asynchronous ones
 * serve the main thread, where a slow disk must not stop the event loop.
 * Operating system errors are passed through with their `code` (ENOSPC, EIO, ENOENT, …).
 */
import { CorruptionError } from '../errors.ts'

/** What an existing file is opened for. Some systems sync only what may be written. */
export type FileAccess = 'read' | 'readWrite'

export interface FileSystem {
  /**
   * Opens an existing file. Fails with ENOENT when it does not exist, and, never waiting for its
   * other end, with notAFile() when something else has that name.
   * @defaultValue `'read'`
   */
  openSync(path: string, access?: FileAccess): File
  /** Creates a file for writing and reading. Fails with EEXIST when the name exists. */
  createSync(path: string): File
  create(path: string): Promise<File>
  /** Creates the directory and any missing parents, and makes their names durable. */
  makeDirectorySync(path: string): void
  /** Names (not paths) in the directory, in no particular order. ENOENT when it does not exist. */
  listSync(path: string): string[]
  /** Atomically replaces `target` if it exists. */
  renameSync(source: string, target: string): void
  rename(source: string, target: string): Promise<void>
  removeSync(path: string): void
  /** The same off the calling thread: freeing a large file takes the system milliseconds. */
  remove(path: string): Promise<void>
  /**
   * Makes `target` a second name of the file `source`. Fails with EEXIST when the name exists, and
   * with a code of LINK_REFUSALS where there can be no such name.
   */
  linkSync(source: string, target: string): void
  /** Removes an empty directory. ENOTEMPTY (or EEXIST) when it is not empty. */
  removeDirectorySync(path: string): void
  /**
   * The absolute path with '/' between its names, without '.', '..' and symbolic links, as far as
   * it exists. Two paths of one directory resolve alike.
   */
  resolveSync(path: string): string
  /** Makes every create, rename, link and remove in the directory so far durable. */
  syncDirectorySync(path: string): void
  syncDirectory(path: string): Promise<void>
  /**
   * Takes the directory for this process.
   * Throws LockedError, naming the holder, while another process or this one holds it. Fails with
   * EROFS when nobody does, and no lock can be taken because the file system is read-only.
   */
  lockSync(directory: string): DirectoryLock
}

/** An open file. Positions and lengths are in bytes. */
export interface File {
  readonly path: string
  sizeSync(): number
  /** Reads up to `length` bytes; fewer only at the end of the file. Returns how many. */
  readSync(target: Uint8Array, targetOffset: number, length: number, position: number): number
  read(target: Uint8Array, targetOffset: number, length: number, position: number): Promise<number>
  /** Writes all of `source[sourceOffset, sourceOffset + length)` or fails. */
  writeSync(source: Uint8Array, sourceOffset: number, length: number, position: number): void
  write(source: Uint8Array, sourceOffset: number, length: number, position: number): Promise<void>
  /** Makes the bytes written so far, and the size, durable (fdatasync). */
  syncSync(): void
  sync(): Promise<void>
  /** Idempotent. */
  closeSync(): void
}

export interface DirectoryLock {
  /**
   * Throws LockedError when the directory is no longer this lock's, because somebody removed the
   * LOCK file or the directory: another process may write there now. Cheap enough to be asked
   * before every change of the set of files.
   */
  verifySync(): void
  /** Idempotent. */
  releaseSync(): void
}

/** The name of the error the operating system gave, such as 'ENOENT', or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** That a name of a file stands for something else, `found`: damage like any other of that file. */
export function notAFile(path: string, found: string): CorruptionError {
  const what = 'something else stands where a file should be: move it away'
  return new CorruptionError({ path, offset: 0, expected: 'a file', actual: found }, what)
}

/** What systems answer where a file cannot have a second name: another file system, or no links. */
const LINK_REFUSALS: readonly string[] = [
  'EXDEV',
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
]

/** Whether a link failed because there can be none, so that only a copy helps. */
export function isLinkRefusal(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && LINK_REFUSALS.includes(code)
}

/** The directory that a resolved path lies in; of the root itself the root. */
export function parentOf(resolved: string): string {
  const slash = resolved.lastIndexOf('/')
  return slash <= 0 ? '/' : resolved.slice(0, slash)
}

/** Whether the resolved path is the directory or lies below it. */
export function isWithin(resolved: string, directory: string): boolean {
  return resolved === directory || resolved.startsWith(joinPath(directory, ''))
}

/** Joins with '/', which every platform that Node runs on understands. */
export function joinPath(directory: string, name: string): string {
  return directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`
}
