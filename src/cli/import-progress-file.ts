/**
 * The progress file of an import: one JSON object beside the input, replaced as the import goes on
 * and removed when it is complete. `--resume` goes on from it.
 *
 * It never says more than the server has acknowledged, so what it misses is only stored twice.
 */
import type { Clock } from '../clock.ts'
import { IoError } from '../errors.ts'
import type { CliFiles } from './cli-io.ts'
import type { ImportMark } from './import-batch.ts'
import { isParserState } from './record-format.ts'
import { UsageError } from './usage-error.ts'

const VERSION = 1
const SAVE_INTERVAL_MS = 1000

/** What must be the same for an import to go on where another one stopped. */
export interface ImportIdentity {
  readonly url: string
  readonly source: string
  /** Of the file; null for a pipe. */
  readonly size: number | null
  readonly modifiedMs: number | null
  /** Format and everything else that decides what a record is. */
  readonly format: string
}

interface ProgressFileContent extends ImportIdentity {
  readonly version: number
  readonly mark: ImportMark
}

export class ImportProgressFile {
  readonly path: string
  readonly #files: CliFiles
  readonly #clock: Clock
  readonly #identity: ImportIdentity
  #savedMs: number
  #saving: Promise<void> | undefined
  #failed: IoError | undefined

  constructor(path: string, identity: ImportIdentity, files: CliFiles, clock: Clock) {
    this.path = path
    this.#files = files
    this.#clock = clock
    this.#identity = identity
    this.#savedMs = clock.monotonicMs()
  }

  /** Why progress is not kept: the place is not writable. The import itself can go on. */
  get failed(): IoError | undefined {
    return this.#failed
  }

  /** Where an earlier import stopped; undefined when there was none. */
  async load(): Promise<ImportMark | undefined> {
    const text = await this.#files.readText(this.path)
    if (text === undefined) return undefined
    const content = this.#parse(text)
    for (const [name, expected] of Object.entries(this.#identity)) {
      const found: unknown = content[name as keyof ImportIdentity]
      if (found === expected) continue
      throw new UsageError(
        `${this.path} is the progress of another import: its ${name} is ${String(found)}, ` +
          `now it is ${String(expected)}; without --resume the import starts over`,
      )
    }
    return content.mark
  }

  #parse(text: string): ProgressFileContent {
    let content: unknown
    try {
      content = JSON.parse(text)
    } catch (error) {
      throw new UsageError(`${this.path} is not a progress file`, { cause: error })
    }
    if (isContent(content)) return content
    throw new UsageError(`${this.path} is not a progress file of this version`)
  }

  /** Saves the mark when the last time is long enough ago. Never waits, never throws. */
  offer(mark: ImportMark): void {
    const nowMs = this.#clock.monotonicMs()
    if (this.#saving !== undefined || this.#failed !== undefined) return
    if (nowMs - this.#savedMs < SAVE_INTERVAL_MS) return
    this.#savedMs = nowMs
    this.#saving = this.#save(mark)
  }

  async #save(mark: ImportMark): Promise<void> {
    const content: ProgressFileContent = { version: VERSION, ...this.#identity, mark }
    try {
      await this.#files.writeText(this.path, `${JSON.stringify(content)}\n`)
    } catch (error) {
      if (!(error instanceof IoError)) throw error
      this.#failed = error
    } finally {
      this.#saving = undefined
    }
  }

  /** The import stops before its end: true when it can go on from here later. */
  async keep(mark: ImportMark): Promise<boolean> {
    await this.#saving
    if (this.#failed !== undefined) return false
    await this.#save(mark)
    return this.#failed === undefined
  }

  /** The import is complete. */
  async remove(): Promise<void> {
    await this.#saving
    if (this.#failed === undefined) await this.#files.remove(this.path)
  }
}

function isContent(value: unknown): value is ProgressFileContent {
  if (typeof value !== 'object' || value === null) return false
  if (!('version' in value) || value.version !== VERSION) return false
  if (!('mark' in value) || typeof value.mark !== 'object' || value.mark === null) return false
  const { mark } = value
  if (!('offset' in mark) || !('state' in mark)) return false
  const { offset, state } = mark
  return Number.isSafeInteger(offset) && Number(offset) >= 0 && isParserState(state)
}
