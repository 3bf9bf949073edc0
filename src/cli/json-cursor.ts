/**
 * A position in JSON text held as bytes: steps over tokens without making strings or objects of
 * them, which is what lets an import of millions of records keep up with the network.
 *
 * It stops in two ways. JsonEnd: the bytes ran out inside a token, and more of them may help.
 * JsonProblem: no bytes that follow can make this JSON.
 */
import { isUtf8 } from 'node:buffer'
import { hasStraySurrogate, textToBytes } from './byte-text.ts'

/** The bytes ran out. Thrown as the one instance of JSON_END: it says all there is to say. */
export class JsonEnd extends Error {
  override readonly name = 'JsonEnd'
}
export const JSON_END = new JsonEnd('the JSON text goes on behind these bytes')

export class JsonProblem extends Error {
  override readonly name = 'JsonProblem'
  readonly at: number

  constructor(problem: string, at: number) {
    super(problem)
    this.at = at
  }
}

export const Char = {
  tab: 0x09,
  newline: 0x0a,
  return: 0x0d,
  space: 0x20,
  quote: 0x22,
  comma: 0x2c,
  zero: 0x30,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  lowerN: 0x6e,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const

const EMPTY = Buffer.alloc(0)
const DEPTH_MAX = 1000

export class JsonCursor {
  bytes: Buffer = EMPTY
  at = 0
  end = 0
  /** Newlines passed, plus one. */
  line = 1
  /** True when nothing follows `end`, so that a number may end there. */
  final = false

  reset(bytes: Buffer, at: number, end: number, final: boolean): void {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.final = final
  }

  /** Passes white space. Returns the byte behind it without passing it, or -1 at the end. */
  peek(): number {
    const { bytes, end } = this
    let at = this.at
    while (at < end) {
      const byte = bytes[at]!
      if (byte > Char.space) break
      if (byte === Char.newline) this.line++
      else if (byte !== Char.space && byte !== Char.return && byte !== Char.tab) break
      at++
    }
    this.at = at
    return at < end ? bytes[at]! : -1
  }

  /** Passes white space and then exactly this byte. */
  expect(byte: number, what: string): void {
    const found = this.peek()
    if (found === -1) throw JSON_END
    if (found !== byte) throw this.problem(`expected ${what}`)
    this.at++
  }

  problem(expectation: string): JsonProblem {
    const byte = this.bytes[this.at]
    const shown = byte === undefined || this.at >= this.end ? 'the end' : showByte(byte)
    return new JsonProblem(`${expectation}, found ${shown}`, this.at)
  }

  /** The bytes of the string that starts here: a view of the text when it has no escapes. */
  takeString(what: string): Buffer {
    this.expect(Char.quote, what)
    const { bytes, end } = this
    const start = this.at
    let at = start
    let seen = 0
    let escaped = false
    for (; at < end; at++) {
      const byte = bytes[at]!
      if (byte === Char.quote) break
      if (byte === Char.backslash) {
        escaped = true
        at++
      } else if (byte < Char.space) {
        throw new JsonProblem(`a string holds the raw control character ${showByte(byte)}`, at)
      }
      seen |= byte
    }
    if (at >= end) throw JSON_END
    this.at = at + 1
    const content = bytes.subarray(start, at)
    if (seen >= 0x80 && !isUtf8(content)) throw new JsonProblem('a string is not UTF-8', start)
    return escaped ? withoutEscapes(content, start) : content
  }

  /** Passes any value and returns the bytes it stands in, checked to be JSON. */
  takeValue(): Buffer {
    const first = this.peek()
    const start = this.at
    if (first === -1) throw JSON_END
    if (first === Char.openBrace || first === Char.openBracket) this.#passNested()
    else if (first === Char.quote) this.takeString('a string')
    else this.#passWord()
    const text = this.bytes.subarray(start, this.at)
    try {
      JSON.parse(text.toString('utf8'))
    } catch {
      // Whatever the parser calls it, what matters is where it stands.
      throw new JsonProblem('expected a JSON value', start)
    }
    return text
  }

  /** Passes `null` when it comes next. */
  takeNull(): boolean {
    if (this.peek() !== Char.lowerN) return false
    const { bytes, at, end } = this
    if (end - at < 4) throw this.final ? this.problem('expected a JSON value') : JSON_END
    if (bytes[at + 1] !== 0x75 || bytes[at + 2] !== 0x6c || bytes[at + 3] !== 0x6c) return false
    this.at = at + 4
    return true
  }

  /** Passes a number, true or false: anything up to a delimiter. */
  #passWord(): void {
    const { bytes, end } = this
    let at = this.at
    while (at < end && !isDelimiter(bytes[at]!)) at++
    if (at === end && !this.final) throw JSON_END
    if (at === this.at) throw this.problem('expected a JSON value')
    this.at = at
  }

  /** Passes an object or array by its brackets alone. */
  #passNested(): void {
    const { bytes, end } = this
    let depth = 0
    for (let at = this.at; at < end; at++) {
      const byte = bytes[at]!
      if (byte === Char.quote) {
        this.at = at
        this.takeString('a string')
        at = this.at - 1
      } else if (byte === Char.newline) {
        this.line++
      } else if (byte === Char.openBrace || byte === Char.openBracket) {
        depth++
        if (depth > DEPTH_MAX) throw new JsonProblem(`nested deeper than ${DEPTH_MAX}`, at)
      } else if (byte === Char.closeBrace || byte === Char.closeBracket) {
        depth--
        if (depth > 0) continue
        this.at = at + 1
        return
      }
    }
    throw JSON_END
  }
}

function isDelimiter(byte: number): boolean {
  return (
    byte <= Char.space ||
    byte === Char.comma ||
    byte === Char.closeBrace ||
    byte === Char.closeBracket ||
    byte === Char.quote ||
    byte === Char.colon
  )
}

function withoutEscapes(content: Buffer, at: number): Buffer {
  let text: unknown
  try {
    text = JSON.parse(`"${content.toString('utf8')}"`)
  } catch {
    // The only thing that can be wrong here is an escape.
    throw new JsonProblem('a string holds an unknown escape', at)
  }
  if (typeof text !== 'string') throw new JsonProblem('expected a string', at)
  if (hasStraySurrogate(text)) {
    throw new JsonProblem('a string holds half of a surrogate pair, which UTF-8 cannot say', at)
  }
  return Buffer.from(textToBytes(text))
}

function showByte(byte: number): string {
  if (byte === Char.newline) return 'the end of the line'
  if (byte > Char.space && byte < 0x7f) return `'${String.fromCharCode(byte)}'`
  return `byte 0x${byte.toString(16).padStart(2, '0')}`
}
