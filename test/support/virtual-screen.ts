/**
 * What somebody at a terminal sees: the control sequences that readline and kvcli use, applied to
 * rows of characters. Anything else is an error, so that no test passes by not understanding.
 */
import { Writable } from 'node:stream'
import type { CliOutput } from '../../src/cli/cli-io.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what this is about
const SEQUENCE = /^\u001b(?:\[(\??[\d;]*)([A-Za-z])|([78]))/

export class VirtualScreen extends Writable implements CliOutput {
  readonly isTTY = true
  columns: number
  rows = 1000
  /** Everything written, as it came. */
  raw = ''
  bracketedPaste = false
  #lines: string[][] = [[]]
  #row = 0
  #column = 0
  #saved: readonly [number, number] = [0, 0]

  constructor(columns = 120) {
    super({ decodeStrings: false })
    this.columns = columns
  }

  /** The rows, without the spaces at their ends and without empty rows at the end. */
  get lines(): string[] {
    const lines = this.#lines.map(line => Array.from(line, cell => cell ?? ' ').join(''))
    const shown = lines.map(line => line.trimEnd())
    while (shown.at(-1) === '') shown.pop()
    return shown
  }

  get lastLine(): string {
    return this.lines.at(-1) ?? ''
  }

  /** Where the cursor stands, from 0. */
  get cursor(): { readonly row: number; readonly column: number } {
    return { row: this.#row, column: this.#column }
  }

  /** The terminal gets another width; what is on it stays as it is. */
  resize(columns: number): void {
    this.columns = columns
    this.emit('resize')
  }

  override _write(chunk: Uint8Array | string, _encoding: string, done: () => void): void {
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
    this.raw += text
    for (let at = 0; at < text.length; ) at += this.#apply(text, at)
    done()
  }

  /** Applies what stands at `at` and returns its length. */
  #apply(text: string, at: number): number {
    const character = String.fromCodePoint(text.codePointAt(at) ?? 0)
    if (character === '\u001b') return this.#sequence(text.slice(at, at + 20))
    if (character === '\r') {
      this.#column = 0
    } else if (character === '\n') {
      // The terminal's driver makes "\r\n" of it.
      this.#column = 0
      this.#row++
    } else if (character === '\u0007') {
      // A bell shows nothing.
    } else if (character === '\t') {
      this.#column = (Math.floor(this.#column / 8) + 1) * 8
    } else {
      this.#put(character)
    }
    this.#lines[this.#row] ??= []
    return character.length
  }

  #put(character: string): void {
    if (this.#column >= this.columns) {
      this.#column = 0
      this.#row++
    }
    this.#lines[this.#row] ??= []
    this.#lines[this.#row]![this.#column++] = character
  }

  #sequence(text: string): number {
    const match = SEQUENCE.exec(text)
    if (match === null) throw new Error(`not a control sequence: ${JSON.stringify(text)}`)
    const [whole, parameters = '', letter = '', single] = match
    if (single === '7') this.#saved = [this.#row, this.#column]
    else if (single === '8') [this.#row, this.#column] = this.#saved
    else this.#control(letter, parameters)
    return whole.length
  }

  #control(letter: string, parameters: string): void {
    const count = Number(parameters) || 1
    if (letter === 'm') return
    if (letter === 'A') this.#row = Math.max(0, this.#row - count)
    else if (letter === 'B') this.#row += count
    else if (letter === 'C') this.#column += count
    else if (letter === 'D') this.#column = Math.max(0, this.#column - count)
    else if (letter === 'G') this.#column = count - 1
    else if (letter === 'K' && parameters === '') this.#clearLine()
    else if (letter === 'J' && (parameters === '' || parameters === '0')) this.#clearBelow()
    else if (parameters === '?2004') this.bracketedPaste = letter === 'h'
    else throw new Error(`an unknown control sequence: ${parameters}${letter}`)
  }

  #clearLine(): void {
    this.#lines[this.#row]?.splice(this.#column)
  }

  #clearBelow(): void {
    this.#clearLine()
    this.#lines.splice(this.#row + 1)
  }
}
