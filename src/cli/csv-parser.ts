/**
 * CSV as RFC 4180 has it, and TSV, which differs in its delimiter alone.
 *
 *   file  := row*                      row   := field ( delimiter field )* ( CR? LF | end )
 *   field := '"' ( byte | '""' )* '"'  |  any bytes but delimiter and LF, the first not '"'
 *
 * Fields are bytes: what they mean as text is nobody's business here, so any byte string survives.
 * Empty rows are passed over. Only the two fields that are wanted are ever taken out of the slab.
 *
 * A row that breaks the grammar ends at the next newline: a quote that is never closed costs its
 * own line, not the file. Only when the first row may be a header nothing can be read without it.
 */
import { bytesToText, textToBytes } from './byte-text.ts'
import { type CsvColumnOptions, type CsvColumns, settleColumns } from './csv-columns.ts'
import { Char } from './json-cursor.ts'
import {
  countNewlines,
  type ParserState,
  RECORD_SIZE_MAX,
  type RecordParser,
  type RecordSink,
  UnreadableInputError,
} from './record-format.ts'

export interface CsvParserOptions extends CsvColumnOptions {
  /** One byte: the comma, unless the file uses another. */
  readonly delimiter: number
  readonly state?: ParserState | undefined
}

/** What scanRow returns when the row goes on behind the slab. */
const INCOMPLETE = -1

export class CsvParser implements RecordParser {
  readonly #options: CsvParserOptions
  readonly #delimiter: number
  #columns: CsvColumns | undefined
  #header: Uint8Array | undefined
  /** The line at which the next row starts. */
  #line: number
  /** Fields of the row at hand: where each starts, ends, and whether it holds doubled quotes. */
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #doubled: boolean[] = []
  #fieldCount = 0
  /** Newlines inside quotes of the row at hand. */
  #innerLines = 0
  /** The line of the latest quote that opened a field. */
  #quoteLine = 0
  /** What is wrong with the row at hand. */
  #problem: string | undefined

  constructor(options: CsvParserOptions) {
    this.#options = options
    this.#delimiter = options.delimiter
    const { state } = options
    this.#columns = state?.columns
    this.#header = state?.header === undefined ? undefined : textToBytes(state.header)
    this.#line = state?.line ?? 1
  }

  parse(slab: Buffer, final: boolean, sink: RecordSink): number {
    let at = 0
    while (at < slab.length) {
      const next = this.#scanRow(slab, at, final)
      if (next === INCOMPLETE) break
      const line = this.#line
      this.#line = line + 1 + this.#innerLines
      this.#takeRow(slab, at, next, line, sink)
      at = next
    }
    if (slab.length - at > RECORD_SIZE_MAX) {
      throw new UnreadableInputError(
        `a row is longer than ${RECORD_SIZE_MAX} bytes: ${this.#unclosed()}`,
        at,
        this.#line,
      )
    }
    return at
  }

  get header(): Uint8Array | undefined {
    return this.#header
  }

  get line(): number {
    return this.#line
  }

  state(): ParserState {
    const line = this.#line
    const columns = this.#columns
    if (columns === undefined) return { line }
    const header = this.#header
    return header === undefined ? { line, columns } : { line, columns, header: bytesToText(header) }
  }

  #takeRow(slab: Buffer, start: number, next: number, line: number, sink: RecordSink): void {
    if (this.#problem !== undefined) {
      this.#malformed(this.#problem, start, next, line, sink)
      return
    }
    if (this.#fieldCount === 1 && this.#starts[0] === this.#ends[0] && slab[start] !== Char.quote) {
      return
    }
    if (this.#columns === undefined && this.#settle(slab)) {
      this.#header = Buffer.from(slab.subarray(start, next))
      return
    }
    const { key, value, count } = this.#columns!
    const least = count === 0 ? Math.max(key, value) + 1 : count
    if (this.#fieldCount < least || (count !== 0 && this.#fieldCount > count)) {
      sink.malformed(this.#countProblem(least), start, next, line)
      return
    }
    sink.record(this.#field(slab, key), this.#field(slab, value), start, next, line)
  }

  #malformed(problem: string, start: number, next: number, line: number, sink: RecordSink): void {
    if (this.#columns === undefined && this.#options.header !== false) {
      const hint = 'this first row may be the header; when it is none, say --no-header'
      throw new UnreadableInputError(`${problem} (${hint})`, start, line)
    }
    sink.malformed(problem, start, next, line)
  }

