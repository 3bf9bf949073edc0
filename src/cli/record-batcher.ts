/**
 * What an import makes of the records that a parser finds: batches of those that are good, rejects
 * of those that are not, and the place in the input behind each batch.
 *
 * Invariants:
 *  1. A batch's mark is the end of its last record or of one that was left out behind it. Every
 *     record before it is in this batch, in an earlier one, left out for being null, or rejected.
 *  2. With `stop` the first bad record throws; what came before it is in the batches.
 */
import type { KvError } from '../errors.ts'
import { SERVER_KEY_SIZE_MAX, VALUE_SIZE_MAX } from '../key-value-store.ts'
import { BadInputError } from './bad-input-error.ts'
import { BatchBuilder, type ImportBatch, type ImportMark } from './import-batch.ts'
import {
  type InputPlace,
  type RecordParser,
  type RecordSink,
  UnreadableInputError,
} from './record-format.ts'

/** A problem with one record, and the record as it stood in the input. */
export interface Reject extends InputPlace {
  readonly problem: string
  readonly source: Uint8Array
}

export interface RecordBatcherOptions {
  readonly parser: RecordParser
  readonly start: ImportMark
  /** What messages call the input. */
  readonly sourceName: string
  readonly ttlMs: number | undefined
  /** Stored for a record whose value is null. Undefined: such records are left out. */
  readonly nullValue: Uint8Array | undefined
  /** `skip`: bad records are handed to onReject, and the import goes on. */
  readonly onError: 'stop' | 'skip'
  readonly onReject: (reject: Reject) => void
  readonly batchCountMax: number
  readonly batchBytesMax: number
}

const EMPTY: Buffer = Buffer.alloc(0)
const RECORD_ADVICE = 'mend that record, or go on without bad records: --on-error skip'
const INPUT_ADVICE = 'mend the input: what stands behind that place cannot be told apart'

export class RecordBatcher implements RecordSink {
  readonly #options: RecordBatcherOptions
  readonly #builder: BatchBuilder
  #ready: ImportBatch[] = []
  #slab = EMPTY
  /** Offset of the slab in the input. */
  #slabOffset = 0
  /** Behind the last record that was parsed: what comes next in the input. */
  #endOffset: number
  #endLine: number
  #nulls = 0
  #rejected = 0

  constructor(options: RecordBatcherOptions) {
    this.#options = options
    this.#endOffset = options.start.offset
    this.#endLine = options.start.state.line
    const limits = { countMax: options.batchCountMax, bytesMax: options.batchBytesMax }
    this.#builder = new BatchBuilder(limits, options.ttlMs)
  }

  /** Records left out because their value is null. */
  get nulls(): number {
    return this.#nulls
  }

  /** Records left out because they are bad. */
  get rejected(): number {
    return this.#rejected
  }

  /** Records that are not in a batch yet. */
  get pendingCount(): number {
    return this.#builder.count
  }

  /** Where the input goes on behind everything that was parsed. */
  get endMark(): ImportMark {
    const state = { ...this.#options.parser.state(), line: this.#endLine }
    return { offset: this.#endOffset, state }
  }

  /**
   * Parses the whole records of `slab`, which stands at `offset` in the input and is never written
   * to again. Returns how many bytes are done with. Throws BadInputError where it cannot go on.
   */
  parse(slab: Buffer, offset: number, final: boolean): number {
    const { parser } = this.#options
    this.#slab = slab
    this.#slabOffset = offset
    try {
      const done = parser.parse(slab, final, this)
      this.#endOffset = offset + done
      this.#endLine = parser.line
      return done
    } catch (error) {
      if (!(error instanceof UnreadableInputError)) throw error
      const place = { offset: offset + error.at, line: error.line }
      const options = { cause: error, advice: INPUT_ADVICE }
      throw new BadInputError(this.#options.sourceName, place, error.message, options)
    } finally {
      this.#slab = EMPTY
    }
  }

  /** The batches that are full. */
  takeFull(): ImportBatch[] {
    const ready = this.#ready
    this.#ready = []
    return ready
  }

  /** All batches, the last one as it is. */
  takeAll(): ImportBatch[] {
    this.#seal()
    return this.takeFull()
  }

  record(key: Uint8Array, value: Uint8Array, start: number, end: number, line: number): void {
    const problem = problemOf(key, value)
    if (problem !== undefined) {
      this.malformed(problem, start, end, line)
      return
    }
    const builder = this.#builder
    if (builder.wouldOverflow(key.length + value.length)) this.#seal()
    const keepsSource = this.#options.onError === 'skip'
    const source = keepsSource ? this.#slab.subarray(start, end) : undefined
    builder.add(key, value, line, this.#slabOffset + start, source)
    this.#passed(end)
    if (builder.isFull) this.#seal()
  }

  missing(key: Uint8Array, start: number, end: number, line: number): void {
    const { nullValue } = this.#options
    if (nullValue === undefined) {
      this.#nulls++
      this.#passed(end)
    } else this.record(key, nullValue, start, end, line)
  }

  malformed(problem: string, start: number, end: number, line: number): void {
    const source = this.#slab.subarray(start, end)
    this.#reject({ line, offset: this.#slabOffset + start, problem, source }, undefined)
    this.#passed(end)
  }

  /** The server refuses a record of a batch that was taken. */
  refused(batch: ImportBatch, index: number, error: KvError): void {
    const source = batch.sources?.[index] ?? EMPTY
    const line = batch.lines[index]!
    const offset = batch.offsets[index]!
    this.#reject({ line, offset, problem: error.message, source }, error)
  }

  #reject(reject: Reject, cause: KvError | undefined): void {
    const { onError, onReject, sourceName } = this.#options
    if (onError === 'stop') {
      const options = { cause, advice: RECORD_ADVICE }
      throw new BadInputError(sourceName, reject, reject.problem, options)
    }
    this.#rejected++
    onReject(reject)
  }

  #passed(end: number): void {
    this.#endOffset = this.#slabOffset + end
    this.#endLine = this.#options.parser.line
  }

  #seal(): void {
    if (this.#builder.count > 0) this.#ready.push(this.#builder.take(this.endMark, this.#nulls))
  }
}

function problemOf(key: Uint8Array, value: Uint8Array): string | undefined {
  if (key.length === 0) return 'the key is empty'
  if (key.length > SERVER_KEY_SIZE_MAX) {
    return `the key has ${key.length} bytes, more than ${SERVER_KEY_SIZE_MAX}`
  }
  if (value.length <= VALUE_SIZE_MAX) return undefined
  return `the value has ${value.length} bytes, more than ${VALUE_SIZE_MAX}`
}
