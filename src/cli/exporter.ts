/** Writes the entries of a scan as records of an export file, no faster than both ends allow. */
import { ByteWriter } from '../bytes.ts'
import type { Entry, Scan } from '../key-value-store.ts'
import type { RecordEncoder } from './record-encoder.ts'

/** Entries asked of the scan at a time. */
const PAGE_COUNT = 1024
/** Written in pieces of about this size. */
const CHUNK_SIZE = 256 * 1024

export interface ExporterOptions {
  readonly scan: Scan<Entry>
  readonly encoder: RecordEncoder
  /** Takes ownership of the bytes. Resolves when there is room for more. */
  readonly write: (bytes: Uint8Array) => Promise<void>
  readonly signal: AbortSignal
}

export interface ExportCounts {
  readonly records: number
  /** Bytes of keys and values. */
  readonly bytes: number
  /** Bytes of the file, before compression. */
  readonly written: number
}

export class Exporter {
  readonly #options: ExporterOptions
  readonly #writer = new ByteWriter(CHUNK_SIZE + 64 * 1024)
  #records = 0
  #bytes = 0
  #written = 0

  constructor(options: ExporterOptions) {
    this.#options = options
  }

  get counts(): ExportCounts {
    return { records: this.#records, bytes: this.#bytes, written: this.#written }
  }

  /** Resolves true when every entry is written, false when the signal stopped it before. */
  async run(): Promise<boolean> {
    const { scan, encoder, signal } = this.#options
    try {
      encoder.begin(this.#writer)
      for (;;) {
        if (signal.aborted) return false
        const page = await scan.nextBatch(PAGE_COUNT)
        if (page.length === 0) break
        await this.#encode(page)
      }
      encoder.end(this.#writer)
      await this.#flush()
      return true
    } catch (error) {
      if (signal.aborted) return false
      throw error
    } finally {
      await scan.close()
    }
  }

  async #encode(page: readonly Entry[]): Promise<void> {
    for (const [key, value] of page) {
      this.#options.encoder.record(this.#writer, key, value)
      this.#records++
      this.#bytes += key.length + value.length
      if (this.#writer.length >= CHUNK_SIZE) await this.#flush()
    }
  }

  async #flush(): Promise<void> {
    if (this.#writer.length === 0) return
    // A copy: the writer is filled again while the stream still holds these bytes.
    const bytes = this.#writer.written.slice()
    this.#writer.reset()
    this.#written += bytes.length
    await this.#options.write(bytes)
  }
}
