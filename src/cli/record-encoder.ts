/**
 * Records as the bytes of an export file; the parsers of the same format read them back exactly.
 *
 *  - jsonl: {"key":…,"value":…} a line; "key64"/"value64" with base64 for what is not UTF-8.
 *  - json: one object, a member a line, laid out as JSON.stringify(object, null, 2) does it. Bytes
 *    that are not UTF-8 are lone surrogates, "\udcXX" (byte-text.ts).
 *  - csv, tsv: a header, then a row a record, fields in quotes where RFC 4180 wants them.
 *
 * Invariant: the same records in the same order give the same bytes.
 */
import { isUtf8 } from 'node:buffer'
import { type ByteWriter, utf8Encode } from '../bytes.ts'
import { asBuffer, bytesToText } from './byte-text.ts'
import { type DataEncoding, encodeDigits } from './data-encoding.ts'
import { Char } from './json-cursor.ts'
import type { RecordFormat } from './record-format.ts'

export interface RecordEncoder {
  /** What stands before the first record. */
  begin(target: ByteWriter): void
  record(target: ByteWriter, key: Uint8Array, value: Uint8Array): void
  /** What stands behind the last record. */
  end(target: ByteWriter): void
}

export interface RecordEncoderOptions {
  /** CSV and TSV: the byte between fields. */
  readonly delimiter: number
  /** CSV and TSV: whether the first row names the columns. */
  readonly header: boolean
  /** CSV and TSV: how fields are written; other formats decide for themselves. */
  readonly encoding: DataEncoding
}

export function createEncoder(format: RecordFormat, options: RecordEncoderOptions): RecordEncoder {
  switch (format) {
    case 'jsonl':
      return new JsonlEncoder()
    case 'json':
      return new JsonEncoder()
    case 'csv':
    case 'tsv':
      return new CsvEncoder(options)
  }
}

const KEY = utf8Encode('{"key":')
const KEY64 = utf8Encode('{"key64":"')
const VALUE = utf8Encode(',"value":')
const VALUE64 = utf8Encode(',"value64":"')
const RECORD_END = utf8Encode('}\n')

class JsonlEncoder implements RecordEncoder {
  begin(): void {
    // A line says everything of its record.
  }

  record(target: ByteWriter, key: Uint8Array, value: Uint8Array): void {
    writeJsonMember(target, key, KEY, KEY64)
    writeJsonMember(target, value, VALUE, VALUE64)
    target.raw(RECORD_END)
  }

  end(): void {
    // Nothing was opened.
  }
}

function writeJsonMember(
  target: ByteWriter,
  bytes: Uint8Array,
  name: Uint8Array,
  name64: Uint8Array,
): void {
  if (isUtf8(bytes)) {
    target.raw(name)
    writeJsonString(target, bytes)
  } else {
    target
      .raw(name64)
      .raw(Buffer.from(encodeDigits(bytes, 'base64'), 'latin1'))
      .uint8(Char.quote)
  }
}

/** Requires UTF-8. */
function writeJsonString(target: ByteWriter, bytes: Uint8Array): void {
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]!
    if (byte >= Char.space && byte !== Char.quote && byte !== Char.backslash) continue
    target.raw(utf8Encode(JSON.stringify(asBuffer(bytes).toString('utf8'))))
    return
  }
  target.uint8(Char.quote).raw(bytes).uint8(Char.quote)
}

const OBJECT_BEGIN = utf8Encode('{')
const MEMBER_FIRST = utf8Encode('\n  ')
const MEMBER_NEXT = utf8Encode(',\n  ')
const COLON = utf8Encode(': ')
const OBJECT_END = utf8Encode('\n}\n')
const EMPTY_OBJECT_END = utf8Encode('}\n')

class JsonEncoder implements RecordEncoder {
  #empty = true

  begin(target: ByteWriter): void {
    target.raw(OBJECT_BEGIN)
  }

  record(target: ByteWriter, key: Uint8Array, value: Uint8Array): void {
    target.raw(this.#empty ? MEMBER_FIRST : MEMBER_NEXT)
    this.#empty = false
    writeLosslessString(target, key)
    target.raw(COLON)
    writeLosslessString(target, value)
  }

  end(target: ByteWriter): void {
    target.raw(this.#empty ? EMPTY_OBJECT_END : OBJECT_END)
  }
}

function writeLosslessString(target: ByteWriter, bytes: Uint8Array): void {
  if (isUtf8(bytes)) writeJsonString(target, bytes)
  else target.raw(utf8Encode(JSON.stringify(bytesToText(bytes))))
}

/** What Excel and others put in front of UTF-8; a file must not seem to begin with it. */
const BYTE_ORDER_MARK_FIRST = 0xef

const KEY_TITLE = utf8Encode('key')
const VALUE_TITLE = utf8Encode('value')

class CsvEncoder implements RecordEncoder {
  readonly #options: RecordEncoderOptions

  constructor(options: RecordEncoderOptions) {
    this.#options = options
  }

  begin(target: ByteWriter): void {
    if (!this.#options.header) return
    this.#text(target, KEY_TITLE)
    target.uint8(this.#options.delimiter)
    this.#text(target, VALUE_TITLE)
    target.uint8(Char.newline)
  }

  record(target: ByteWriter, key: Uint8Array, value: Uint8Array): void {
    this.#field(target, key)
    target.uint8(this.#options.delimiter)
    this.#field(target, value)
    target.uint8(Char.newline)
  }

  end(): void {
    // A row says everything of its record.
  }

  #field(target: ByteWriter, bytes: Uint8Array): void {
    const { encoding } = this.#options
    this.#text(target, encoding === 'text' ? bytes : utf8Encode(encodeDigits(bytes, encoding)))
  }

  #text(target: ByteWriter, bytes: Uint8Array): void {
    if (!this.#needsQuotes(bytes)) target.raw(bytes)
    else target.uint8(Char.quote).raw(withDoubledQuotes(bytes)).uint8(Char.quote)
  }

  #needsQuotes(bytes: Uint8Array): boolean {
    if (bytes[0] === BYTE_ORDER_MARK_FIRST) return true
    const { delimiter } = this.#options
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index]!
      if (byte === delimiter || byte === Char.quote) return true
      if (byte === Char.newline || byte === Char.return) return true
    }
    return false
  }
}

function withDoubledQuotes(bytes: Uint8Array): Uint8Array {
  let count = 0
  for (let at = 0; at < bytes.length; at++) if (bytes[at] === Char.quote) count++
  if (count === 0) return bytes
  const doubled = new Uint8Array(bytes.length + count)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    doubled[length++] = byte
    if (byte === Char.quote) doubled[length++] = byte
  }
  return doubled
}
