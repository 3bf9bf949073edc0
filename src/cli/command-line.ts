/**
 * The command line of the REPL and of piped commands, as tokens and back.
 *
 *   line    := space* ( token ( space+ token )* )? space*  |  space* '#' anything
 *   token   := bare | double | single
 *   bare    := any characters but space, the first neither '"' nor "'"
 *   double  := '"' ( character | escape )* '"'
 *   single  := "'" character* "'"
 *   escape  := '\' ( 'n' | 'r' | 't' | '0' | '\' | '"' | 'x' hex hex )
 *
 * Quotes count only where a token starts, so `put user:1 {"name":"Ada"}` stores what it shows.
 * `\xHH` is a byte, not a character: a token is a byte string, and its text is that of
 * byte-text.ts. A quoted token ends where its quote does: a space or the end must follow.
 *
 * Invariant: the tokens of formatCommandLine(tokens) are `tokens`, whatever bytes they hold.
 */
import { bytesToText, textToBytes } from './byte-text.ts'
import { UsageError } from './usage-error.ts'

export interface Token {
  /** The token's bytes as the text of byte-text.ts. */
  readonly text: string
  /** Where it stands in the line, quotes included: [start, end). */
  readonly start: number
  readonly end: number
  /** False only for the last token of an unfinished line. */
  readonly closed: boolean
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '0': '\0',
  '\\': '\\',
  '"': '"',
}
const HEX_PAIR = /^[0-9a-fA-F]{2}/

/** The tokens of a line. Throws UsageError, naming the column, for a quote that does not end. */
export function tokenize(line: string): Token[] {
  const tokens = tokenizeUnfinished(line)
  const last = tokens.at(-1)
  if (last !== undefined && !last.closed) {
    throw new UsageError(`the quote that opens at column ${last.start + 1} is not closed`)
  }
  return tokens
}

/** As tokenize, but the last token may lack its closing quote: somebody is still typing. */
export function tokenizeUnfinished(line: string): Token[] {
  const tokens: Token[] = []
  let at = skipSpace(line, 0)
  if (line[at] === '#') return tokens
  while (at < line.length) {
    const token = readToken(line, at)
    tokens.push(token)
    if (token.closed && token.end < line.length && !isSpace(line[token.end]!)) {
      throw new UsageError(
        `a space must follow the closing quote at column ${token.end}; ` +
          'inside double quotes write \\" for a quote',
      )
    }
    at = skipSpace(line, token.end)
  }
  return tokens
}

function readToken(line: string, start: number): Token {
  if (line[start] === '"') return readDouble(line, start)
  if (line[start] === "'") {
    const close = line.indexOf("'", start + 1)
    const end = close < 0 ? line.length : close
    const text = line.slice(start + 1, end)
    return { text, start, end: close < 0 ? end : end + 1, closed: close >= 0 }
  }
  let end = start
  while (end < line.length && !isSpace(line[end]!)) end++
  return { text: line.slice(start, end), start, end, closed: true }
}

function readDouble(line: string, start: number): Token {
  const bytes = new TextWriter(line)
  let from = start + 1
  for (let at = from; at < line.length; ) {
    const character = line[at]
    if (character === '"') {
      return { text: bytes.finish(from, at), start, end: at + 1, closed: true }
    }
    if (character !== '\\') {
      at++
      continue
    }
    bytes.copy(from, at)
    from = line.length
    if (at + 1 === line.length) break
    const escaped = readEscape(line, at)
    bytes.add(escaped.byte)
    from = at = escaped.end
  }
  return { text: bytes.finish(from, line.length), start, end: line.length, closed: false }
}

/** Parts of a line and bytes between them, as one text. Cheap, for values of many megabytes. */
class TextWriter {
  readonly #line: string
  #bytes: Buffer | undefined
  #size = 0

  constructor(line: string) {
    this.#line = line
  }

  copy(from: number, to: number): void {
    const part = textToBytes(this.#line.slice(from, to))
    this.#room().set(part, this.#size)
    this.#size += part.length
  }

  add(byte: number): void {
    this.#room()[this.#size++] = byte
  }

  finish(from: number, to: number): string {
    if (this.#bytes === undefined) return this.#line.slice(from, to)
    this.copy(from, to)
    return bytesToText(this.#bytes.subarray(0, this.#size))
  }

  #room(): Buffer {
    // No character takes more than three bytes a unit.
    this.#bytes ??= Buffer.allocUnsafe(3 * this.#line.length)
    return this.#bytes
  }
}

function readEscape(line: string, at: number): { byte: number; end: number } {
  const letter = line[at + 1]!
  const simple = SIMPLE_ESCAPES[letter]
  if (simple !== undefined) return { byte: simple.charCodeAt(0), end: at + 2 }
  const digits = line.slice(at + 2, at + 4)
  if (letter === 'x' && HEX_PAIR.test(digits)) {
    return { byte: Number.parseInt(digits, 16), end: at + 4 }
  }
  throw new UsageError(
    `unknown escape \\${letter} at column ${at + 1}; ` +
      'known are \\n \\r \\t \\0 \\\\ \\" and \\xHH, or use single quotes to take text as it is',
  )
}

function isSpace(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\r' || character === '\n'
}

function skipSpace(line: string, from: number): number {
  let at = from
  while (at < line.length && isSpace(line[at]!)) at++
  return at
}

/**
 * Characters that a terminal would act on, or that cannot be seen: controls, bidirectional and
 * other format characters, line separators. The joiner inside emoji is fine.
 */
const UNSEEN = /(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
const UNSEEN_OR_SPECIAL = /(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}"\\]/gu
const NEEDS_QUOTES = /^["'#]|\s|^$/

/** True when every character of the bytes can be shown as it is. Spaces count as seen. */
export function isShowable(text: string): boolean {
  return !UNSEEN.test(text)
}

/** One token that reads back as `bytes`: bare when that is clear, in double quotes otherwise. */
export function formatToken(bytes: Uint8Array): string {
  const text = bytesToText(bytes)
  if (isShowable(text) && !NEEDS_QUOTES.test(text)) return text
  return quoteText(text)
}

/** The token in double quotes, with escapes for all that cannot be seen. */
function quoteText(text: string): string {
  return `"${text.replace(UNSEEN_OR_SPECIAL, escapeCharacter)}"`
}

/** As formatToken, in quotes in any case: to complete a token that began with a quote. */
export function formatQuotedToken(bytes: Uint8Array): string {
  return quoteText(bytesToText(bytes))
}

export function formatCommandLine(tokens: readonly Uint8Array[]): string {
  return tokens.map(formatToken).join(' ')
}

function escapeCharacter(character: string): string {
  const known = ESCAPED.get(character)
  if (known !== undefined) return known
  return Array.from(textToBytes(character), escapeByte).join('')
}

function escapeByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}

/** The escapes of single characters: of the controls, and of bytes that are no text. */
const ESCAPED: ReadonlyMap<string, string> = new Map([
  ...Array.from({ length: 0x80 }, (_, byte) => [String.fromCharCode(byte), escapeByte(byte)]),
  ...Array.from({ length: 0x80 }, (_, index) => {
    return [bytesToText(Uint8Array.of(0x80 + index)), escapeByte(0x80 + index)]
  }),
  // A digit after \0 would read as a longer escape elsewhere; \x00 is clear everywhere.
  ...Object.entries(SIMPLE_ESCAPES).flatMap(([letter, meaning]) => {
    return letter === '0' ? [] : [[meaning, `\\${letter}`]]
  }),
] as [string, string][])
