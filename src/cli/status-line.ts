/** One line on a terminal that tells how something goes, until its result takes its place. */
import type { CliOutput } from './cli-io.ts'
import { fitText } from './text-width.ts'

/** Columns of a terminal that does not say. */
const WIDTH_STANDARD = 80

export class StatusLine {
  readonly #terminal: CliOutput
  readonly #isShown: boolean
  #isThere = false

  /** Shows nothing where nobody looks: `isWanted` is false, or the output is no terminal. */
  constructor(terminal: CliOutput, isWanted: boolean) {
    this.#terminal = terminal
    this.#isShown = isWanted && terminal.isTTY === true
  }

  show(text: string): void {
    if (!this.#isShown) return
    this.#isThere = true
    const { columns = 0 } = this.#terminal
    // The last column stays free: writing to it wraps the line on some terminals.
    const width = (columns > 0 ? columns : WIDTH_STANDARD) - 1
    this.#terminal.write(`\r${fitText(text, width)}\u001b[K`)
  }

  /** Takes the line away. Idempotent. */
  clear(): void {
    if (this.#isThere) this.#terminal.write('\r\u001b[K')
    this.#isThere = false
  }
}
