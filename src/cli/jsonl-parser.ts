/** JSON lines: one record object a line (record-reader.ts). Empty lines are passed over. */
import { Char, JsonCursor, JsonEnd, JsonProblem } from './json-cursor.ts'
import {
  type ParserState,
  RECORD_SIZE_MAX,
  type RecordParser,
  type RecordSink,
  UnreadableInputError,
} from './record-format.ts'
import { type RecordFieldNames, RecordReader } from './record-reader.ts'

export interface JsonlParserOptions {
  readonly names?: RecordFieldNames | undefined
  readonly state?: ParserState | undefined
}

export class JsonlParser implements RecordParser {
  readonly #cursor = new JsonCursor()
  readonly #reader: RecordReader
  /** The line that comes next. */
  #line: number

  constructor(options: JsonlParserOptions = {}) {
    this.#reader = new RecordReader(options.names)
    this.#line = options.state?.line ?? 1
  }

  parse(slab: Buffer, final: boolean, sink: RecordSink): number {
    let at = 0
    while (at < slab.length) {
      const newline = slab.indexOf(Char.newline, at)
      if (newline < 0 && !final) break
      const end = newline < 0 ? slab.length : newline
      const next = newline < 0 ? end : newline + 1
      this.#line++
      this.#parseLine(slab, at, end, next, sink)
      at = next
    }
    if (slab.length - at > RECORD_SIZE_MAX) {
      throw new UnreadableInputError(
        `a line is longer than ${RECORD_SIZE_MAX} bytes: is this one JSON object a line?`,
        at,
        this.#line,
      )
    }
    return at
  }

  get line(): number {
    return this.#line
  }

  state(): ParserState {
    return { line: this.#line }
  }

  #parseLine(slab: Buffer, start: number, end: number, next: number, sink: RecordSink): void {
    const cursor = this.#cursor
    const reader = this.#reader
    const line = this.#line - 1
    cursor.reset(slab, start, end, true)
    if (cursor.peek() === -1) return
    try {
      reader.read(cursor)
      if (cursor.peek() !== -1) throw cursor.problem('expected nothing behind the object')
    } catch (error) {
      sink.malformed(describe(error, start), start, next, line)
      return
    }
    const { key, value } = reader
    if (value === null) sink.missing(key, start, next, line)
    else sink.record(key, value, start, next, line)
  }
}

function describe(error: unknown, lineStart: number): string {
  if (error instanceof JsonEnd) return 'the line ends inside the JSON object'
  if (error instanceof JsonProblem) return `${error.message} (column ${error.at - lineStart + 1})`
  throw error
}
