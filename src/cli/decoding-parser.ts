/** A parser whose keys and values stand in the input as hex or base64 digits. */
import { asBuffer } from './byte-text.ts'
import { decodeDigits } from './data-encoding.ts'
import type { ParserState, RecordParser, RecordSink } from './record-format.ts'

export class DecodingParser implements RecordParser {
  readonly #inner: RecordParser
  readonly #encoding: 'hex' | 'base64'

  constructor(inner: RecordParser, encoding: 'hex' | 'base64') {
    this.#inner = inner
    this.#encoding = encoding
  }

  get header(): Uint8Array | undefined {
    return this.#inner.header
  }

  get line(): number {
    return this.#inner.line
  }

  state(): ParserState {
    return this.#inner.state()
  }

  parse(slab: Buffer, final: boolean, sink: RecordSink): number {
    const encoding = this.#encoding
    return this.#inner.parse(slab, final, {
      record(key, value, start, end, line) {
        const plainKey = decodeDigits(asBuffer(key).toString('latin1'), encoding)
        const plainValue = decodeDigits(asBuffer(value).toString('latin1'), encoding)
        if (plainKey === undefined || plainValue === undefined) {
          const what = plainKey === undefined ? 'key' : 'value'
          sink.malformed(`the ${what} is not ${encoding}`, start, end, line)
        } else {
          sink.record(plainKey, plainValue, start, end, line)
        }
      },
      missing: (key, start, end, line) => sink.missing(key, start, end, line),
      malformed: (problem, start, end, line) => sink.malformed(problem, start, end, line),
    })
  }
}
