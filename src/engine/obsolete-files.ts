/**
 * Removes files that nothing needs any more. Called only after the MANIFEST edit that made them
 * obsolete is durable, so a file that could not be removed is an orphan that the next open removes.
 *
 * One after another and off the main thread: the system takes 10 ms and more to free the pages of a
 * large file, and a compaction leaves several (70 ms without a turn of the event loop were seen).
 *
 * Invariants:
 *  1. A file that somebody holds (a checkpoint that copies it) stays until it is let go.
 *  2. drain() is awaited before a name may be used again and before the directory is let go.
 *  3. Where the directory may be another process's by now nothing is removed: numbers that were
 *     given out here are given out there again.
 */
import type { Logger } from '../logger.ts'
import { EventStream } from './event-stream.ts'
import { parseFileName } from './file-names.ts'
import { type FileSystem, joinPath, systemErrorCode } from './file-system.ts'

const NOT_DISCARDED = 'the output of a failed job could not be removed'

export class ObsoleteFiles {
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #logger: Logger
  readonly #events: EventStream
  readonly #verifyLock: () => void
  /** By name: how many hold it. */
  readonly #holders = new Map<string, number>()
  /** Held files that are to be removed. */
  readonly #postponed = new Set<string>()
  readonly #queue: string[] = []
  /** Files of this process that takeBack() could not remove. */
  readonly #leftBehind = new Set<string>()
  #working: Promise<void> | undefined
  #removed = 0

  /** `verifyLock` throws when this process no longer holds the directory. */
  constructor(
    fileSystem: FileSystem,
    directory: string,
    logger: Logger,
    events = new EventStream(logger),
    verifyLock: () => void = () => undefined,
  ) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#logger = logger
    this.#events = events
    this.#verifyLock = verifyLock
  }

  get removed(): number {
    return this.#removed
  }

  /** Keeps the files where they are until the function that it returns is called. */
  hold(names: readonly string[]): () => void {
    for (const name of names) this.#holders.set(name, (this.#holders.get(name) ?? 0) + 1)
    let held = true
    return () => {
      if (!held) return
      held = false
      for (const name of names) this.#letGo(name)
    }
  }

  /** Removes a file soon; a failure is logged and left to the next open. */
  remove(name: string): void {
    if (this.#holders.has(name)) {
      this.#postponed.add(name)
      return
    }
    this.#queue.push(name)
    this.#working ??= this.#work()
  }

  /** Resolves once every removal so far is over, but for those that are held up. Never rejects. */
  async drain(): Promise<void> {
    await this.#working
  }

  /** Requires a name in the queue. */
  async #work(): Promise<void> {
    for (let name = this.#queue.shift(); name !== undefined; name = this.#queue.shift()) {
      await this.#removeNow(name)
    }
    this.#working = undefined
  }

  async #removeNow(name: string): Promise<void> {
    // Gone already is as good: a crash may have come between a removal and its name.
    if (await this.#isRemoved(name, 'an obsolete file could not be removed')) this.#tell(name)
  }

  /** Whether there was such a file, and is none now. Logs why it could not be removed. */
  async #isRemoved(name: string, failure: string): Promise<boolean> {
    try {
      this.#verifyLock()
      await this.#fileSystem.remove(joinPath(this.#directory, name))
      this.#removed++
      return true
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') this.#logger.warn(failure, { name, error })
      return false
    }
  }

  #tell(name: string): void {
    if (!this.#events.active) return
    const { kind, fileNumber } = parseFileName(name) ?? {}
    if (fileNumber === undefined) return
    if (kind === 'table') this.#events.emit({ type: 'tableDeleted', fileNumber })
    if (kind === 'wal') this.#events.emit({ type: 'walDeleted', fileNumber })
  }

  /**
   * Removes files that a failed job may have left, whose names are not used again; no event tells
   * of them. Resolves once all are gone, and never rejects: a failure is left to the next open.
   */
  async discard(names: readonly string[]): Promise<void> {
    for (const name of names) await this.#isRemoved(name, NOT_DISCARDED)
  }

  /** Removes such a file, a small one, at once. */
  removeIfExists(name: string): void {
    try {
      this.#removeAtOnce(name)
    } catch (error) {
      this.#logger.warn(NOT_DISCARDED, { name, error })
    }
  }

  /** removeIfExists of a file whose name will be used again, by who asks for it with clear(). */
  takeBack(name: string): void {
    this.#leftBehind.add(name)
    this.removeIfExists(name)
  }

  /**
   * Removes a file that takeBack() could not: a disk can be too full even for that (where a removal
   * is written beside what it removes). Throws as the system does.
   */
  clear(name: string): void {
    if (this.#leftBehind.has(name)) this.#removeAtOnce(name)
  }

  #removeAtOnce(name: string): void {
    this.#verifyLock()
    try {
      this.#fileSystem.removeSync(joinPath(this.#directory, name))
      this.#removed++
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
    this.#leftBehind.delete(name)
  }

  #letGo(name: string): void {
    const count = this.#holders.get(name) ?? 0
    if (count > 1) {
      this.#holders.set(name, count - 1)
      return
    }
    this.#holders.delete(name)
    if (this.#postponed.delete(name)) this.remove(name)
  }
}
