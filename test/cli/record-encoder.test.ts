// Goal: what export writes, import reads back, whatever the bytes: every format, delimiter,
// encoding and piece. What is written is what the format's own readers expect.
// Method: arbitrary records, rich in what formats stumble over, through encoder and parser; JSON
// against JSON.parse and JSON.stringify; examples pin the bytes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ByteWriter } from '../../src/bytes.ts'
import { CsvParser } from '../../src/cli/csv-parser.ts'
import type { DataEncoding } from '../../src/cli/data-encoding.ts'
import { DecodingParser } from '../../src/cli/decoding-parser.ts'
import { JsonParser } from '../../src/cli/json-parser.ts'
import { JsonlParser } from '../../src/cli/jsonl-parser.ts'
import { createEncoder } from '../../src/cli/record-encoder.ts'
import type { RecordFormat, RecordParser } from '../../src/cli/record-format.ts'
import { cuts, latin1, parsePieces } from '../support/record-parsing.ts'
import { printSeed } from '../support/seed.ts'

type Pair = readonly [key: Uint8Array, value: Uint8Array]

interface Style {
  readonly format: RecordFormat
  readonly delimiter?: string
  readonly header?: boolean
  readonly encoding?: DataEncoding
}

const piece = fc.oneof(
  fc.constantFrom('"', '""', ',', '\t', '\n', '\r', '\r\n', '\\', '\0', ';', '=', 'key', 'value'),
  fc.constantFrom(
    '\xef\xbb\xbf',
    '\xc3\xa9',
    '\xe2\x82',
    '\xed\xa0\x80',
    '\xff',
    '\xf0\x9f\x98\x80',
  ),
  fc.nat({ max: 255 }).map(byte => String.fromCharCode(byte)),
)
const bytesOf = (min: number) =>
  fc
    .array(piece, { minLength: min, maxLength: 6 })
    .map(parts => Uint8Array.from(Buffer.from(parts.join(''), 'latin1')))
const records = fc.array(fc.tuple(bytesOf(1), bytesOf(0)), { maxLength: 6 })

function encode(pairs: readonly Pair[], style: Style): Buffer {
  const { format, delimiter = ',', header = true, encoding = 'text' } = style
  const options = { delimiter: delimiter.charCodeAt(0), header, encoding }
  const encoder = createEncoder(format, options)
  const target = new ByteWriter()
  encoder.begin(target)
  for (const [key, value] of pairs) encoder.record(target, key, value)
  encoder.end(target)
  return Buffer.from(target.written)
}

function parserOf(style: Style): RecordParser {
  const { format, delimiter = ',', header, encoding = 'text' } = style
  if (format === 'jsonl') return new JsonlParser()
  if (format === 'json') return new JsonParser()
  const known = header === false ? { header } : {}
  const parser = new CsvParser({ delimiter: delimiter.charCodeAt(0), ...known })
  return encoding === 'text' ? parser : new DecodingParser(parser, encoding)
}

const STYLES: readonly Style[] = [
  { format: 'jsonl' },
  { format: 'json' },
  { format: 'csv' },
  { format: 'csv', header: false },
  { format: 'csv', delimiter: ';' },
  { format: 'csv', delimiter: 'e' },
  { format: 'csv', encoding: 'hex' },
  { format: 'csv', encoding: 'hex', delimiter: '0' },
  { format: 'csv', encoding: 'base64' },
  { format: 'csv', encoding: 'base64', delimiter: '=' },
  { format: 'tsv', delimiter: '\t' },
]

describe('what is exported is read back:', () => {
  for (const style of STYLES) {
    test(JSON.stringify(style), t => {
      const seed = printSeed(t)
      fc.assert(
        fc.property(records, cuts, (pairs, places) => {
          const parsed = parsePieces(() => parserOf(style), encode(pairs, style), places)
          assert.deepEqual(
            parsed.findings.map(finding => {
              assert.ok(finding.kind === 'record', JSON.stringify(finding))
              return [finding.key, finding.value]
            }),
            pairs.map(([key, value]) => [latin1(key), latin1(value)]),
          )
        }),
        { seed, numRuns: 200 },
      )
    })
  }

  test('a value of many megabytes', () => {
    const value = new Uint8Array(9 * 1024 * 1024).fill(0x22)
    value[0] = 0xff
    const style = { format: 'jsonl' } as const
    const input = encode([[Uint8Array.of(1), value]], style)
    const [found] = parsePieces(() => parserOf(style), input).findings
    assert.ok(found?.kind === 'record')
    assert.ok(Buffer.from(found.value, 'latin1').equals(value))
  })
})

const utf8 = fc.string({ unit: 'binary', minLength: 1, maxLength: 8 })

test('JSON is laid out as JSON.stringify does it', t => {
  const seed = printSeed(t)
  fc.assert(
    fc.property(fc.uniqueArray(utf8, { maxLength: 5 }), utf8, (keys, value) => {
      const named = keys.filter(key => !/^\d+$/.test(key) && key !== '__proto__')
      const text = encode(
        named.map(key => [Buffer.from(key), Buffer.from(value)]),
        { format: 'json' },
      ).toString()
      const object = Object.fromEntries(named.map(key => [key, value]))
      assert.equal(text, `${JSON.stringify(object, null, 2)}\n`)
    }),
    { seed, numRuns: 300 },
  )
})

test('JSON lines say the same to any reader of JSON', t => {
  const seed = printSeed(t)
  fc.assert(
    fc.property(bytesOf(1), bytesOf(0), (key, value) => {
      const text = encode([[key, value]], { format: 'jsonl' }).toString()
      assert.equal(text.indexOf('\n'), text.length - 1)
      const record = JSON.parse(text) as Record<string, string>
      for (const [name, bytes] of [
        ['key', key],
        ['value', value],
      ] as const) {
        const { [name]: plain, [`${name}64`]: coded } = record
        const read = plain === undefined ? Buffer.from(coded!, 'base64') : Buffer.from(plain)
        assert.ok(read.equals(bytes))
      }
      assert.equal(Object.keys(record).length, 2)
    }),
    { seed, numRuns: 500 },
  )
})

test('the bytes of each format', () => {
  const pairs: Pair[] = [
    [Buffer.from('a'), Buffer.from('1,"2"')],
    [Buffer.of(0xff), Buffer.from('é\n')],
    [Buffer.from('\ufeffb'), Buffer.from('')],
  ]
  const text = (style: Style): string => latin1(encode(pairs, style))
  assert.equal(
    text({ format: 'jsonl' }),
    '{"key":"a","value":"1,\\"2\\""}\n{"key64":"/w==","value":"\xc3\xa9\\n"}\n' +
      '{"key":"\xef\xbb\xbfb","value":""}\n',
  )
  assert.equal(
    text({ format: 'json' }),
    '{\n  "a": "1,\\"2\\"",\n  "\\udcff": "\xc3\xa9\\n",\n  "\xef\xbb\xbfb": ""\n}\n',
  )
  assert.equal(
    text({ format: 'csv' }),
    'key,value\na,"1,""2"""\n\xff,"\xc3\xa9\n"\n"\xef\xbb\xbfb",\n',
  )
  assert.equal(
    text({ format: 'tsv', delimiter: '\t', header: false, encoding: 'hex' }),
    '61\t312c223222\nff\tc3a90a\nefbbbf62\t\n',
  )
  assert.equal(latin1(encode([], { format: 'json' })), '{}\n')
  assert.equal(latin1(encode([], { format: 'jsonl' })), '')
})
