/**
 * The commands typed in the REPL, kept from one use to the next: a line each, the oldest first.
 * Several REPLs may append to it at once. It is cut when it is read, so it stays bounded.
 */
import { KvError } from '../errors.ts'
import type { CliFiles, CliIo } from './cli-io.ts'
import { mayHoldPassword } from './password.ts'

/** Remembered from one use to the next. */
export const HISTORY_COUNT_MAX = 1000

export class HistoryFile {
  readonly #path: string | undefined
  readonly #files: CliFiles
  #lines: string[] = []

  /** Without a path, history ends with the REPL. */
  constructor(path: string | undefined, files: CliFiles) {
    this.#path = path
    this.#files = files
  }

  /** Oldest first. */
  get lines(): readonly string[] {
    return this.#lines
  }

  async load(): Promise<void> {
    if (this.#path === undefined) return
    const text = await this.#forgiving(() => this.#files.readText(this.#path!))
    const lines = (text ?? '').split('\n').filter(line => line !== '')
    this.#lines = lines.slice(-HISTORY_COUNT_MAX)
    // Rewriting at twice the size loses nothing that another REPL appends most of the time.
    if (lines.length > 2 * HISTORY_COUNT_MAX) {
      await this.#forgiving(() => this.#files.writeText(this.#path!, `${this.#lines.join('\n')}\n`))
    }
  }

  /** Remembers a line, unless it repeats the last one or may hold a password. */
  async append(line: string): Promise<void> {
    if (mayHoldPassword(line)) return
    if (line === '' || line === this.#lines.at(-1)) return
    this.#lines.push(line)
    if (this.#lines.length > HISTORY_COUNT_MAX) this.#lines.shift()
    if (this.#path === undefined) return
    await this.#forgiving(() => this.#files.append(this.#path!, `${line}\n`))
  }

  /** History is a convenience: a disk that refuses it must not disturb the work. */
  async #forgiving<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action()
    } catch (error) {
      if (error instanceof KvError) return undefined
      throw error
    }
  }
}

/** KVCLI_HISTFILE, which may be empty for none; else kvcli/history among the user's state. */
export function historyPath(io: Pick<CliIo, 'env' | 'stateDirectory'>): string | undefined {
  const given = io.env['KVCLI_HISTFILE']
  if (given !== undefined) return given === '' ? undefined : given
  return io.stateDirectory === undefined ? undefined : `${io.stateDirectory}/kvcli/history`
}
