// Goal: each line of JSON lines is a record or is told as malformed with its line and column, and
// neither costs another line, however the input is cut.
// Method: random records in random lines and pieces; random soup of tokens, whole against cut; each
// line against JSON.parse.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { JsonlParser } from '../../src/cli/jsonl-parser.ts'
import { RECORD_SIZE_MAX, type RecordSink } from '../../src/cli/record-format.ts'
import { jsonString, jsonValue, space, storedBytes } from '../support/json-texts.ts'
import { checkPlaces, cuts, latin1, parsePieces, soup } from '../support/record-parsing.ts'
import { printSeed } from '../support/seed.ts'

const create = () => new JsonlParser()
const oneLine = (text: string): string => text.replace(/[\r\n]/g, ' ')

describe('lines', () => {
  test('good ones come back, however written and cut', t => {
    const seed = printSeed(t)
    const record = fc.tuple(jsonString, jsonValue, space, fc.constantFrom('\n', '\r\n', '\n \n'))
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 6 }),
        cuts,
        fc.boolean(),
        (records, places, open) => {
          const lines = records.map(([key, value, gap, end]) => {
            return oneLine(`${gap}{"x":[1],"key"${gap}:${key},"value":${gap}${value}}${gap}`) + end
          })
          const text = open ? lines.join('').trimEnd() : lines.join('')
          const input = Buffer.from(text)
          const parsed = parsePieces(create, input, places)
          checkPlaces(input, parsed, /^\s*$/)
          assert.deepEqual(
            parsed.findings.map(({ at: _, ...finding }) => finding),
            records.map(([name, value]) => {
              const key = latin1(storedBytes(name))
              if (value === 'null') return { kind: 'missing', key }
              return { kind: 'record', key, value: latin1(storedBytes(oneLine(value))) }
            }),
          )
        },
      ),
      { seed, numRuns: 500 },
    )
  })

  test('any input gives the same findings cut and whole, and nothing of it is lost', t => {
    const seed = printSeed(t)
    const good = '{"key":"k","value":"v"}\n'
    const pieces = soup(
      '{',
      '}',
      '"key"',
      ':',
      ',',
      '"value"',
      'null',
      '\n',
      ' ',
      '\\',
      '"',
      '\xff',
      good,
    )
    fc.assert(
      fc.property(pieces, cuts, (input, places) => {
        const whole = parsePieces(create, input)
        assert.equal(whole.unreadable, undefined)
        assert.deepEqual(parsePieces(create, input, places), whole)
        checkPlaces(input, whole, /^\s*$/)
        for (const finding of whole.findings) {
          const { start, end } = finding.at
          const line = input.toString('utf8', start, end)
          if (finding.kind === 'malformed') assert.match(finding.problem, /./)
          else assert.doesNotThrow(() => JSON.parse(line), `accepted ${line}`)
        }
      }),
      { seed, numRuns: 2000 },
    )
  })
})

describe('malformed lines', () => {
  const PROBLEMS: readonly (readonly [string, RegExp])[] = [
    ['[]', /^expected an object like \{"key":"…"\}, found '\[' \(column 1\)$/],
    ['{}', /^the object has no "key" and no "key64" \(column 1\)$/],
    ['{"key":"a"}', /^the object has no "value" and no "value64" \(column 1\)$/],
    ['{"key":1,"value":2}', /^expected a key in quotes, found '1' \(column 8\)$/],
    ['{"key":null,"value":2}', /^expected a key in quotes, found 'n' \(column 8\)$/],
    ['{"key":"a","value":"b"', /^the line ends inside the JSON object$/],
    ['{"key":"a","value":"b"} x', /^expected nothing behind the object, found 'x' \(column 25\)$/],
    ['{"key":"a","value":tru}', /^expected a JSON value \(column 20\)$/],
    ['{"key64":"A","value":1}', /^expected base64 in quotes \(column 10\)$/],
    ['{"key64": 1,"value":1}', /^expected base64 in quotes, found '1' \(column 11\)$/],
    ['{"key":"a" "value":1}', /^expected ',' or '\}' behind a member, found '"' \(column 12\)$/],
    ['{"key"="a"}', /^expected ':' behind a member name, found '=' \(column 7\)$/],
  ]
  for (const [line, problem] of PROBLEMS) {
    test(line, () => {
      const input = Buffer.from(`{"key":"1","value":""}\n${line}\n{"key":"2","value":""}`)
      const [first, bad, last] = parsePieces(create, input).findings
      assert.equal(first?.kind, 'record')
      assert.ok(bad?.kind === 'malformed')
      assert.match(bad.problem, problem)
      assert.equal(bad.at.line, 2)
      assert.equal(last?.kind, 'record')
    })
  }

  test('a line longer than a record may be ends the reading', () => {
    const slab = Buffer.alloc(RECORD_SIZE_MAX + 5, 'a')
    slab.write('\n\n')
    const sink: RecordSink = {
      record: () => undefined,
      missing: () => undefined,
      malformed: () => undefined,
    }
    const parser = create()
    assert.throws(() => parser.parse(slab, false, sink), { line: 3, at: 2 })
  })
})

test('the state goes on at the line', () => {
  const parser = new JsonlParser({ state: { line: 41 } })
  const [finding] = parsePieces(() => parser, Buffer.from('x\n')).findings
  assert.equal(finding?.at.line, 41)
  assert.deepEqual(parser.state(), { line: 42 })
})

test('fields of other names', () => {
  const names = { key: 'id', value: 'né' }
  const input = Buffer.from('{"key":"x","id64":"AA==","n\\u00e9":{"a" : 1}}')
  const [finding] = parsePieces(() => new JsonlParser({ names }), input).findings
  assert.ok(finding?.kind === 'record')
  assert.deepEqual([finding.key, finding.value], ['\0', '{"a" : 1}'])
})
