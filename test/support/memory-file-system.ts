/**
 * A simulated disk: FileSystem in memory, with power loss, kill -9, a size limit, and a count of
 * every call, at each of which a test can stop the world or raise an error.
 *
 *   const disk = new MemoryFileSystem()
 *   disk.onCall = (index, kind, path) => { if (index === 17) survivor = disk.crashClone(random) }
 *
 * It promises no more than file-system.ts: what no sync covered may be gone, torn or mixed up
 * after crashClone (memory-inode.ts for bytes, memory-directory.ts for names). A clone is a disk
 * of its own, with nothing locked; the disk it was taken from lives on unchanged.
 *
 * Asynchronous calls take effect when they finish, in a later microtask; the buffer lent to a
 * write must stay unchanged until then, and the write fails with an AssertionError when it did not.
 */
import { assert } from '../../src/assert.ts'
import { equalBytes, utf8Encode } from '../../src/bytes.ts'
import {
  type DirectoryLock,
  type File,
  type FileAccess,
  type FileSystem,
  notAFile,
} from '../../src/engine/file-system.ts'
import { LockedError } from '../../src/errors.ts'
import type { Random } from '../../src/random.ts'
import { type MemoryDirectory, MemoryNames } from './memory-directory.ts'
import { type CrashOptions, MemoryInode } from './memory-inode.ts'
import { systemError } from './system-error.ts'

export type { CrashOptions } from './memory-inode.ts'

/** The methods of FileSystem, File and DirectoryLock; both forms of read, write and sync alike. */
export type CallKind =
  | 'open'
  | 'create'
  | 'makeDirectory'
  | 'list'
  | 'rename'
  | 'remove'
  | 'link'
  | 'removeDirectory'
  | 'resolve'
  | 'syncDirectory'
  | 'lock'
  | 'verifyLock'
  | 'unlock'
  | 'size'
  | 'read'
  | 'write'
  | 'sync'
  | 'close'

/** Called before each call takes effect. `index` counts from 0; throwing fails the call. */
export type CallHook = (index: number, kind: CallKind, path: string) => void

export interface MemoryFileSystemOptions {
  /** Bytes of all files together before a write fails with ENOSPC. Default: no limit. */
  readonly capacity?: number
  /** Lets asynchronous calls that are under way together finish in random order. */
  readonly random?: Random
  /** Runs `step`, which finishes one asynchronous call, later. Default: queueMicrotask. */
  readonly defer?: (step: () => void) => void
}

const LOCK_NAME = 'LOCK'
const LOCK_CONTENT = utf8Encode('a simulated lock\n')

export class MemoryFileSystem implements FileSystem {
  /** Set it at any time. */
  onCall: CallHook | undefined
  /** Bytes; raise it to let a full disk recover. */
  capacity: number
  readonly #options: MemoryFileSystemOptions
  readonly #names: MemoryNames
  readonly #locks = new Map<MemoryDirectory, MemoryInode>()
  readonly #underWay: (() => void)[] = []
  #callCount = 0
  #poweredOff = false

  constructor(options: MemoryFileSystemOptions = {}, names = new MemoryNames()) {
    this.#options = options
    this.capacity = options.capacity ?? Number.POSITIVE_INFINITY
    this.#names = names
  }

  /** Calls made so far. */
  get callCount(): number {
    return this.#callCount
  }

