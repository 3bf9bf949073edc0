/**
 * A disk that misbehaves by rule: any FileSystem with errors injected, and with planted bugs that
 * show whether a checker can catch them.
 *
 *   const disk = new FailingFileSystem(new MemoryFileSystem())
 *   const rule = disk.fail({ fault: 'EIO', kind: 'sync', path: isWal, nth: 3 })
 *
 * A fault happens in place of the call, save for those that do half of it. Rules are asked in the
 * order in which they were added; every rule counts the calls that match it, and the first that is
 * due decides.
 */
import type { DirectoryLock, File, FileAccess, FileSystem } from '../../src/engine/file-system.ts'
import type { CallKind } from './memory-file-system.ts'
import { systemError } from './system-error.ts'

/**
 *  - an error code: the call fails with it and does nothing (a close still closes)
 *  - `shortWrite`: the first half of the bytes reaches the file, then ENOSPC
 *  - `full`: ENOSPC for writes that make a file longer, and for no others: a disk without space;
 *    half of what would be added is
 *  - `shortRead`: half of the bytes asked for are delivered, as if the file ended there
 *  - `failedSync`: EIO, and the unsynced bytes stay readable but no later sync makes them durable,
 *    though it reports success (what Linux does); the disk below must be a MemoryFileSystem
 *  - `skip`: nothing happens and success is reported; for writes and syncs only
 */
export type Fault =
  | 'EIO'
  | 'ENOSPC'
  | 'EDQUOT'
  | 'EMFILE'
  | 'ENFILE'
  | 'EXDEV'
  | 'shortWrite'
  | 'full'
  | 'shortRead'
  | 'failedSync'
  | 'skip'

export interface FaultRule {
  readonly fault: Fault
  /** The calls it is about. Default: those that the fault makes sense for. */
  readonly kind?: CallKind | readonly CallKind[]
  /** Default: every path. */
  readonly path?: (path: string) => boolean
  /** It happens at this one of the matching calls, counted from 0. Default: 0. */
  readonly nth?: number
  /** From there on it happens for ever. Default: false, once. */
  readonly forever?: boolean
}

/** What became of a rule. */
export interface FaultReport {
  /** Matching calls so far. */
  readonly matched: number
  /** How often the fault happened. */
  readonly injected: number
  /** The call that it happened to first. */
  readonly first: FaultPlace | undefined
  remove(): void
}

export interface FaultPlace {
  readonly fault: Fault
  readonly kind: CallKind
  readonly path: string
  /** Whether it was the first write of a new file, or a sync of nothing but that. */
  readonly isBeginning: boolean
  /** Whether it was a write of zeros, or else of something. */
  readonly isZeros: boolean
}

/** What of a call on a file a rule, or who judges, may want to know. */
interface CallDetail {
  readonly isBeginning?: boolean
  readonly isZeros?: boolean
  readonly grows?: boolean
}

interface ActiveRule {
  readonly rule: FaultRule
  matched: number
  injected: number
  first: FaultPlace | undefined
}

/** Calls whose errors a planted bug can overlook. */
type Overlooked = (kind: CallKind, path: string) => boolean

/** A disk that can forget, as MemoryFileSystem can. */
interface Forgetful {
  loseUnsynced(path: string): void
}

const KINDS_OF_FAULT: Readonly<Partial<Record<Fault, readonly CallKind[]>>> = {
  shortWrite: ['write'],
  full: ['write'],
  shortRead: ['read'],
  failedSync: ['sync'],
  skip: ['sync', 'syncDirectory'],
}

const CODES: Readonly<Partial<Record<Fault, string>>> = { failedSync: 'EIO' }

export class FailingFileSystem implements FileSystem {
  readonly #inner: FileSystem & Partial<Forgetful>
  #rules: ActiveRule[] = []
  #callCount = 0
  /** The file that was created, renamed or synced last. */
  #lastChanged = ''
  #overlooks: Overlooked = () => false
  #late: LateSync | undefined

  constructor(inner: FileSystem & Partial<Forgetful>) {
    this.#inner = inner
  }

  /** Calls made so far. */
  get callCount(): number {
    return this.#callCount
  }

  fail(rule: FaultRule): FaultReport {
    const active: ActiveRule = { rule, matched: 0, injected: 0, first: undefined }
    this.#rules.push(active)
    return {
      get matched() {
        return active.matched
      },
      get injected() {
        return active.injected
      },
      get first() {
        return active.first
      },
      remove: () => {
        this.#rules = this.#rules.filter(other => other !== active)
      },
    }
  }