  /** Settles the columns by the first row; true when it was a header. */
  #settle(slab: Buffer): boolean {
    const row: string[] = []
    for (let index = 0; index < this.#fieldCount; index++) {
      row.push(bytesToText(this.#field(slab, index)))
    }
    const { columns, isHeader } = settleColumns(row, this.#options)
    this.#columns = columns
    return isHeader
  }

  #countProblem(expected: number): string {
    return (
      `expected ${expected} columns, found ${this.#fieldCount} ` +
      '(put a field that holds the delimiter or a quote in double quotes, ' +
      'or choose columns with --key-column and --value-column)'
    )
  }

  #field(slab: Buffer, index: number): Buffer {
    const field = slab.subarray(this.#starts[index], this.#ends[index])
    return this.#doubled[index] === true ? withoutDoubledQuotes(field) : field
  }

  /** Finds the fields of the row at `at`. Returns the offset behind it, or INCOMPLETE. */
  #scanRow(slab: Buffer, rowStart: number, final: boolean): number {
    this.#fieldCount = 0
    this.#innerLines = 0
    this.#problem = undefined
    let at = rowStart
    for (;;) {
      const after = slab[at] === Char.quote ? this.#scanQuoted(slab, at) : this.#scanBare(slab, at)
      // Only what follows tells whether a quote closes its field or is doubled.
      if (after >= slab.length && !final) return INCOMPLETE
      if (after > slab.length) {
        return this.#giveUpRow(slab, rowStart, at, final, this.#unclosed())
      }
      if (after === slab.length) return after
      if (slab[after] === this.#delimiter) {
        at = after + 1
        continue
      }
      if (slab[after] === Char.newline) return after + 1
      if (slab[after] === Char.return) {
        if (after + 1 === slab.length) return final ? after + 1 : INCOMPLETE
        if (slab[after + 1] === Char.newline) return after + 2
      }
      return this.#giveUpRow(slab, rowStart, after, final, this.#notClosing())
    }
  }

  #unclosed(): string {
    return `the double quote that opens in line ${this.#quoteLine} is not closed`
  }

  #notClosing(): string {
    const closed = this.#line + this.#innerLines
    const spans = closed === this.#quoteLine ? '' : ` (opened in line ${this.#quoteLine})`
    return `expected the delimiter or the end of the line behind a closing quote${spans}`
  }

  /** The row cannot be made sense of: the next one starts behind the next newline. */
  #giveUpRow(
    slab: Buffer,
    rowStart: number,
    from: number,
    final: boolean,
    problem: string,
  ): number {
    const newline = slab.indexOf(Char.newline, from)
    if (newline < 0 && !final) return INCOMPLETE
    this.#problem = problem
    const end = newline < 0 ? slab.length : newline
    this.#innerLines = countNewlines(slab, rowStart, end)
    return newline < 0 ? end : newline + 1
  }

  /** Returns where the field ends: at a delimiter, a newline or the end of the slab. */
  #scanBare(slab: Buffer, start: number): number {
    const delimiter = this.#delimiter
    const { length } = slab
    let at = start
    for (; at < length; at++) {
      const byte = slab[at]!
      if (byte === delimiter || byte === Char.newline) break
    }
    const beforeReturn =
      at > start && at < length && slab[at] === Char.newline && slab[at - 1] === Char.return
    this.#addField(start, beforeReturn ? at - 1 : at, false)
    return at
  }

  /** Returns the offset behind the closing quote, or more than the slab has when there is none. */
  #scanQuoted(slab: Buffer, start: number): number {
    const { length } = slab
    let doubled = false
    this.#quoteLine = this.#line + this.#innerLines
    for (let at = start + 1; at < length; at++) {
      const byte = slab[at]!
      if (byte === Char.newline) this.#innerLines++
      if (byte !== Char.quote) continue
      if (slab[at + 1] === Char.quote) {
        doubled = true
        at++
        continue
      }
      this.#addField(start + 1, at, doubled)
      return at + 1
    }
    return length + 1
  }

  #addField(start: number, end: number, doubled: boolean): void {
    const index = this.#fieldCount
    this.#starts[index] = start
    this.#ends[index] = end
    this.#doubled[index] = doubled
    this.#fieldCount = index + 1
  }
}

function withoutDoubledQuotes(field: Buffer): Buffer {
  const result = Buffer.allocUnsafeSlow(field.length)
  let length = 0
  for (let at = 0; at < field.length; at++) {
    const byte = field[at]!
    result[length++] = byte
    if (byte === Char.quote) at++
  }
  return result.subarray(0, length)
}
