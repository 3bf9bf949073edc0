/**
 * A command of the REPL whose quote is still open at the end of a line goes on in the next one,
 * and the line end becomes part of the quoted text:
 *
 *   kv@127.0.0.1:7700> put note "first
 *   ...> second"
 *
 * In the history it is one line that says the same, with \n for the line end.
 */
import { textToBytes } from './byte-text.ts'
import { formatCommandLine, tokenize, tokenizeUnfinished } from './command-line.ts'
import { UsageError } from './usage-error.ts'

export class UnfinishedLine {
  #text: string | undefined
  /** What stands for `#text` in the history of readline. */
  #remembered: string | undefined

  /** True while a quote is open. */
  get isOpen(): boolean {
    return this.#text !== undefined
  }

  /** One more line. Returns the command when it is whole. */
  take(line: string): string | undefined {
    const text = this.#with(line)
    if (hasOpenQuote(text)) {
      this.#text = text
      return undefined
    }
    const wasOpen = this.isOpen
    this.clear()
    return wasOpen ? onOneLine(text) : text
  }

  clear(): void {
    this.#text = undefined
    this.#remembered = undefined
  }

  /** `history` has just got `line` in front, before `take` gets it. */
  remember(history: string[]): void {
    const [line = ''] = history
    const text = this.#with(line)
    if (this.#text !== undefined) {
      const withPart = history[1] === this.#remembered ? 2 : 1
      history.splice(0, withPart, onOneLine(text))
    }
    this.#remembered = history[0]
  }

  #with(line: string): string {
    return this.#text === undefined ? line : `${this.#text}\n${line}`
  }
}

/** A line that is wrong otherwise is no longer waited for: it gets its error. */
function hasOpenQuote(text: string): boolean {
  try {
    return tokenizeUnfinished(text).at(-1)?.closed === false
  } catch (error) {
    if (error instanceof UsageError) return false
    throw error
  }
}

/** The same command without line ends; the text itself when it is no command. */
function onOneLine(text: string): string {
  try {
    const tokens = hasOpenQuote(text) ? tokenizeUnfinished(text) : tokenize(text)
    return formatCommandLine(tokens.map(token => textToBytes(token.text)))
  } catch (error) {
    if (error instanceof UsageError) return text.replaceAll('\n', ' ')
    throw error
  }
}
