/**
 * One record as a JSON object: {"key": …, "value": …}, where "key64" and "value64" hold base64
 * instead, for bytes that are not UTF-8. Other members are passed over.
 *
 * A value that is not a string is stored as the JSON text it stands in; null means that there is
 * nothing to store.
 */
import { assert } from '../assert.ts'
import { equalBytes, utf8Encode } from '../bytes.ts'
import { decodeDigits } from './data-encoding.ts'
import { Char, type JsonCursor, JsonProblem } from './json-cursor.ts'

export interface RecordFieldNames {
  readonly key: string
  readonly value: string
}

export const DEFAULT_FIELD_NAMES: RecordFieldNames = { key: 'key', value: 'value' }

export class RecordReader {
  #key: Uint8Array | undefined
  #value: Uint8Array | null | undefined
  readonly #names: RecordFieldNames
  readonly #keyName: Uint8Array
  readonly #key64Name: Uint8Array
  readonly #valueName: Uint8Array
  readonly #value64Name: Uint8Array

  constructor(names: RecordFieldNames = DEFAULT_FIELD_NAMES) {
    this.#names = names
    this.#keyName = utf8Encode(names.key)
    this.#key64Name = utf8Encode(`${names.key}64`)
    this.#valueName = utf8Encode(names.value)
    this.#value64Name = utf8Encode(`${names.value}64`)
  }

  /** Of the object read last. */
  get key(): Uint8Array {
    assert(this.#key !== undefined, 'an object was read')
    return this.#key
  }

  /** Null when the record says null. */
  get value(): Uint8Array | null {
    assert(this.#value !== undefined, 'an object was read')
    return this.#value
  }

  /** Passes the object that starts here and fills `key` and `value`. Throws JsonProblem. */
  read(cursor: JsonCursor): void {
    this.#key = undefined
    this.#value = undefined
    cursor.expect(Char.openBrace, `an object like {"${this.#names.key}":"…"}`)
    const start = cursor.at - 1
    if (cursor.peek() === Char.closeBrace) cursor.at++
    else this.#readMembers(cursor)
    if (this.#key === undefined) throw this.#lacks(this.#names.key, start)
    if (this.#value === undefined) throw this.#lacks(this.#names.value, start)
  }

  #readMembers(cursor: JsonCursor): void {
    for (;;) {
      const name = cursor.takeString('a member name in quotes')
      cursor.expect(Char.colon, "':' behind a member name")
      this.#readMember(name, cursor)
      if (cursor.peek() === Char.closeBrace) break
      cursor.expect(Char.comma, "',' or '}' behind a member")
    }
    cursor.at++
  }

  #readMember(name: Buffer, cursor: JsonCursor): void {
    if (equalBytes(name, this.#keyName)) this.#key = cursor.takeString('a key in quotes')
    else if (equalBytes(name, this.#valueName)) this.#value = takeStoredValue(cursor)
    else if (equalBytes(name, this.#key64Name)) this.#key = takeBase64(cursor)
    else if (equalBytes(name, this.#value64Name)) this.#value = takeBase64(cursor)
    else cursor.takeValue()
  }

  #lacks(name: string, at: number): JsonProblem {
    return new JsonProblem(`the object has no "${name}" and no "${name}64"`, at)
  }
}

/** The bytes to store for the value that starts here; null for null. */
export function takeStoredValue(cursor: JsonCursor): Buffer | null {
  if (cursor.peek() === Char.quote) return cursor.takeString('a value')
  if (cursor.takeNull()) return null
  return cursor.takeValue()
}

function takeBase64(cursor: JsonCursor): Uint8Array {
  cursor.peek()
  const { at } = cursor
  const text = cursor.takeString('base64 in quotes').toString('latin1')
  const bytes = decodeDigits(text, 'base64')
  if (bytes === undefined) throw new JsonProblem('expected base64 in quotes', at)
  return bytes
}
