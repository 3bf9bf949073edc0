/**
 * A batch of puts that is put together over several turns of the event loop, straight into the
 * frame in which it will be written, and takes its place among other writes when it is committed:
 * what is submitted before that comes before it. Preparing 65,536 puts takes twenty milliseconds
 * that nobody has to give at once.
 */
import { describe } from '../arguments.ts'
import { InvalidArgumentError } from '../errors.ts'
import { BATCH_COUNT_MAX, BATCH_SIZE_MAX, type Durability } from '../key-value-store.ts'
import { checkOptions } from '../option-names.ts'
import { checkBytes, checkExpiry, checkKey } from './batch-operations.ts'
import { DURABILITY_OPTIONS } from './call-options.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import type { WalFrameBuilder } from './wal-frame.ts'

export type CommitFrame = (
  builder: WalFrameBuilder,
  durability: Durability | undefined,
) => Promise<void>

export class PreparedWrite {
  readonly #builder: WalFrameBuilder
  readonly #expiry: ExpiryClock
  readonly #commit: CommitFrame
  /** Operations of the frame that belong to nobody's put. */
  readonly #extraCount: number
  readonly #putCount: number
  #committed = false

  /**
   * `builder` is empty and belongs to this batch; `logData` goes into the log with it. Throws
   * InvalidArgumentError. Db.prepareWrite makes them.
   */
  constructor(
    putCount: number,
    builder: WalFrameBuilder,
    expiry: ExpiryClock,
    commit: CommitFrame,
    logData?: Uint8Array,
  ) {
    if (!Number.isInteger(putCount) || putCount < 1 || putCount > BATCH_COUNT_MAX) {
      const got = describe(putCount)
      throw new InvalidArgumentError(`a batch holds 1 to ${BATCH_COUNT_MAX} puts, got ${got}`)
    }
    this.#putCount = putCount
    this.#extraCount = logData === undefined ? 0 : 1
    this.#builder = builder
    this.#expiry = expiry
    this.#commit = commit
    builder.beginBatch(putCount + this.#extraCount)
    if (logData === undefined) return
    checkBytes(logData, 'logData')
    if (logData.length > BATCH_SIZE_MAX) throw tooLarge()
    builder.addLogData(logData)
  }

  /**
   * Adds a put; `expiryMs` is in milliseconds since the Unix epoch, 0 for never. Requires a key and
   * a value within the limits, which are borrowed. Throws InvalidArgumentError for
   * anything else, when the batch was committed, or has become too large and must be dropped.
   */
  put(key: Uint8Array, value: Uint8Array, expiryMs: number): void {
    const builder = this.#builder
    this.#checkOpen()
    checkKey(key)
    checkBytes(value, 'value')
    checkExpiry(expiryMs)
    if (builder.size + key.length + value.length > BATCH_SIZE_MAX) {
      throw tooLarge()
    }
    if (expiryMs === 0) builder.addPut(key, value)
    else builder.addPutExpiring(key, value, this.#expiry.fromWall(expiryMs))
  }

  /**
   * Resolves when all are as durable as asked; after a crash all of them are there or none. Throws
   * InvalidArgumentError unless there are as many puts as were announced, and the second time.
   */
  commit(options?: { readonly durability?: Durability | undefined }): Promise<void> {
    checkOptions(options, DURABILITY_OPTIONS)
    this.#checkOpen()
    const puts = this.#builder.opCount - this.#extraCount
    if (puts !== this.#putCount) {
      throw new InvalidArgumentError(
        `a batch for which ${this.#putCount} puts were announced is committed with as many, ` +
          `got ${puts}`,
      )
    }
    this.#committed = true
    return this.#commit(this.#builder, options?.durability)
  }

  #checkOpen(): void {
    if (!this.#committed) return
    throw new InvalidArgumentError('this batch was committed: begin another with prepareWrite')
  }
}

function tooLarge(): InvalidArgumentError {
  return new InvalidArgumentError(`a batch holds at most ${BATCH_SIZE_MAX} bytes: split it`)
}
