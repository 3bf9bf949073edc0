/**
 * One JSON document, however large, read as it streams by:
 *
 *   document := '{' ( string ':' value ( ',' string ':' value )* )? '}'
 *             | '[' ( element ( ',' element )* )? ']'
 *   element  := '[' string ',' value ']' | record object (record-reader.ts)
 *
 * A document that breaks off or breaks this grammar cannot be read on from there, so every problem
 * in it is an UnreadableInputError. Records that are well-formed but cannot be stored (an empty
 * key) can still be skipped; `recordLine` makes each a line that JSON lines can be read from.
 */
import { Char, JsonCursor, JsonEnd, JsonProblem } from './json-cursor.ts'
import {
  countNewlines,
  type ParserState,
  RECORD_SIZE_MAX,
  type RecordParser,
  type RecordSink,
  UnreadableInputError,
} from './record-format.ts'
import { type RecordFieldNames, RecordReader, takeStoredValue } from './record-reader.ts'

export interface JsonParserOptions {
  readonly names?: RecordFieldNames | undefined
  readonly state?: ParserState | undefined
}

export class JsonParser implements RecordParser {
  readonly #cursor = new JsonCursor()
  readonly #reader: RecordReader
  #container: 'object' | 'array' | undefined
  /** True right behind the opening bracket. */
  #first: boolean
  #closed: boolean

  constructor(options: JsonParserOptions = {}) {
    const { names, state } = options
    this.#reader = new RecordReader(names)
    this.#container = state?.container
    this.#first = this.#container === undefined || state?.edge === 'first'
    this.#closed = state?.edge === 'closed'
    this.#cursor.line = state?.line ?? 1
  }

  parse(slab: Buffer, final: boolean, sink: RecordSink): number {
    const cursor = this.#cursor
    cursor.reset(slab, 0, slab.length, final)
    const wasClosed = this.#closed
    let done = 0
    let doneLine = cursor.line
    try {
      this.#open()
      while (!this.#closed) {
        done = cursor.at
        doneLine = cursor.line
        if (!this.#element(sink)) break
      }
      this.#expectNothing()
      return cursor.at
    } catch (error) {
      if (error instanceof JsonProblem) {
        // The state stays that of the last record.
        this.#closed = wasClosed
        const line = doneLine + countNewlines(slab, done, error.at)
        throw new UnreadableInputError(error.message, error.at, line)
      }
      if (!(error instanceof JsonEnd)) throw error
      if (final) throw this.#brokenOff(slab.length, cursor.line)
      if (slab.length - done > RECORD_SIZE_MAX) {
        throw new UnreadableInputError(
          `a record is longer than ${RECORD_SIZE_MAX} bytes`,
          done,
          doneLine,
        )
      }
      cursor.line = doneLine
      return done
    }
  }

  get line(): number {
    return this.#cursor.line
  }

  state(): ParserState {
    const { line } = this.#cursor
    if (this.#container === undefined) return { line }
    const state = { line, container: this.#container }
    if (this.#closed) return { ...state, edge: 'closed' }
    return this.#first ? { ...state, edge: 'first' } : state
  }

  #open(): void {
    if (this.#container !== undefined) return
    const cursor = this.#cursor
    const byte = cursor.peek()
    if (byte === -1) throw new JsonEnd('no document has begun yet')
    if (byte === Char.openBrace) this.#container = 'object'
    else if (byte === Char.openBracket) this.#container = 'array'
    else throw cursor.problem("expected a JSON document that starts with '{' or '['")
    cursor.at++
  }

  /** Passes one element and the comma before it; false once the document is closed. */
  #element(sink: RecordSink): boolean {
    const cursor = this.#cursor
    const close = this.#container === 'object' ? Char.closeBrace : Char.closeBracket
    const byte = cursor.peek()
    if (byte === close) {
      cursor.at++
      this.#closed = true
      return false
    }
    if (!this.#first) {
      const shown = String.fromCharCode(close)
      cursor.expect(Char.comma, `',' or '${shown}' behind an element`)
    }
    if (cursor.peek() === -1) throw new JsonEnd('an element follows')
    const start = cursor.at
    const line = cursor.line
    const [key, value] = this.#container === 'object' ? this.#member() : this.#arrayElement()
    this.#first = false
    if (value === null) sink.missing(key, start, cursor.at, line)
    else sink.record(key, value, start, cursor.at, line)
    return true
  }

  #member(): [Uint8Array, Uint8Array | null] {
    const cursor = this.#cursor
    const key = cursor.takeString('a key in quotes')
    cursor.expect(Char.colon, "':' behind a key")
    return [key, takeStoredValue(cursor)]
  }

  #arrayElement(): [Uint8Array, Uint8Array | null] {
    const cursor = this.#cursor
    if (cursor.peek() === Char.openBracket) {
      cursor.at++
      const key = cursor.takeString('a key in quotes')
      cursor.expect(Char.comma, "',' behind the key of a pair")
      const value = takeStoredValue(cursor)
      cursor.expect(Char.closeBracket, "']' behind the value of a pair")
      return [key, value]
    }
    this.#reader.read(cursor)
    return [this.#reader.key, this.#reader.value]
  }

  #expectNothing(): void {
    const cursor = this.#cursor
    if (cursor.peek() === -1) return
    throw cursor.problem(
      'expected nothing behind the JSON document (for one object a line use --format jsonl)',
    )
  }

  #brokenOff(at: number, line: number): UnreadableInputError {
    const what =
      this.#container === undefined
        ? 'there is no JSON document in the input'
        : 'the input ends inside the JSON document'
    return new UnreadableInputError(what, at, line)
  }
}

const NEWLINES = /[\r\n]/g

/**
 * An element of a document as one line of JSON lines with the same key and value, character for
 * character. Requires an element that was parsed.
 */
export function recordLine(element: Buffer, names: RecordFieldNames): Buffer {
  const cursor = new JsonCursor()
  cursor.reset(element, 0, element.length, true)
  const first = cursor.peek()
  // Inside strings line breaks are escaped, so those that are found stand between tokens.
  const text = (from: number, to: number): string =>
    element.toString('utf8', from, to).replace(NEWLINES, ' ')
  if (first === Char.openBrace) return Buffer.from(`${text(0, element.length)}\n`)
  const isPair = first === Char.openBracket
  if (isPair) cursor.at++
  cursor.peek()
  const keyAt = cursor.at
  cursor.takeString('a key in quotes')
  const key = text(keyAt, cursor.at)
  cursor.expect(isPair ? Char.comma : Char.colon, 'what parts key and value')
  cursor.peek()
  const value = text(cursor.at, element.length - (isPair ? 1 : 0))
  return Buffer.from(
    `{${JSON.stringify(names.key)}:${key},${JSON.stringify(names.value)}:${value}}\n`,
  )
}
