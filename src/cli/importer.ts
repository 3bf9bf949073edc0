/**
 * Reads records from an input and stores them, in bounded memory: one slab being parsed, and the
 * batches of the window.
 *
 * Invariants:
 *  1. `mark` never passes a record that is not stored, left out on purpose, or rejected and kept.
 *  2. Repeating an import, from the start or from any mark, leads to the same store.
 *  3. Whatever ends an import, bad data or a broken input, the good records before that place are
 *     stored; only a server that is lost or a stop leave out some of those that were read.
 */
import type { Clock } from '../clock.ts'
import type { KvError } from '../errors.ts'
import type { WriteOptions } from '../key-value-store.ts'
import type { InputSource } from './cli-io.ts'
import type { ImportBatch, ImportMark } from './import-batch.ts'
import { ImportWindow } from './import-window.ts'
import { RecordBatcher, type RecordBatcherOptions } from './record-batcher.ts'
import type { RemoteStore } from './remote-store.ts'

export interface ImporterOptions extends RecordBatcherOptions {
  readonly store: Pick<RemoteStore, 'batch'>
  readonly write: WriteOptions
  /** The input from `start.offset` on. */
  readonly input: Pick<InputSource, 'chunks' | 'close'>
  /** Resolves when all rejects so far are kept for good. */
  readonly flushRejects: () => Promise<void>
  /** Told in order, after `mark` and `counts` have moved on. */
  readonly onAcknowledged: (mark: ImportMark) => void
  readonly onRetry: (error: KvError) => void
  readonly onSilence: () => void
  readonly whyAway: () => string | undefined
  readonly windowCount: number
  readonly patienceMs: number
  readonly clock: Clock
  /** Stops reading; what was sent is still waited for, a little. */
  readonly signal: AbortSignal
}

export interface ImportCounts {
  /** Records stored, as far as whole batches were acknowledged. */
  readonly records: number
  /** Bytes of their keys and values. */
  readonly bytes: number
  /** Records left out because their value is null, up to the mark. */
  readonly nulls: number
  /** Records left out because they are bad. */
  readonly rejected: number
}

/** A rest of the slab that is longer than this is one long record. */
const SLAB_SIZE_MIN = 64 * 1024
const EMPTY: Buffer = Buffer.alloc(0)
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])

export class Importer {
  readonly #options: ImporterOptions
  readonly #window: ImportWindow
  readonly #batcher: RecordBatcher
  #slab = EMPTY
  /** Offset of the slab in the input. */
  #slabOffset: number
  #mark: ImportMark
  #waitingForInput = false
  #records = 0
  #bytes = 0
  #nulls = 0

