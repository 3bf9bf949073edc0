/**
 * The records that an import left out because they are bad, so that they can be mended and imported
 * on their own: as they stood in the input, the header of a CSV in front. The elements of a JSON
 * document are no document by themselves; they are kept as JSON lines.
 *
 * The file replaces the one of an earlier import when the first bad record comes. An import that
 * goes on from a progress file adds to it instead; what came between the last saved progress and
 * the stop may then be in it twice, which importing it forgives.
 */
import type { CliFiles } from './cli-io.ts'
import type { Reject } from './record-batcher.ts'
import type { RecordFormat } from './record-format.ts'

const NEWLINE = 0x0a
const NEWLINES = Buffer.of(NEWLINE)
const NOTHING = Buffer.alloc(0)

export interface RejectFileOptions {
  readonly path: string
  readonly files: Pick<CliFiles, 'append'>
  /** Adds to the file that is there. */
  readonly resume: boolean
  /** What stands at the beginning of the file; asked for when the first reject comes. */
  readonly header: () => Uint8Array | undefined
  /** A record as the file shows it. */
  readonly show: (source: Uint8Array) => Uint8Array
}

export class RejectFile {
  readonly #options: RejectFileOptions
  /** Not yet written: the rejects of one slab at most. */
  #parts: Uint8Array[] = []
  #begun: boolean
  #flushing: Promise<void> = Promise.resolve()

  constructor(options: RejectFileOptions) {
    this.#options = options
    this.#begun = options.resume
  }

  add(reject: Reject): void {
    const bytes = this.#options.show(reject.source)
    this.#parts.push(bytes)
    if (bytes.at(-1) !== NEWLINE) this.#parts.push(NEWLINES)
  }

  /** Resolves when all rejects so far are written. What could not be written is tried again. */
  flush(): Promise<void> {
    // One after the other, whether the one before went well or not.
    this.#flushing = this.#flushing.then(
      () => this.#write(),
      () => this.#write(),
    )
    return this.#flushing
  }

  async #write(): Promise<void> {
    const parts = this.#parts
    if (parts.length === 0) return
    this.#parts = []
    const { path, files, header } = this.#options
    try {
      await files.append(path, Buffer.concat(parts), {
        replace: !this.#begun,
        head: header() ?? NOTHING,
      })
      this.#begun = true
    } catch (error) {
      this.#parts = [...parts, ...this.#parts]
      throw error
    }
  }
}

/** `users.csv.gz` -> `users.rejects.csv`; `big.json` -> `big.rejects.jsonl`. */
export function rejectPath(inputPath: string, format: RecordFormat): string {
  const plain = inputPath.replace(/\.gz$/i, '')
  const dot = plain.lastIndexOf('.')
  const slash = Math.max(plain.lastIndexOf('/'), plain.lastIndexOf('\\'))
  const hasExtension = dot > slash + 1
  const stem = hasExtension ? plain.slice(0, dot) : plain
  if (format === 'json') return `${stem}.rejects.jsonl`
  return `${stem}.rejects${hasExtension ? plain.slice(dot) : ''}`
}
