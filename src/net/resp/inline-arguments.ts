/**
 * Words of an inline command, by the rules of Redis (sdssplitargs): separated by blanks; in double
 * quotes with \xHH, \n, \r, \t, \b, \a and \ before anything else; in single quotes with \' only.
 */
import { isHexDigit, isSpace } from './characters.ts'

const DOUBLE_QUOTE = 0x22
const SINGLE_QUOTE = 0x27
const BACKSLASH = 0x5c
const LOWER_X = 0x78

/** Word i is bytes[starts[i], ends[i]). */
export interface InlineArguments {
  readonly bytes: Uint8Array
  readonly starts: readonly number[]
  readonly ends: readonly number[]
}

/** The words of line[start, end), in memory of their own; undefined when quotes do not match. */
export function splitInline(
  line: Uint8Array,
  start: number,
  end: number,
): InlineArguments | undefined {
  const splitter = new InlineSplitter(line, start, end)
  return splitter.run() ? splitter : undefined
}

const ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [0x62, 0x08],
  [0x61, 0x07],
])

class InlineSplitter implements InlineArguments {
  readonly bytes: Uint8Array
  readonly starts: number[] = []
  readonly ends: number[] = []
  readonly #line: Uint8Array
  readonly #end: number
  #at: number
  #length = 0

  constructor(line: Uint8Array, start: number, end: number) {
    this.#line = line
    this.#at = start
    this.#end = end
    this.bytes = new Uint8Array(end - start)
  }

  /** False when quotes do not match. */
  run(): boolean {
    for (;;) {
      while (this.#at < this.#end && isSpace(this.#line[this.#at]!)) this.#at++
      if (this.#at === this.#end) return true
      this.starts.push(this.#length)
      if (!this.#word()) return false
      this.ends.push(this.#length)
    }
  }

  #word(): boolean {
    while (this.#at < this.#end) {
      const byte = this.#line[this.#at]!
      if (isSpace(byte)) return true
      this.#at++
      // The word ends with its quotes.
      if (byte === DOUBLE_QUOTE) return this.#quoted()
      if (byte === SINGLE_QUOTE) return this.#singleQuoted()
      this.bytes[this.#length++] = byte
    }
    return true
  }

  #quoted(): boolean {
    while (this.#at < this.#end) {
      const byte = this.#line[this.#at++]!
      if (byte === DOUBLE_QUOTE) return this.#isAtWordEnd
      if (byte === BACKSLASH && this.#at < this.#end) this.#escape()
      else this.bytes[this.#length++] = byte
    }
    return false
  }

  #escape(): void {
    const line = this.#line
    const byte = line[this.#at]!
    const high = this.#at + 1
    if (byte === LOWER_X && high + 1 < this.#end && isHexDigit(line[high]!)) {
      if (isHexDigit(line[high + 1]!)) {
        const digits = String.fromCharCode(line[high]!, line[high + 1]!)
        this.bytes[this.#length++] = Number.parseInt(digits, 16)
        this.#at += 3
        return
      }
    }
    this.#at++
    this.bytes[this.#length++] = ESCAPES.get(byte) ?? byte
  }

  #singleQuoted(): boolean {
    while (this.#at < this.#end) {
      const byte = this.#line[this.#at++]!
      if (byte === SINGLE_QUOTE) return this.#isAtWordEnd
      const isEscaped = byte === BACKSLASH && this.#line[this.#at] === SINGLE_QUOTE
      if (isEscaped && this.#at < this.#end) {
        this.bytes[this.#length++] = SINGLE_QUOTE
        this.#at++
      } else this.bytes[this.#length++] = byte
    }
    return false
  }

  get #isAtWordEnd(): boolean {
    return this.#at === this.#end || isSpace(this.#line[this.#at]!)
  }
}
