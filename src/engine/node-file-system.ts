/**
 * FileSystem over node:fs, with raw file descriptors (a FileHandle closes itself when it is
 * collected, and costs a promise layer more).
 *
 * Invariants:
 *  1. A write returns only after every byte was accepted, a read only after every byte asked for
 *     or the end of the file: the operating system may do less in one call, and never does more
 *     than 2^31 - 1 bytes.
 *  2. A descriptor is closed only when no call on it is under way: the operating system hands the
 *     number to the next file opened, which the late call would then read or overwrite.
 *  3. A failed sync or write is reported once and never repeated here (file-system.ts, rule 3).
 */
import {
  close,
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsync,
  fsyncSync,
  linkSync,
  mkdirSync,
  open,
  openSync,
  read,
  readdirSync,
  readSync,
  realpathSync,
  rename,
  renameSync,
  rmdirSync,
  statSync,
  unlink,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { assert } from '../assert.ts'
import { toError } from '../errors.ts'
import { lockDirectorySync } from './directory-lock.ts'
import { strangerAt } from './file-kind.ts'
import { type File, type FileSystem, notAFile, systemErrorCode } from './file-system.ts'
import { ioFailure } from './io-failure.ts'

export interface NodeFileSystemOptions {
  /**
   * Bytes asked of the operating system in one call; longer reads and writes are cut. At most
   * 2^31 - 1, which is what Linux takes at most.
   * @defaultValue 1 GiB
   */
  readonly callSizeMax?: number
}

const CALL_SIZE_MAX = 2 ** 30
/** For reading and writing, if there is no such file yet. */
const CREATE = 'wx+'

/** The disk. Holds no state of its own, so every thread may make one. */
export function nodeFileSystem(options: NodeFileSystemOptions = {}): FileSystem {
  const callSizeMax = options.callSizeMax ?? CALL_SIZE_MAX
  assert(callSizeMax >= 1 && callSizeMax < 2 ** 31, 'one call moves at most 2^31 - 1 bytes')
  return {
    openSync: (path, access) => {
      const stranger = strangerAt(path)
      if (stranger !== undefined) throw notAFile(path, stranger)
      return new NodeFile(path, openSync(path, access === 'readWrite' ? 'r+' : 'r'), callSizeMax)
    },
    createSync: path => new NodeFile(path, openSync(path, CREATE), callSizeMax),
    create: async path => new NodeFile(path, await openFile(path, CREATE), callSizeMax),
    makeDirectorySync: path => makeDirectorySync(resolve(path)),
    listSync: path => readdirSync(path),
    renameSync,
    rename: (source, target) => settle(done => rename(source, target, done)),
    removeSync: unlinkSync,
    remove: path => settle(done => unlink(path, done)),
    linkSync,
    removeDirectorySync: rmdirSync,
    resolveSync: path => withSlashes(resolveSync(resolve(path))),
    syncDirectorySync,
    syncDirectory,
    lockSync: lockDirectorySync,
  }
}

/** The path from the root on. Throws IoError when the current directory is gone. */
export function absolutePath(path: string): string {
  try {
    return resolve(path)
  } catch (error) {
    throw ioFailure(error, `${path} cannot be found`)
  }
}

/** The answer of a call that gives nothing but an error. */
function settle(call: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolvePromise, reject) => {
    call(error => {
      if (error === null) resolvePromise()
      else reject(error)
    })
  })
}

function openFile(path: string, flags: string): Promise<number> {
  return new Promise((resolvePromise, reject) => {
    open(path, flags, (error, fd) => {
      if (error === null) resolvePromise(fd)
      else reject(error)
    })
  })
}

/**
 * Parents first, and each name is made durable before anything is made below it. So a directory
 * that exists has durable parents, save perhaps for its own name when its maker was killed between
 * the two steps: that one is made durable again.
 */
function makeDirectorySync(path: string): void {
  const parent = dirname(path)
  try {
    makeOneSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT' || parent === path) throw error
    makeDirectorySync(parent)
    // Where nothing can be made, as in /proc, it says ENOENT again though the parent is there.
    makeOneSync(path)
  }
  if (parent !== path) syncParentSync(parent)
}

function makeOneSync(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    // Some systems answer EPERM, EROFS or EISDIR for a directory that is there, such as a root.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error
  }
}

/** Links are followed in what exists; what does not has none. */
function resolveSync(path: string): string {
  try {
    return realpathSync.native(path)
  } catch (error) {
    const code = systemErrorCode(error)
    const parent = dirname(path)
    if ((code !== 'ENOENT' && code !== 'ENOTDIR') || parent === path) throw error
    return resolve(resolveSync(parent), basename(path))
  }
}

