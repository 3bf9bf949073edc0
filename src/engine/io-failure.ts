/**
 * What the operating system refuses, as the callers of the engine get it: an IoError that says what
 * could not be done, with the system's own error as its cause. Inside the engine the system's codes
 * are looked at, so errors are translated at its doors only.
 */
import { IoError, KvError } from '../errors.ts'
import { type File, systemErrorCode } from './file-system.ts'

/**
 * `error` itself, unless the system raised it: then an IoError that begins with `what`, which is
 * asked for only then.
 */
export function ioFailure(error: unknown, what: string | (() => string)): unknown {
  const code = systemErrorCode(error)
  if (error instanceof KvError || code === undefined) return error
  const { message } = error as Error
  const words = typeof what === 'string' ? what : what()
  return new IoError(`${words}: ${message}; ${adviceFor(code)}`, { cause: error })
}

/** What may be there again in a moment; nothing was lost, and nothing is wrong with the disk. */
const SHORTAGES: readonly string[] = ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE']

/** Whether there was no room on the disk, or none that this user may take. */
export function isDiskFull(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** Whether the system had no room, or no file to give, for what was to be made anew. */
export function isShortage(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && SHORTAGES.includes(code)
}

const NO_MEMORY = 'the machine has no memory left: free some, and try again'
const NO_MODULE =
  'install duramen again, and leave it out of a bundle, as an external package: its threads have ' +
  'files of their own'

/** By the system's code: what to do about it. */
const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'make room on the disk (df), or for its number of files (df -i)',
  EDQUOT: 'make room on the disk, or raise the quota of the user',
  EMFILE: 'raise the limit of open files (ulimit -n), or close some',
  ENFILE: 'raise the limit of open files of the machine, or close some',
  EACCES: 'check the permissions: this user must be able to read and write there',
  EPERM: 'check the permissions: this user must be able to read and write there',
  EROFS: 'the file system is read-only: make it writable, or work on a copy',
  ENOENT: 'check the path, and that the disk it is on is mounted',
  ENOTDIR: 'a part of the path is a file: give the path of a directory',
  EEXIST: 'a file stands where a directory should be: move it away, or give another path',
  EISDIR: 'a directory stands where a file should be: move it away',
  ENOTEMPTY: 'the directory holds other files: move them away, or give another path',
  ELOOP: 'symbolic links lead in a circle: check the path',
  ENAMETOOLONG: 'choose a shorter path',
  EBUSY: 'something else uses it: end that, and try again',
  ETXTBSY: 'something else uses it: end that, and try again',
  EFBIG: 'the file system, or a limit (ulimit -f), takes no larger file: raise the limit',
  ENOTSUP: 'this file system cannot do that: keep the data on another one',
  EOPNOTSUPP: 'this file system cannot do that: keep the data on another one',
  ENOSYS: 'this file system cannot do that: keep the data on another one',
  ENODEV: 'the disk is gone: check that it is connected and mounted',
  ENXIO: 'the disk is gone: check that it is connected and mounted',
  ESTALE: 'the disk is gone: check that it is connected and mounted',
  ENOMEM: NO_MEMORY,
  Z_MEM_ERROR: NO_MEMORY,
  ZSTD_error_memory_allocation: NO_MEMORY,
  ERR_ZLIB_INITIALIZATION_FAILED: NO_MEMORY,
  ERR_MEMORY_ALLOCATION_FAILED: NO_MEMORY,
  ERR_WORKER_OUT_OF_MEMORY: 'a thread of the engine takes no more heap than that: report it',
  ERR_WORKER_INIT_FAILED: 'no thread starts: raise the limits of files and threads (ulimit -n, -u)',
  MODULE_NOT_FOUND: NO_MODULE,
  ERR_MODULE_NOT_FOUND: NO_MODULE,
  ERR_ACCESS_DENIED: 'start the program without --permission, under which nothing can be synced',
  EIO: 'check the disk: the log of the system (dmesg) tells more',
}

/** What to do about an error of the system. */
export function adviceFor(code: string): string {
  return ADVICE[code] ?? 'check the disk'
}

/**
 * A table or log that is read for a caller: what the system refuses becomes an IoError. Closing
 * does not fail: nothing was written that could be lost, and what was read is right.
 */
export class ReportingFile implements File {
  readonly #inner: File

  constructor(inner: File) {
    this.#inner = inner
  }

  get path(): string {
    return this.#inner.path
  }

  sizeSync(): number {
    try {
      return this.#inner.sizeSync()
    } catch (error) {
      throw this.#failure(error)
    }
  }

  readSync(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    try {
      return this.#inner.readSync(target, targetOffset, length, position)
    } catch (error) {
      throw this.#failure(error)
    }
  }

  async read(
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): Promise<number> {
    try {
      return await this.#inner.read(target, targetOffset, length, position)
    } catch (error) {
      throw this.#failure(error)
    }
  }

  writeSync(source: Uint8Array, sourceOffset: number, length: number, position: number): void {
    this.#inner.writeSync(source, sourceOffset, length, position)
  }

  write(source: Uint8Array, sourceOffset: number, length: number, position: number): Promise<void> {
    return this.#inner.write(source, sourceOffset, length, position)
  }

  syncSync(): void {
    this.#inner.syncSync()
  }

  sync(): Promise<void> {
    return this.#inner.sync()
  }

  closeSync(): void {
    try {
      this.#inner.closeSync()
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }

  #failure(error: unknown): unknown {
    return ioFailure(error, `${this.path} cannot be read`)
  }
}
