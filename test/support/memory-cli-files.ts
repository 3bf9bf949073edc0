/** The files of kvcli in memory. */
import { Readable } from 'node:stream'
import type { CliFiles, InputSource, OutputTarget } from '../../src/cli/cli-io.ts'
import { RefusedError } from '../../src/cli/refused-error.ts'
import { IoError } from '../../src/errors.ts'

export class MemoryCliFiles implements CliFiles {
  readonly files = new Map<string, Buffer>()
  /** When set, every call fails with it. */
  failure: Error | undefined

  constructor(files: Readonly<Record<string, string | Uint8Array>> = {}) {
    for (const [path, content] of Object.entries(files)) this.files.set(path, Buffer.from(content))
  }

  text(path: string): string | undefined {
    return this.files.get(path)?.toString()
  }

  async openInput(path: string, offset: number): Promise<InputSource> {
    const content = this.#read(path)
    const chunks = Readable.from([content.subarray(offset)])
    return {
      size: content.length,
      modifiedMs: 0,
      chunks,
      consumed: () => content.length,
      close: () => chunks.destroy(),
    }
  }

  async createOutput(path: string, { replace = false } = {}): Promise<OutputTarget> {
    this.#check()
    if (this.files.has(path) && !replace) {
      throw new RefusedError(`${path} exists already`, { advice: 'add --force' })
    }
    const parts: Uint8Array[] = []
    return {
      write: async bytes => {
        parts.push(Uint8Array.from(bytes))
      },
      finish: async () => {
        this.files.set(path, Buffer.concat(parts))
      },
      discard: async () => {
        parts.length = 0
      },
    }
  }

  async readBytes(path: string): Promise<Uint8Array> {
    return this.#read(path)
  }

  async readText(path: string): Promise<string | undefined> {
    this.#check()
    return this.text(path)
  }

  async writeText(path: string, text: string): Promise<void> {
    this.#check()
    this.files.set(path, Buffer.from(text))
  }

  async append(path: string, content: string | Uint8Array): Promise<void> {
    this.#check()
    const before = this.files.get(path) ?? Buffer.alloc(0)
    this.files.set(path, Buffer.concat([before, Buffer.from(content)]))
  }

  async list(directory: string): Promise<readonly string[]> {
    const prefix = directory === '.' ? '' : directory.replace(/\/?$/, '/')
    const inside = [...this.files.keys()].filter(path => path.startsWith(prefix))
    const names = inside.map(path => path.slice(prefix.length).replace(/\/.*$/, '/'))
    return [...new Set(names)].sort((a, b) => (a < b ? -1 : 1))
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path)
  }

  #read(path: string): Buffer {
    this.#check()
    const content = this.files.get(path)
    if (content !== undefined) return content
    throw new IoError(`cannot read ${path}: there is no such file or directory`)
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure
  }
}
