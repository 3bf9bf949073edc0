/**
 * Paints a hint behind the cursor of a readline interface, and takes it away before every key, so
 * that it never gets into the line or stays on the screen behind it.
 */
import type { Interface } from 'node:readline'
import type { CliInput, CliOutput } from './cli-io.ts'
import type { Style } from './style.ts'
import { textWidth } from './text-width.ts'

const CLEAR_TO_END = '\u001b[K'
const SAVE_CURSOR = '\u001b7'
const RESTORE_CURSOR = '\u001b8'

export interface HintPainterOptions {
  readonly readline: Interface
  readonly input: CliInput
  readonly output: CliOutput
  readonly style: Style
  /** The hint for a line; '' for none. */
  readonly hintFor: (line: string) => string
}

export class HintPainter {
  readonly #options: HintPainterOptions
  #painted = false
  #enabled = true

  constructor(options: HintPainterOptions) {
    this.#options = options
    // In front of readline's own listener, and behind it.
    options.input.prependListener('keypress', () => this.erase())
    options.input.on('keypress', () => this.paint())
  }

  /** While a command runs, keys belong to nobody. */
  set enabled(enabled: boolean) {
    this.#enabled = enabled
  }

  erase(): void {
    if (!this.#painted) return
    this.#painted = false
    this.#options.output.write(CLEAR_TO_END)
  }

  paint(): void {
    const { readline, output, style, hintFor } = this.#options
    if (!this.#enabled || !style.enabled || readline.cursor !== readline.line.length) return
    const hint = hintFor(readline.line)
    const { cols, rows } = readline.getCursorPos()
    // On a line that wraps, or that the hint would make wrap, there is none.
    if (hint === '' || rows > 0 || cols + textWidth(hint) >= (output.columns ?? 80)) return
    output.write(SAVE_CURSOR + style.dim(hint) + RESTORE_CURSOR)
    this.#painted = true
  }
}