function withSlashes(path: string): string {
  return process.platform === 'win32' ? path.replaceAll('\\', '/') : path
}

function syncParentSync(path: string): void {
  try {
    syncDirectorySync(path)
  } catch (error) {
    // A parent that may be entered but not read cannot be synced by us; whoever made the
    // directory there had to see to it.
    const code = systemErrorCode(error)
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error
  }
}

function syncDirectorySync(path: string): void {
  // Windows opens no directory as a file; NTFS journals its names by itself.
  if (process.platform === 'win32') {
    statSync(path)
    return
  }
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') {
    statSync(path)
    return
  }
  const fd = await openFile(path, 'r')
  try {
    await settle(done => fsync(fd, done))
  } finally {
    await settle(done => close(fd, done))
  }
}

class NodeFile implements File {
  readonly path: string
  readonly #fd: number
  readonly #callSizeMax: number
  /** Asynchronous calls that the operating system has not answered. */
  #underWay = 0
  #closed = false

  constructor(path: string, fd: number, callSizeMax: number) {
    this.path = path
    this.#fd = fd
    this.#callSizeMax = callSizeMax
  }

  sizeSync(): number {
    this.#assertOpen()
    return fstatSync(this.#fd).size
  }

  readSync(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    this.#assertOpen()
    assertRange(target, targetOffset, length)
    let done = 0
    while (done < length) {
      const size = Math.min(length - done, this.#callSizeMax)
      const moved = readSync(this.#fd, target, targetOffset + done, size, position + done)
      if (moved === 0) break
      done += moved
    }
    return done
  }

  read(
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): Promise<number> {
    return this.#call<number>((succeed, fail) => {
      assertRange(target, targetOffset, length)
      const step = (done: number): void => {
        const size = Math.min(length - done, this.#callSizeMax)
        read(this.#fd, target, targetOffset + done, size, position + done, (error, moved) => {
          if (error !== null) fail(error)
          else if (moved === 0 || done + moved === length) succeed(done + moved)
          else step(done + moved)
        })
      }
      step(0)
    })
  }

  writeSync(source: Uint8Array, sourceOffset: number, length: number, position: number): void {
    this.#assertOpen()
    assertRange(source, sourceOffset, length)
    let done = 0
    while (done < length) {
      const size = Math.min(length - done, this.#callSizeMax)
      const moved = writeSync(this.#fd, source, sourceOffset + done, size, position + done)
      if (moved === 0) throw stuckWrite(this.path)
      done += moved
    }
  }

  write(source: Uint8Array, sourceOffset: number, length: number, position: number): Promise<void> {
    return this.#call<void>((succeed, fail) => {
      assertRange(source, sourceOffset, length)
      const step = (done: number): void => {
        const size = Math.min(length - done, this.#callSizeMax)
        write(this.#fd, source, sourceOffset + done, size, position + done, (error, moved) => {
          if (error !== null) fail(error)
          else if (done + moved === length) succeed()
          else if (moved === 0) fail(stuckWrite(this.path))
          else step(done + moved)
        })
      }
      step(0)
    })
  }

  syncSync(): void {
    this.#assertOpen()
    fdatasyncSync(this.#fd)
  }

  sync(): Promise<void> {
    return this.#call<void>((succeed, fail) => {
      fdatasync(this.#fd, error => {
        if (error === null) succeed()
        else fail(error)
      })
    })
  }

  closeSync(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#underWay === 0) closeSync(this.#fd)
  }

  #assertOpen(): void {
    assert(!this.#closed, 'a closed file is not used')
  }

  /** Runs an asynchronous call, and afterwards the close that may have waited for it. */
  #call<T>(start: (succeed: (value: T) => void, fail: (error: Error) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#assertOpen()
      this.#underWay++
      const finish = (settle: () => void): void => {
        this.#underWay--
        try {
          if (this.#closed && this.#underWay === 0) closeSync(this.#fd)
          settle()
        } catch (error) {
          // Nobody waits for the close any more: this call is the last that can tell.
          reject(toError(error))
        }
      }
      const fail = (error: Error): void => finish(() => reject(error))
      try {
        start(value => finish(() => resolve(value)), fail)
      } catch (error) {
        fail(toError(error))
      }
    })
  }
}

function assertRange(buffer: Uint8Array, offset: number, length: number): void {
  assert(
    offset >= 0 && length >= 0 && offset + length <= buffer.length,
    'the range lies in the buffer',
  )
}

/** No system is known to accept nothing without an error; asking again might never end. */
function stuckWrite(path: string): Error {
  return Object.assign(new Error(`EIO: a write was accepted but wrote nothing, '${path}'`), {
    code: 'EIO',
  })
}
