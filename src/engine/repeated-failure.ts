/**
 * When work in the background keeps failing, those who wait for it are refused instead of kept:
 * on a full disk a put says so and returns, and close() comes to its end. The work itself is tried
 * again (job-runner.ts); once it succeeds, writes are taken as before.
 */
import { IoError, KvError, toError } from '../errors.ts'
import { systemErrorCode } from './file-system.ts'
import { adviceFor } from './io-failure.ts'

/** One failure may be a moment's; the retry half a second later tells. */
const FAILURES_MIN = 2

export class RepeatedFailure {
  readonly #what: string
  #count = 0
  #last: Error | undefined

  /** `what` the work is, for the message: "a flush". */
  constructor(what: string) {
    this.#what = what
  }

  failed(error: unknown): void {
    this.#count++
    this.#last = toError(error)
  }

  succeeded(): void {
    this.#count = 0
    this.#last = undefined
  }

  /** What to tell a writer who would have to wait; undefined while waiting makes sense. */
  refusal(isClosing: boolean): IoError | undefined {
    if (this.#last === undefined || this.#count < (isClosing ? 1 : FAILURES_MIN)) return undefined
    return new IoError(
      `${this.#what} keeps failing (${this.#last.message}), so writes are refused until one ` +
        `succeeds; reads go on, and it is tried again by itself${adviceOn(this.#last)}`,
      { cause: this.#last },
    )
  }
}

/** What to do meanwhile; errors of our own say it themselves. */
function adviceOn(error: Error): string {
  const code = systemErrorCode(error)
  return error instanceof KvError || code === undefined ? '' : `: ${adviceFor(code)}`
}
