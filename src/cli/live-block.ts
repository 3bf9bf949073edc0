/**
 * Lines at the lower end of a terminal that are drawn anew in place: each drawing covers the one
 * before, and the last one stays when the block ends, with the cursor behind it.
 *
 * Invariant: a drawing never has more lines than the terminal, nor longer ones; what scrolled out
 * of the screen could not be covered any more.
 */
import { stripVTControlCharacters } from 'node:util'
import type { CliOutput } from './cli-io.ts'
import { fitText, textWidth } from './text-width.ts'

/** Of a terminal that does not say. */
const WIDTH_STANDARD = 80
const HEIGHT_STANDARD = 24

export class LiveBlock {
  readonly #terminal: CliOutput
  /** Lines on the screen that the next drawing covers. */
  #height = 0

  /** Requires that `terminal` is one. */
  constructor(terminal: CliOutput) {
    this.#terminal = terminal
  }

  /** Draws the lines in place of those before. Lines have no control characters but colours. */
  show(lines: readonly string[]): void {
    // A terminal that does not keep up gets the next drawing instead.
    if (this.#terminal.writableNeedDrain) return
    const { columns = 0, rows = 0 } = this.#terminal
    // The last column stays free: writing to it wraps the line on some terminals.
    const width = (columns > 0 ? columns : WIDTH_STANDARD) - 1
    // The cursor stands in the line behind the block.
    const height = (rows > 0 ? rows : HEIGHT_STANDARD) - 1
    const shown = lines.slice(0, Math.max(1, height)).map(line => `${fit(line, width)}\u001b[K\n`)
    const up = this.#height === 0 ? '' : `\u001b[${this.#height}A`
    this.#terminal.write(`\r${up}${shown.join('')}\u001b[J`)
    this.#height = shown.length
  }
}

/** A line that is cut loses its colours. */
function fit(line: string, width: number): string {
  return textWidth(line) <= width ? line : fitText(stripVTControlCharacters(line), width)
}
