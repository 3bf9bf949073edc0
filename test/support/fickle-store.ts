/**
 * A store in memory that answers batches when and as the test says: in any order, twice, late, or
 * not at all. What it is asked for meanwhile waits.
 */
import assert from 'node:assert/strict'
import type { ImportPut } from '../../src/cli/import-batch.ts'
import {
  AbortedError,
  InvalidArgumentError,
  type KvError,
  OverloadedError,
  TimeoutError,
  UnavailableError,
} from '../../src/errors.ts'
import type { BatchOperation, WriteOptions } from '../../src/key-value-store.ts'
import type { Random } from '../../src/random.ts'

/** A batch that waits for its answer. */
export interface PendingBatch {
  readonly operations: readonly ImportPut[]
  readonly options: WriteOptions
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

export class FickleStore {
  /** Keys and values, one character a byte. */
  readonly data = new Map<string, string>()
  readonly pending: PendingBatch[] = []
  /** Keys that hold this are refused. */
  readonly refusedMark: string
  /** Called for each batch as it comes. */
  onBatch: (batch: PendingBatch) => void = () => undefined
  attempts = 0

  constructor(refusedMark = '!') {
    this.refusedMark = refusedMark
  }

  batch(operations: readonly BatchOperation[], options: WriteOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        if (this.#take(batch)) reject(new AbortedError('aborted', { outcome: 'unknown' }))
      }
      const settle = (end: () => void): void => {
        options.signal?.removeEventListener('abort', abort)
        end()
      }
      const batch: PendingBatch = {
        operations: operations as ImportPut[],
        options,
        resolve: () => settle(resolve),
        reject: error => settle(() => reject(error)),
      }
      this.attempts++
      this.pending.push(batch)
      options.signal?.addEventListener('abort', abort)
      this.onBatch(batch)
    })
  }

  #take(batch: PendingBatch): boolean {
    const index = this.pending.indexOf(batch)
    if (index >= 0) this.pending.splice(index, 1)
    return index >= 0
  }

  isRefused(operations: readonly ImportPut[]): boolean {
    return operations.some(({ key }) => text(key).includes(this.refusedMark))
  }

  /** Stores a batch, or refuses it when a key in it is bad. */
  answer(batch: PendingBatch): void {
    assert.ok(this.#take(batch))
    if (this.isRefused(batch.operations)) {
      batch.reject(new InvalidArgumentError('this key is refused'))
      return
    }
    this.#apply(batch)
    batch.resolve()
  }

  /** Fails a batch, stored or not. */
  fail(batch: PendingBatch, error: KvError, stored: boolean): void {
    assert.ok(this.#take(batch))
    if (stored && !this.isRefused(batch.operations)) this.#apply(batch)
    batch.reject(error)
  }

  #apply(batch: PendingBatch): void {
    for (const { key, value } of batch.operations) this.data.set(text(key), text(value))
  }

  /** Answers all that wait, and all that comes from now on. */
  answerAlways(): void {
    this.onBatch = batch => this.answer(batch)
    for (const batch of [...this.pending]) this.answer(batch)
  }

  /** Answers one of those that wait, well or with an error that may pass. */
  answerAnyhow(random: Random): void {
    const batch = this.pending[random.below(this.pending.length)]
    if (batch === undefined) return
    switch (random.below(6)) {
      case 0:
        this.fail(batch, new OverloadedError('too much', random.below(200)), false)
        break
      case 1:
        this.fail(batch, new UnavailableError('lost', { outcome: 'unknown' }), true)
        break
      case 2:
        this.fail(batch, new UnavailableError('gone'), false)
        break
      case 3:
        this.fail(batch, new TimeoutError('late'), random.below(2) === 0)
        break
      default:
        this.answer(batch)
    }
  }
}