  /** Bytes of all files that have a name, each counted once however many it has. */
  get usedSize(): number {
    const files = new Set(this.paths().map(path => this.#names.file(path, 'size')))
    let size = 0
    for (const file of files) size += file.size
    return size
  }

  /** The disk after a power loss at this moment. The clone inherits the options, not onCall. */
  crashClone(random: Random, options: CrashOptions): MemoryFileSystem {
    const names = this.#names.cloneAfterPowerLoss(random, options, file =>
      file.cloneAfterPowerLoss(random, options),
    )
    return new MemoryFileSystem({ ...this.#options, capacity: this.capacity }, names)
  }

  /**
   * The disk after `kill -9` at this moment: whatever finished is there, synced or not, and is as
   * unsynced as it was. Given `random`, writes that were under way may have happened, in part.
   * The clone has these options, by default those of this disk.
   */
  processCrashClone(random?: Random, options = this.#options): MemoryFileSystem {
    const names = this.#names.cloneAfterProcessCrash(file => file.cloneAfterProcessCrash(random))
    return new MemoryFileSystem({ ...options, capacity: this.capacity }, names)
  }

  /** Whether programs find the same names and bytes here; what a power loss leaves may differ. */
  holdsSameAs(other: MemoryFileSystem): boolean {
    return this.#names.holdsSameAs(other.#names)
  }

  /** From now on every call but close and unlock fails with EIO: the old life is over. */
  powerOff(): void {
    this.#poweredOff = true
  }

  /** What a failed fsync does: no later sync makes the bytes written so far durable. */
  loseUnsynced(path: string): void {
    this.#names.file(path, 'lose').doomUnsynced()
  }

  /** Paths of all files. Not counted, as are the two methods below. */
  paths(): string[] {
    const paths: string[] = []
    function visit(directory: MemoryDirectory, prefix: string): void {
      for (const [name, node] of directory.live) {
        if (node.kind === 'directory') visit(node, `${prefix}${name}/`)
        else paths.push(`${prefix}${name}`)
      }
    }
    visit(this.#names.root, '/')
    return paths
  }

  /** A copy of the file's bytes. */
  peek(path: string): Uint8Array {
    return this.#names.file(path, 'peek').bytes()
  }

  /** Gives the file these bytes, durably, and its name too if it is new: damage, or a restore. */
  plant(path: string, bytes: Uint8Array): void {
    const { directory, name } = this.#names.place(path, 'plant')
    let file = directory.live.get(name)
    if (file === undefined) {
      file = new MemoryInode()
      this.#names.change([{ directory, name, node: file }])
      this.#names.sync(directory)
    }
    if (file.kind !== 'file') throw systemError('EISDIR', 'plant', path)
    file.replace(bytes)
  }

  openSync(path: string, access: FileAccess = 'read'): File {
    this.enter('open', path)
    const isWritable = access === 'readWrite'
    if (this.#names.find(path, 'open')?.kind === 'directory') throw notAFile(path, 'a directory')
    return new MemoryFile(this, path, this.#names.file(path, 'open'), isWritable)
  }

  createSync(path: string): File {
    this.enter('create', path)
    return this.#create(path)
  }

  create(path: string): Promise<File> {
    return this.enterAsync('create', path, () => () => this.#create(path))
  }

  #create(path: string): File {
    const { directory, name } = this.#names.place(path, 'open')
    if (directory.live.has(name)) throw systemError('EEXIST', 'open', path)
    const node = new MemoryInode()
    this.#names.change([{ directory, name, node }])
    return new MemoryFile(this, path, node, true)
  }

  makeDirectorySync(path: string): void {
    this.enter('makeDirectory', path)
    this.#names.makeDirectory(path, 'mkdir')
  }

  listSync(path: string): string[] {
    this.enter('list', path)
    return [...this.#names.directory(path, 'scandir').live.keys()]
  }

  renameSync(source: string, target: string): void {
    this.enter('rename', source)
    this.#rename(source, target)
  }

  rename(source: string, target: string): Promise<void> {
    return this.enterAsync('rename', source, () => () => this.#rename(source, target))
  }

  #rename(source: string, target: string): void {
    const from = this.#names.place(source, 'rename')
    const to = this.#names.place(target, 'rename')
    const node = from.directory.live.get(from.name)
    if (node === undefined) throw systemError('ENOENT', 'rename', source)
    const replaced = to.directory.live.get(to.name)
    if (node === replaced) return
    if (replaced?.kind === 'directory') {
      throw systemError(node.kind === 'directory' ? 'ENOTEMPTY' : 'EISDIR', 'rename', target)
    }
    if (replaced !== undefined && node.kind === 'directory') {
      throw systemError('ENOTDIR', 'rename', target)
    }
    this.#names.change([
      { ...from, node: undefined },
      { ...to, node },
    ])
  }

  removeSync(path: string): void {
    this.enter('remove', path)
    this.#remove(path)
  }

  remove(path: string): Promise<void> {
    return this.enterAsync('remove', path, () => () => this.#remove(path))
  }

  linkSync(source: string, target: string): void {
    this.enter('link', source)
    const node = this.#names.file(source, 'link')
    const { directory, name } = this.#names.place(target, 'link')
    if (directory.live.has(name)) throw systemError('EEXIST', 'link', target)
    this.#names.change([{ directory, name, node }])
  }

  removeDirectorySync(path: string): void {
    this.enter('removeDirectory', path)
    if (this.#names.directory(path, 'rmdir').live.size > 0) {
      throw systemError('ENOTEMPTY', 'rmdir', path)
    }
    this.#names.change([{ ...this.#names.place(path, 'rmdir'), node: undefined }])
  }

  resolveSync(path: string): string {
    this.enter('resolve', path)
    const names: string[] = []
    for (const name of path.split('/')) {
      if (name === '..') names.pop()
      else if (name !== '' && name !== '.') names.push(name)
    }
    return `/${names.join('/')}`
  }

  syncDirectorySync(path: string): void {
    this.enter('syncDirectory', path)
    this.#names.sync(this.#names.directory(path, 'open'))
  }

  syncDirectory(path: string): Promise<void> {
    return this.enterAsync('syncDirectory', path, () => {
      const cover = this.#names.beginSync(this.#names.directory(path, 'open'))
      return () => cover()
    })
  }

  lockSync(path: string): DirectoryLock {
    this.enter('lock', path)
    const directory = this.#names.directory(path, 'open')
    const holds = (file: MemoryInode | undefined) =>
      file !== undefined && directory.live.get(LOCK_NAME) === file
    if (holds(this.#locks.get(directory))) {
      throw new LockedError(`${path} is open in process 1 (simulation); close it`)
    }
    const file = new MemoryInode()
    file.write(LOCK_CONTENT, 0)
    this.#names.change([{ directory, name: LOCK_NAME, node: file }])
    this.#locks.set(directory, file)
    let held = true
    return {
      verifySync: () => {
        this.enter('verifyLock', path)
        if (!held || !holds(file)) throw new LockedError(`${path} is no longer locked`)
      },
      releaseSync: () => {
        if (!held) return
        held = false
        this.enter('unlock', path)
        if (!holds(file)) return
        this.#names.change([{ directory, name: LOCK_NAME, node: undefined }])
        this.#locks.delete(directory)
      },
    }
  }

  /** Counts a call. For MemoryFile. */
  enter(kind: CallKind, path: string): void {
    const index = this.#callCount++
    this.onCall?.(index, kind, path)
    if (this.#poweredOff && kind !== 'close' && kind !== 'unlock') throw this.#darkness(kind, path)
  }

  /** Counts an asynchronous call and finishes it later. For MemoryFile. */
  enterAsync<T>(kind: CallKind, path: string, begin: () => () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let finish: () => T
      try {
        this.enter(kind, path)
        finish = begin()
      } catch (error) {
        finish = () => {
          throw error
        }
      }
      this.#underWay.push(() => {
        try {
          const value = finish()
          if (this.#poweredOff) throw this.#darkness(kind, path)
          resolve(value)
        } catch (error) {
          reject(error)
        }
      })
      const defer = this.#options.defer ?? queueMicrotask
      defer(() => this.#finishOne())
    })
  }

  #finishOne(): void {
    const next = this.#options.random?.below(this.#underWay.length) ?? 0
    const [finish] = this.#underWay.splice(next, 1)
    finish?.()
  }

  #remove(path: string): void {
    this.#names.file(path, 'unlink')
    this.#names.change([{ ...this.#names.place(path, 'unlink'), node: undefined }])
  }

  /** Writes what there is room for, and fails with ENOSPC if that is not all. For MemoryFile. */
  writeWithinCapacity(file: MemoryInode, data: Uint8Array, position: number, path: string): void {
    const growth = position + data.length - file.size
    if (growth <= 0 || this.capacity === Number.POSITIVE_INFINITY) {
      file.write(data, position)
      return
    }
    const excess = Math.max(0, this.usedSize + growth - this.capacity)
    file.write(data.subarray(0, Math.max(0, data.length - excess)), position)
    if (excess > 0) throw systemError('ENOSPC', 'write', path)
  }

  #darkness(kind: CallKind, path: string): Error {
    return systemError('EIO', `${kind} after the power went off`, path)
  }
}

class MemoryFile implements File {
  readonly path: string
  readonly #disk: MemoryFileSystem
  readonly #inode: MemoryInode
  readonly #writable: boolean
  #closed = false

  constructor(disk: MemoryFileSystem, path: string, inode: MemoryInode, writable: boolean) {
    this.path = path
    this.#disk = disk
    this.#inode = inode
    this.#writable = writable
  }

  sizeSync(): number {
    this.#enter('size')
    return this.#inode.size
  }

  readSync(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    this.#enter('read')
    assertRange(target, targetOffset, length)
    return this.#inode.read(target, targetOffset, length, position)
  }

  read(
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): Promise<number> {
    return this.#disk.enterAsync('read', this.path, () => {
      assert(!this.#closed, 'a closed file is not used')
      assertRange(target, targetOffset, length)
      return () => this.#inode.read(target, targetOffset, length, position)
    })
  }

  writeSync(source: Uint8Array, sourceOffset: number, length: number, position: number): void {
    this.#enter('write')
    const data = this.#borrow(source, sourceOffset, length).slice()
    this.#disk.writeWithinCapacity(this.#inode, data, position, this.path)
  }

  write(source: Uint8Array, sourceOffset: number, length: number, position: number): Promise<void> {
    return this.#disk.enterAsync('write', this.path, () => {
      assert(!this.#closed, 'a closed file is not used')
      const borrowed = this.#borrow(source, sourceOffset, length)
      const data = borrowed.slice()
      const pending = this.#inode.beginWrite(data, position)
      return () => {
        this.#inode.endWrite(pending)
        assert(equalBytes(borrowed, data), `a buffer lent to write stays as it is: ${this.path}`)
        this.#disk.writeWithinCapacity(this.#inode, data, position, this.path)
      }
    })
  }

  syncSync(): void {
    this.#enter('sync')
    this.#checkWritable()
    this.#inode.beginSync()()
  }

  sync(): Promise<void> {
    return this.#disk.enterAsync('sync', this.path, () => {
      assert(!this.#closed, 'a closed file is not used')
      this.#checkWritable()
      return this.#inode.beginSync()
    })
  }

  closeSync(): void {
    if (this.#closed) return
    this.#closed = true
    this.#disk.enter('close', this.path)
  }

  /** Some systems sync no file that was opened for reading. */
  #checkWritable(): void {
    if (!this.#writable) throw systemError('EPERM', 'fsync', this.path)
  }

  #enter(kind: CallKind): void {
    assert(!this.#closed, 'a closed file is not used')
    this.#disk.enter(kind, this.path)
  }

  #borrow(source: Uint8Array, offset: number, length: number): Uint8Array {
    assertRange(source, offset, length)
    if (!this.#writable) throw systemError('EBADF', 'write', this.path)
    return source.subarray(offset, offset + length)
  }
}

function assertRange(buffer: Uint8Array, offset: number, length: number): void {
  assert(
    offset >= 0 && length >= 0 && offset + length <= buffer.length,
    'the range lies in the buffer',
  )
}
