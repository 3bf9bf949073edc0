/**
 * Why writes are refused while reads go on, and what a writer gets when the log cannot be continued
 * for want of something: it is whole, and his write is not in it, so whoever writes next tries
 * again. Told to the log of the program once at its beginning and once at its end.
 */
import type { Logger } from '../logger.ts'
import { ioFailure, isDiskFull, isShortage } from './io-failure.ts'

/**
 * Why writes are refused while reads go on: no room on the disk, no file to be had, or a failure of
 * the disk or of the work in the background.
 */
export type WriteRefusal = 'space' | 'files' | 'failure'

/** What of the three an error is. */
export function refusalReason(error: unknown): WriteRefusal {
  if (isDiskFull(error)) return 'space'
  return isShortage(error) ? 'files' : 'failure'
}

export class LogRefusal {
  readonly #logger: Logger
  #reason: WriteRefusal | undefined

  /** `reason` is in force already, and was told. */
  constructor(logger: Logger, reason: WriteRefusal | undefined) {
    this.#logger = logger
    this.#reason = reason
  }

  /** Undefined unless the last try to continue the log met a shortage. */
  get reason(): WriteRefusal | undefined {
    return this.#reason
  }

  /** What the writer gets: the error itself, unless it is a shortage (io-failure.ts). */
  of(error: unknown): unknown {
    if (!isShortage(error)) return error
    const what = 'the log cannot be continued, so writes are refused and reads go on'
    const refusal = ioFailure(error, what)
    if (this.#reason === undefined) this.#logger.error('writes are refused', { error: refusal })
    this.#reason = refusalReason(error)
    return refusal
  }

  /** The log could be continued. */
  end(): void {
    if (this.#reason === undefined) return
    this.#reason = undefined
    this.#logger.info('writes are taken again: the log could be continued')
  }
}
