/**
 * What the operating system refuses, as the callers of the engine get it: an IoError that says what
 * could not be done, with the system's own error as its cause. Inside the engine the system's codes
 * are looked at, so errors are translated at its doors only.
 */
import { IoError, KvError } from '../errors.ts'
import { type File, systemErrorCode } from './file-system.ts'

/** `error` itself, unless the system raised it: then an IoError that begins with `what`. */
export function ioFailure(error: unknown, what: string): unknown {
  const code = systemErrorCode(error)
  if (error instanceof KvError || code === undefined) return error
  const { message } = error as Error
  return new IoError(`${what}: ${message}; ${adviceFor(code)}`, { cause: error })
}

/** What may be there again in a moment; nothing was lost, and nothing is wrong with the disk. */
const SHORTAGES: readonly string[] = ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE']

/** Whether the system had no room, or no file to give, for what was to be made anew. */
export function isShortage(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && SHORTAGES.includes(code)
}

function adviceFor(code: string): string {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'make room on the disk'
    case 'EMFILE':
    case 'ENFILE':
      return 'raise the limit of open files (ulimit -n), or close some'
    case 'EACCES':
    case 'EPERM':
      return 'check who may write there'
    case 'EROFS':
      return 'the file system is read-only: make it writable, or work on a copy'
    default:
      return 'check the disk'
  }
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