  constructor(options: ImporterOptions) {
    this.#options = options
    this.#slabOffset = options.start.offset
    this.#mark = options.start
    this.#batcher = new RecordBatcher(options)
    this.#window = new ImportWindow({
      send: (operations, signal) => options.store.batch(operations, { ...options.write, signal }),
      countMax: options.windowCount,
      patienceMs: options.patienceMs,
      clock: options.clock,
      signal: options.signal,
      onAcknowledged: (batch, refused) => this.#acknowledged(batch, refused),
      onRefused: async (batch, index, error) => {
        this.#batcher.refused(batch, index, error)
        await options.flushRejects()
      },
      onIdle: () => {
        if (this.#waitingForInput) this.#sendRest()
      },
      // A read that waits for input would keep the failure from whoever should know it.
      onFailed: () => options.input.close(),
      onRetry: options.onRetry,
      onSilence: options.onSilence,
      whyAway: options.whyAway,
    })
  }

  /** Where the import could be continued. */
  get mark(): ImportMark {
    return this.#mark
  }

  get counts(): ImportCounts {
    const { rejected } = this.#batcher
    return { records: this.#records, bytes: this.#bytes, nulls: this.#nulls, rejected }
  }

  /** Resolves true when the whole input is stored, false when the signal stopped it before. */
  async run(): Promise<boolean> {
    const { signal, input } = this.#options
    const close = (): void => input.close()
    signal.addEventListener('abort', close, { once: true })
    let failure: unknown
    try {
      if (!signal.aborted) await this.#readAll(input.chunks)
    } catch (error) {
      failure = error
    } finally {
      signal.removeEventListener('abort', close)
      input.close()
    }
    return await this.#finish(failure)
  }

  /** Brings what was read to its end. `failure` is what ended the reading, if anything. */
  async #finish(failure: unknown): Promise<boolean> {
    const { signal } = this.#options
    // First of all: behind the records that come now the mark will have passed them.
    await this.#options.flushRejects()
    try {
      await this.#push(this.#batcher.takeAll())
    } catch (error) {
      // Comes before what ended the reading: the input was ahead of the window.
      if (!signal.aborted) throw error
    }
    try {
      await this.#window.drain()
    } catch (error) {
      if (!signal.aborted) throw error
    }
    if (signal.aborted) return false
    if (failure !== undefined) throw failure
    this.#mark = this.#batcher.endMark
    this.#nulls = this.#batcher.nulls
    return true
  }

  async #readAll(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { signal } = this.#options
    const reader = chunks[Symbol.asyncIterator]()
    let waiting: Uint8Array[] = []
    let waitingBytes = 0
    for (;;) {
      const next = await this.#read(reader)
      if (signal.aborted) return
      if (next.done === true) {
        await this.#parse(waiting, true)
        return
      }
      waiting.push(next.value)
      waitingBytes += next.value.length
      // A record longer than a slab: read as much again before the next try, not piece by piece.
      const rest = this.#slab.length
      if (rest > SLAB_SIZE_MIN && waitingBytes < rest) continue
      if (rest + waitingBytes < BYTE_ORDER_MARK.length) continue
      await this.#parse(waiting, false)
      waiting = []
      waitingBytes = 0
    }
  }

  async #read(reader: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    this.#waitingForInput = true
    try {
      return await reader.next()
    } finally {
      // Also when the input breaks: what is taken from the batcher then is in no window yet.
      this.#waitingForInput = false
    }
  }

  /** Parses the rest of the slab with the chunks behind it, and sends the batches that are full. */
  async #parse(chunks: readonly Uint8Array[], final: boolean): Promise<void> {
    // A slab of its own: what it holds lives until its batches are acknowledged.
    this.#slab = Buffer.concat([this.#slab, ...chunks])
    if (this.#slabOffset === 0 && this.#startsWithMark()) this.#dropFront(BYTE_ORDER_MARK.length)
    this.#dropFront(this.#batcher.parse(this.#slab, this.#slabOffset, final))
    await this.#options.flushRejects()
    await this.#push(this.#batcher.takeFull())
    if (this.#window.isIdle && !this.#options.signal.aborted) this.#sendRest()
  }

  #startsWithMark(): boolean {
    return this.#slab.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
  }

  #dropFront(size: number): void {
    this.#slab = this.#slab.subarray(size)
    this.#slabOffset += size
  }

  async #push(batches: readonly ImportBatch[]): Promise<void> {
    for (const batch of batches) await this.#window.push(batch)
  }

  /** A slow input: what came so far need not wait for more. Requires that the window is idle. */
  #sendRest(): void {
    if (this.#options.signal.aborted) return
    if (this.#batcher.pendingCount === 0) {
      this.#nulls = this.#batcher.nulls
      this.#advance(this.#batcher.endMark)
      return
    }
    for (const batch of this.#batcher.takeAll()) this.#window.pushIdle(batch)
  }

  #acknowledged(batch: ImportBatch, refused: readonly number[]): void {
    this.#records += batch.operations.length - refused.length
    this.#bytes += batch.sizeBytes
    for (const index of refused) {
      const { key, value } = batch.operations[index]!
      this.#bytes -= key.length + value.length
    }
    this.#nulls = batch.nulls
    this.#advance(batch.mark)
  }

  #advance(mark: ImportMark): void {
    this.#mark = mark
    this.#options.onAcknowledged(mark)
  }
}
