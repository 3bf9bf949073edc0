/**
 * A BATCH decoded some operations at a time, so that one of 65,536 does not hold the event loop for
 * the tens of milliseconds that it takes as a whole.
 */
import { ByteReader } from '../bytes.ts'
import { checkedBatchCount, decodeOperation } from './request-body.ts'
import type { HandlerOperation } from './request-handler.ts'

export class BatchDecoder {
  readonly operations: HandlerOperation[] = []
  readonly #reader: ByteReader
  readonly #count: number

  /**
   * Decodes the body of a BATCH, which its operations borrow. Throws DecodeError, and
   * InvalidArgumentError for more than `operationsMax` operations.
   */
  constructor(body: Uint8Array, operationsMax: number) {
    this.#reader = new ByteReader(body)
    this.#count = checkedBatchCount(this.#reader, operationsMax)
  }

  /** Decodes up to `countMax` more; false when that was all. Throws DecodeError. */
  decodeMore(countMax: number): boolean {
    const end = Math.min(this.#count, this.operations.length + countMax)
    while (this.operations.length < end) this.operations.push(decodeOperation(this.#reader))
    if (end < this.#count) return true
    this.#reader.expectEnd()
    return false
  }
}
