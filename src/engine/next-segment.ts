/**
 * The file of the segment that the log will continue in, made while the one before is written to:
 * creating a file and syncing its directory takes milliseconds, which the writer at a rotation does
 * not wait for, and all of it runs off the main thread.
 *
 * Invariants:
 *  1. The file is empty until it is taken, so recovery passes over it (wal-replay.ts) and its loss
 *     costs nothing.
 *  2. At most one file is ahead, and what could not be made is not left behind.
 *  3. A segment that could not be begun for want of space is gone before another one is made, whose
 *     directory sync then makes that durable too: no two segments claim to follow the same one.
 */
import { formatFileName } from './file-names.ts'
import type { FileSystem } from './file-system.ts'
import { isShortage } from './io-failure.ts'
import type { BackgroundHost } from './job-runner.ts'
import {
  type PreparedSegment,
  prepareSegment,
  type WalSegmentOptions,
  WalWriter,
} from './wal-writer.ts'

export interface NextSegmentParts {
  readonly host: BackgroundHost
  readonly fileSystem: FileSystem
}

export class NextSegment {
  readonly #parts: NextSegmentParts
  /** Never rejects. Undefined in it: the file could not be made, and was logged. */
  #ahead: Promise<PreparedSegment | undefined> | undefined

  constructor(parts: NextSegmentParts) {
    this.#parts = parts
  }

  /** Begins to make the file, unless there is one. */
  prepare(): void {
    this.#ahead ??= this.#tryToMake()
  }

  /**
   * The segment that follows, with its header. Rejects as the system does when it cannot be made;
   * after a shortage (io-failure.ts) everything is as it was, and it may be tried again.
   */
  async begin(options: WalSegmentOptions): Promise<WalWriter> {
    const segment = await this.#take()
    try {
      return await WalWriter.begin(segment, options)
    } catch (error) {
      if (isShortage(error)) await this.#takeBack(segment)
      throw error
    }
  }

  async #take(): Promise<PreparedSegment> {
    const ahead = await this.#ahead
    this.#ahead = undefined
    return ahead ?? this.#make()
  }

  /** Removes what nobody took. Nothing may be taken after it. */
  async close(): Promise<void> {
    const ahead = await this.#ahead
    this.#ahead = undefined
    if (ahead === undefined) return
    ahead.file.closeSync()
    const { state, obsoleteFiles } = this.#parts.host
    if (state.failure === undefined) obsoleteFiles.remove(formatFileName('wal', ahead.fileNumber))
  }

  async #tryToMake(): Promise<PreparedSegment | undefined> {
    try {
      return await this.#make()
    } catch (error) {
      // The rotation tries again, and reports what it meets then.
      this.#parts.host.logger.warn('the next WAL segment could not be made ahead', { error })
      return undefined
    }
  }

  async #make(): Promise<PreparedSegment> {
    const { host, fileSystem } = this.#parts
    host.verifyLock()
    const fileNumber = host.manifest.reserveFileNumbers(1)
    const takeBack = (name: string) => host.obsoleteFiles.remove(name)
    return await prepareSegment(fileSystem, host.directory, fileNumber, takeBack)
  }

  async #takeBack({ file, fileNumber }: PreparedSegment): Promise<void> {
    try {
      await this.#parts.fileSystem.remove(file.path)
    } catch (cause) {
      // No shortage, whatever the system says: this must not be tried again.
      throw new Error(`WAL segment ${fileNumber} is neither begun nor removed`, { cause })
    }
  }
}
