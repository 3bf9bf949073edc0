/**
 * A batch as it was committed and as the log hands it back: to the caller of open after a restart,
 * and to those who follow the changes.
 *
 * ChangeBatches puts batches together again from the ops of a log, one at a time, and copies only
 * what its owner wants, so that it holds one batch in memory whatever the size of the log.
 */
import { AssertionError } from '../assert.ts'
import { copyBytes } from '../bytes.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { EntryKind, EXPIRY_SIZE, readExpiry } from './internal-key.ts'
import type { EngineOperation } from './write-group.ts'

/** The sequences of a batch: one for each of its operations, without a gap. */
export interface SequenceRange {
  /** Of the first operation. */
  readonly sequence: number
  readonly lastSequence: number
}

/** What one call wrote: all of it or nothing is there after a crash. */
export interface ChangeBatch extends SequenceRange {
  /** In the order of the call. `expiryMs` is absolute, in milliseconds since the Unix epoch. */
  readonly operations: readonly EngineOperation[]
  /** The blob that the call put beside them. */
  readonly logData?: Uint8Array
}

export interface ChangeBatchOptions {
  /** Batches without log data are passed over, at no cost. */
  readonly withLogDataOnly: boolean
  /**
   * Gives a copy of bytes[start, end), for values and log data; it may be filled later.
   * @defaultValue copied at once
   */
  readonly copy?: (bytes: Uint8Array, start: number, end: number) => Uint8Array
}

export class ChangeBatches {
  readonly #expiry: ExpiryClock
  readonly #withLogDataOnly: boolean
  readonly #copy: (bytes: Uint8Array, start: number, end: number) => Uint8Array
  #sequence = 0
  #logData: Uint8Array | undefined
  #operations: EngineOperation[] = []
  #isOpen = false

  constructor(expiry: ExpiryClock, options: ChangeBatchOptions) {
    this.#expiry = expiry
    this.#withLogDataOnly = options.withLogDataOnly
    this.#copy = options.copy ?? copyBytes
  }

  /** Takes an op of the log (see WalVisitor.op). Returns the batch that it completes, if wanted. */
  add(
    kind: EntryKind,
    sequence: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
    more: boolean,
  ): ChangeBatch | undefined {
    if (!this.#isOpen) {
      this.#isOpen = true
      this.#sequence = sequence
      this.#logData = undefined
      // The last ones belong to whoever got the batch.
      if (this.#operations.length > 0) this.#operations = []
    }
    if (kind === EntryKind.logData) {
      this.#logData = this.#copy(valueBytes, valueStart, valueEnd)
    } else if (!this.#withLogDataOnly || this.#logData !== undefined) {
      const key = copyBytes(keyBytes, keyStart, keyEnd)
      this.#operations.push(this.#operation(kind, key, valueBytes, valueStart, valueEnd))
    }
    if (more) return undefined
    this.#isOpen = false
    const logData = this.#logData
    if (logData === undefined && this.#withLogDataOnly) return undefined
    return {
      sequence: this.#sequence,
      lastSequence: sequence,
      operations: this.#operations,
      ...(logData !== undefined && { logData }),
    }
  }

  #operation(
    kind: EntryKind,
    key: Uint8Array,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): EngineOperation {
    switch (kind) {
      case EntryKind.put:
        return { type: 'put', key, value: this.#copy(bytes, start, end), expiryMs: 0 }
      case EntryKind.putExpiring: {
        const value = this.#copy(bytes, start + EXPIRY_SIZE, end)
        return { type: 'put', key, value, expiryMs: this.#expiry.toWall(readExpiry(bytes, start)) }
      }
      case EntryKind.delete:
        return { type: 'del', key }
      case EntryKind.deleteRange:
        return { type: 'del-range', key, end: copyBytes(bytes, start, end) }
      default:
        throw new AssertionError(`a batch has no operation of kind ${kind}`)
    }
  }
}
