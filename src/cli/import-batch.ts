/** Records of an import that travel together, and where the input goes on behind them. */
import type { ParserState } from './record-format.ts'

/** How far an import is, as it could be continued from there. */
export interface ImportMark {
  /** Bytes of the (decompressed) input that are done with. */
  readonly offset: number
  readonly state: ParserState
}

export interface ImportPut {
  readonly type: 'put'
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly ttlMs?: number
}

export interface ImportBatch {
  readonly operations: readonly ImportPut[]
  /** Bytes of keys and values. */
  readonly sizeBytes: number
  /** For each record: its line, and its offset in the input. */
  readonly lines: readonly number[]
  readonly offsets: readonly number[]
  /** For each record: the bytes it stood in, when rejects are kept. */
  readonly sources: readonly Uint8Array[] | undefined
  readonly mark: ImportMark
  /** Records before the mark that were left out for being null, since the import began. */
  readonly nulls: number
}

export interface BatchLimits {
  /** A batch is full at so many records, or bytes of keys and values, whichever comes first. */
  readonly countMax: number
  readonly bytesMax: number
}

export class BatchBuilder {
  readonly #limits: BatchLimits
  readonly #ttlMs: number | undefined
  #operations: ImportPut[] = []
  #lines: number[] = []
  #offsets: number[] = []
  #sources: Uint8Array[] = []
  #sizeBytes = 0

  constructor(limits: BatchLimits, ttlMs: number | undefined) {
    this.#limits = limits
    this.#ttlMs = ttlMs
  }

  get count(): number {
    return this.#operations.length
  }

  get isFull(): boolean {
    return this.count >= this.#limits.countMax || this.#sizeBytes >= this.#limits.bytesMax
  }

  /** True when one more record of this size would better travel in the next batch. */
  wouldOverflow(sizeBytes: number): boolean {
    return this.count > 0 && this.#sizeBytes + sizeBytes > this.#limits.bytesMax
  }

  add(
    key: Uint8Array,
    value: Uint8Array,
    line: number,
    offset: number,
    source: Uint8Array | undefined,
  ): void {
    const ttlMs = this.#ttlMs
    this.#operations.push(
      ttlMs === undefined ? { type: 'put', key, value } : { type: 'put', key, value, ttlMs },
    )
    this.#lines.push(line)
    this.#offsets.push(offset)
    if (source !== undefined) this.#sources.push(source)
    this.#sizeBytes += key.length + value.length
  }

  /** The batch so far; the builder begins the next one. */
  take(mark: ImportMark, nulls: number): ImportBatch {
    const batch = {
      operations: this.#operations,
      sizeBytes: this.#sizeBytes,
      lines: this.#lines,
      offsets: this.#offsets,
      sources: this.#sources.length === 0 ? undefined : this.#sources,
      mark,
      nulls,
    }
    this.#operations = []
    this.#lines = []
    this.#offsets = []
    this.#sources = []
    this.#sizeBytes = 0
    return batch
  }
}
