// Goal: digits in a table become their bytes; a field that holds none is malformed at its place.
// Method: a table with every kind of row, cut everywhere. (record-encoder.test.ts has the round
// trips.)
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CsvParser } from '../../src/cli/csv-parser.ts'
import { DecodingParser } from '../../src/cli/decoding-parser.ts'
import { checkPlaces, parsePieces } from '../support/record-parsing.ts'

test('rows that are not digits are malformed, others are decoded', () => {
  const input = Buffer.from('KEY,value\n00ff,6162\n0,61\n61,zz\n"a",b,c\n61,\n')
  const create = () => new DecodingParser(new CsvParser({ delimiter: 0x2c }), 'hex')
  const whole = parsePieces(create, input)
  checkPlaces(input, whole, /^(?:KEY,value\n)?$/)
  assert.deepEqual(
    whole.findings.map(finding => {
      return finding.kind === 'malformed' ? finding.problem.slice(0, 25) : Object.values(finding)
    }),
    [
      ['record', '\0\xff', 'ab', { start: 10, end: 20, line: 2 }],
      'the key is not hex',
      'the value is not hex',
      'expected 2 columns, found',
      ['record', 'a', '', { start: 39, end: 43, line: 6 }],
    ],
  )
  for (let cut = 0; cut <= input.length; cut++) {
    assert.deepEqual(parsePieces(create, input, [cut]), whole)
  }
})

test('header, line and state are those of the table', () => {
  const inner = new CsvParser({ delimiter: 0x2c })
  const parser = new DecodingParser(inner, 'base64')
  parsePieces(() => parser, Buffer.from('value,key\nYQ==,Yg==\n'))
  assert.equal(Buffer.from(parser.header!).toString(), 'value,key\n')
  assert.equal(parser.line, 3)
  assert.deepEqual(parser.state(), inner.state())
})