  /** Plants a bug: syncs of these files do nothing. */
  skipSync(path: (path: string) => boolean): FaultReport {
    return this.fail({ fault: 'skip', kind: 'sync', path, forever: true })
  }

  /**
   * Plants a bug at one place: a sync of a directory does nothing right after one of these files
   * was created, renamed or synced.
   */
  skipDirectorySyncAfter(matches: (path: string) => boolean): FaultReport {
    const isAfter = () => matches(this.#lastChanged)
    return this.fail({ fault: 'skip', kind: 'syncDirectory', path: isAfter, forever: true })
  }

  /** Plants a bug: syncs of these directories do nothing. */
  skipDirectorySync(path: (path: string) => boolean = () => true): FaultReport {
    return this.fail({ fault: 'skip', kind: 'syncDirectory', path, forever: true })
  }

  /** Plants a bug: errors of these writes and syncs pass for success. */
  overlookErrors(overlooks: Overlooked): void {
    this.#overlooks = overlooks
  }

  /** Plants a bug: syncs of `files` are made only after the next sync of one of `until`. */
  postponeSync(files: (path: string) => boolean, until: (path: string) => boolean): LateSync {
    this.#late = { files, until, waiting: [], postponed: 0 }
    return this.#late
  }

  openSync(path: string, access?: FileAccess): File {
    this.enter('open', path)
    return new FailingFile(this, this.#inner.openSync(path, access))
  }

  createSync(path: string): File {
    this.enter('create', path)
    return new FailingFile(this, this.#inner.createSync(path))
  }

  async create(path: string): Promise<File> {
    this.enter('create', path)
    return new FailingFile(this, await this.#inner.create(path))
  }

  makeDirectorySync(path: string): void {
    this.enter('makeDirectory', path)
    this.#inner.makeDirectorySync(path)
  }

  listSync(path: string): string[] {
    this.enter('list', path)
    return this.#inner.listSync(path)
  }

  renameSync(source: string, target: string): void {
    this.enter('rename', source)
    this.#inner.renameSync(source, target)
  }

  async rename(source: string, target: string): Promise<void> {
    this.enter('rename', source)
    await this.#inner.rename(source, target)
  }

  removeSync(path: string): void {
    this.enter('remove', path)
    this.#inner.removeSync(path)
  }

  async remove(path: string): Promise<void> {
    this.enter('remove', path)
    await this.#inner.remove(path)
  }

  linkSync(source: string, target: string): void {
    this.enter('link', source)
    this.#inner.linkSync(source, target)
  }

  removeDirectorySync(path: string): void {
    this.enter('removeDirectory', path)
    this.#inner.removeDirectorySync(path)
  }

  resolveSync(path: string): string {
    this.enter('resolve', path)
    return this.#inner.resolveSync(path)
  }

  syncDirectorySync(path: string): void {
    if (this.enter('syncDirectory', path) !== 'skip') this.#inner.syncDirectorySync(path)
  }

  async syncDirectory(path: string): Promise<void> {
    if (this.enter('syncDirectory', path) !== 'skip') await this.#inner.syncDirectory(path)
  }

  /** True when the sync is to be made later. For files. */
  postpones(path: string): boolean {
    const late = this.#late
    if (late?.files(path) !== true) return false
    late.waiting.push(path)
    late.postponed++
    return true
  }

  /** Called after a sync. For files. */
  catchUp(path: string): void {
    const late = this.#late
    if (late?.until(path) !== true) return
    for (const waiting of late.waiting.splice(0)) {
      const file = this.#inner.openSync(waiting, 'readWrite')
      file.syncSync()
      file.closeSync()
    }
  }

  lockSync(directory: string): DirectoryLock {
    this.enter('lock', directory)
    const lock = this.#inner.lockSync(directory)
    return {
      verifySync: () => {
        this.enter('verifyLock', directory)
        lock.verifySync()
      },
      releaseSync: () => lock.releaseSync(),
    }
  }

  /** Counts a call; throws if that is its fault, else returns a fault to act out. For files. */
  enter(kind: CallKind, path: string, detail: CallDetail = {}): Fault | undefined {
    this.#callCount++
    if (kind === 'create' || kind === 'rename' || kind === 'sync') this.#lastChanged = path
    let due: ActiveRule | undefined
    for (const active of this.#rules) {
      if (!matches(active.rule, kind, path)) continue
      if (active.rule.fault === 'full' && detail.grows !== true) continue
      const { nth = 0, forever = false } = active.rule
      const count = active.matched++
      if (due === undefined && (count === nth || (forever && count > nth))) due = active
    }
    if (due === undefined) return undefined
    due.injected++
    const { fault } = due.rule
    const { isBeginning = false, isZeros = false } = detail
    due.first ??= { fault, kind, path, isBeginning, isZeros }
    if (fault === 'failedSync') {
      if (this.#inner.loseUnsynced === undefined) throw new Error('this disk cannot forget')
      this.#inner.loseUnsynced(path)
    }
    const code = CODES[fault] ?? fault
    if (!code.startsWith('E')) return fault
    if (this.overlooks(kind, path)) return 'skip'
    throw systemError(code, kind, path)
  }

  /** Whether a planted bug takes the error of this call for success. For files. */
  overlooks(kind: CallKind, path: string): boolean {
    return this.#overlooks(kind, path)
  }
}

/** Syncs that a planted bug makes too late. */
export interface LateSync {
  readonly files: (path: string) => boolean
  readonly until: (path: string) => boolean
  readonly waiting: string[]
  /** How many it was. */
  postponed: number
}

function matches(rule: FaultRule, kind: CallKind, path: string): boolean {
  const kinds = rule.kind === undefined ? KINDS_OF_FAULT[rule.fault] : [rule.kind].flat()
  return (kinds === undefined || kinds.includes(kind)) && (rule.path?.(path) ?? true)
}

class FailingFile implements File {
  readonly path: string
  readonly #disk: FailingFileSystem
  readonly #inner: File
  #writes = 0
  /** Bytes of the file as far as they were written here. */
  #end = 0
  #closed = false

  constructor(disk: FailingFileSystem, inner: File) {
    this.path = inner.path
    this.#disk = disk
    this.#inner = inner
  }

  sizeSync(): number {
    this.#disk.enter('size', this.path)
    return this.#inner.sizeSync()
  }

  readSync(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    const size = this.#enterRead(length)
    return this.#inner.readSync(target, targetOffset, size, position)
  }

  async read(
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): Promise<number> {
    const size = this.#enterRead(length)
    return await this.#inner.read(target, targetOffset, size, position)
  }

  writeSync(source: Uint8Array, sourceOffset: number, length: number, position: number): void {
    const fault = this.#enterWrite(source.subarray(sourceOffset, sourceOffset + length), position)
    if (fault === 'skip') return
    const size = this.#sizeOf(fault, length, position)
    this.#inner.writeSync(source, sourceOffset, size, position)
    this.#endWrite(fault, position + size)
  }

  async write(
    source: Uint8Array,
    sourceOffset: number,
    length: number,
    position: number,
  ): Promise<void> {
    const fault = this.#enterWrite(source.subarray(sourceOffset, sourceOffset + length), position)
    if (fault === 'skip') return
    const size = this.#sizeOf(fault, length, position)
    await this.#inner.write(source, sourceOffset, size, position)
    this.#endWrite(fault, position + size)
  }

  syncSync(): void {
    const fault = this.#disk.enter('sync', this.path, { isBeginning: this.#writes <= 1 })
    if (fault === 'skip' || this.#disk.postpones(this.path)) return
    this.#inner.syncSync()
    this.#disk.catchUp(this.path)
  }

  async sync(): Promise<void> {
    const fault = this.#disk.enter('sync', this.path, { isBeginning: this.#writes <= 1 })
    if (fault === 'skip' || this.#disk.postpones(this.path)) return
    await this.#inner.sync()
    this.#disk.catchUp(this.path)
  }

  closeSync(): void {
    if (this.#closed) return
    this.#closed = true
    this.#inner.closeSync()
    this.#disk.enter('close', this.path)
  }

  #enterWrite(bytes: Uint8Array, position: number): Fault | undefined {
    const end = position + bytes.length
    const grows = end > this.#end
    const isBeginning = this.#writes++ === 0
    const isZeros = bytes.every(byte => byte === 0)
    return this.#disk.enter('write', this.path, { isBeginning, isZeros, grows })
  }

  /** Bytes of the write that reach the file. */
  #sizeOf(fault: Fault | undefined, length: number, position: number): number {
    if (fault === 'shortWrite') return length >>> 1
    if (fault !== 'full') return length
    return length - Math.ceil((position + length - Math.max(this.#end, position)) / 2)
  }

  #endWrite(fault: Fault | undefined, end: number): void {
    this.#end = Math.max(this.#end, end)
    if (fault !== 'shortWrite' && fault !== 'full') return
    if (this.#disk.overlooks('write', this.path)) return
    throw systemError('ENOSPC', 'write', this.path)
  }

  #enterRead(length: number): number {
    return this.#disk.enter('read', this.path) === 'shortRead' ? length >>> 1 : length
  }
}
