// Goal: a JSON object is a record when it says key and value, in whatever form and order; what it
// says besides does not matter.
// Method: a table of objects. (jsonl-parser.test.ts has what is malformed.)
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JsonCursor } from '../../src/cli/json-cursor.ts'
import { RecordReader } from '../../src/cli/record-reader.ts'

const RECORDS: readonly (readonly [string, string, string | null])[] = [
  ['{"key":"a","value":"b"}', 'a', 'b'],
  ['{"value64":"/w==","key64":"AAE="}', '\0\x01', '\xff'],
  ['{"value64":"/w","key":""}', '', '\xff'],
  ['{"x":{"key":"no"},"key":"a","value":[1, 2]}', 'a', '[1, 2]'],
  ['{"key":"a","value":null}', 'a', null],
  ['{"key":"a","value":"null"}', 'a', 'null'],
  ['{"key":"a","value":1,"value":2}', 'a', '2'],
  ['{"k\\u0065y":"a","value":true}', 'a', 'true'],
]

const reader = new RecordReader()

for (const [text, key, value] of RECORDS) {
  test(text, () => {
    const bytes = Buffer.from(`${text} `)
    const cursor = new JsonCursor()
    cursor.reset(bytes, 0, bytes.length, true)
    reader.read(cursor)
    assert.equal(Buffer.from(reader.key).toString('latin1'), key)
    const stored = reader.value === null ? null : Buffer.from(reader.value).toString('latin1')
    assert.equal(stored, value)
    assert.equal(cursor.at, text.length)
  })
}
