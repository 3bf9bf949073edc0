// Goal: CSV and TSV as RFC 4180 has them are read byte for byte however the input is cut; what is
// malformed is told with its line, and costs no other row.
// Method: random tables written with random quotes, line ends and empty rows must come back; random
// soup of special characters must give the same findings cut and whole, and its places must cover
// the input. Tables pin what each mistake is called.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { CsvParser, type CsvParserOptions } from '../../src/cli/csv-parser.ts'
import { RECORD_SIZE_MAX, type RecordSink } from '../../src/cli/record-format.ts'
import { UsageError } from '../../src/cli/usage-error.ts'
import {
  checkPlaces,
  cuts,
  latin1,
  type Parsed,
  parsePieces,
  soup,
} from '../support/record-parsing.ts'
import { printSeed } from '../support/seed.ts'

const COMMA = 0x2c
const TAB = 0x09

function parse(text: string | Buffer, options: Partial<CsvParserOptions> = {}): Parsed {
  const input = typeof text === 'string' ? Buffer.from(text, 'latin1') : text
  return parsePieces(() => new CsvParser({ delimiter: COMMA, header: false, ...options }), input)
}

/** [key, value] of the records, the problem of what is malformed. */
function brief(parsed: Parsed): unknown[] {
  return parsed.findings.map(finding => {
    if (finding.kind === 'record') return [finding.key, finding.value]
    return finding.kind === 'malformed' ? finding.problem : finding
  })
}

const specialByte = fc.constantFrom(...Buffer.from('",\t\n\r a\xff\xef\xbb\xbf', 'latin1'))
const field = fc
  .array(fc.oneof(specialByte, fc.nat({ max: 255 })), { maxLength: 8 })
  .map(bytes => Buffer.from(bytes))

interface WrittenField {
  readonly bytes: Buffer
  readonly quoted: boolean
}

const writtenField = fc.record({ bytes: field, quoted: fc.boolean() })
const row = fc.record({
  fields: fc.tuple(writtenField, writtenField),
  end: fc.constantFrom('\n', '\r\n'),
  emptyRows: fc.constantFrom('', '', '\n', '\r\n\n'),
})

function writeField({ bytes, quoted }: WrittenField, delimiter: number): string {
  const text = latin1(bytes)
  const special = [delimiter, 0x0a, 0x0d, 0x22].some(byte => bytes.includes(byte))
  return quoted || special ? `"${text.replaceAll('"', '""')}"` : text
}

describe('good tables', () => {
  for (const [name, delimiter] of [
    ['CSV', COMMA],
    ['TSV', TAB],
  ] as const) {
    test(`${name}: any bytes come back, however written and cut`, t => {
      const seed = printSeed(t)
      fc.assert(
        fc.property(fc.array(row, { maxLength: 8 }), fc.boolean(), cuts, (rows, open, places) => {
          const separator = String.fromCharCode(delimiter)
          let text = rows
            .map(({ fields, end, emptyRows }) => {
              const written = fields.map(each => writeField(each, delimiter))
              return `${written.join(separator)}${end}${emptyRows}`
            })
            .join('')
          const lastValue = rows.at(-1)?.fields[1].bytes
          // With no line break behind it, a last value may not end in a carriage return.
          if (open && lastValue !== undefined) text = text.replace(/[\r\n]+$/, '')
          const input = Buffer.from(text, 'latin1')
          const create = () => new CsvParser({ delimiter, header: false })
          const parsed = parsePieces(create, input, places)
          assert.deepEqual(
            brief(parsed),
            rows.map(({ fields }) => fields.map(({ bytes }) => latin1(bytes))),
          )
          checkPlaces(input, parsed, /^[\r\n]*$/)
        }),
        { seed, numRuns: 500 },
      )
    })
  }

  test('a header names the columns, in any place and case, and is not a record', () => {
    const text = 'id,VALUE, Key \n1,v1,k1\n2,"v,2",k2\n'
    assert.deepEqual(brief(parse(text, { header: undefined })), [
      ['k1', 'v1'],
      ['k2', 'v,2'],
    ])
    const chosen = { header: undefined, keyColumn: 'id', valueColumn: '3' }
    assert.deepEqual(brief(parse(text, chosen)), [
      ['1', 'k1'],
      ['2', 'k2'],
    ])
  })

  test('columns by number need no header, and rows may then be of any length', () => {
    const options = { header: undefined, keyColumn: '3', valueColumn: '1' }
    assert.deepEqual(brief(parse('a,b,c\nd,e,f,g\n', options)), [
      ['c', 'a'],
      ['f', 'd'],
    ])
  })

  test('columns that do not exist are a mistake in the command', () => {
    const header = 'id,name\n1,x\n'
    for (const [column, message] of [
      ['nam', /no column 'nam', only: id, name/],
      ['9', /--key-column 9: the header has columns 1 to 2: id, name/],
      ['0', /--key-column 0: the header has columns 1 to 2/],
    ] as const) {
      const options = { header: true, keyColumn: column, valueColumn: 'id' }
      const isIt = (error: unknown): boolean =>
        error instanceof UsageError && message.test(error.message)
      assert.throws(() => parse(header, options), isIt)
    }
    assert.throws(() => parse('a,b\n', { keyColumn: '0' }), /columns are counted from 1/)
    assert.throws(() => parse('a,b\n', { keyColumn: 'id' }), /there is no header/)
  })
})

describe('any input', () => {
  test('gives the same findings cut and whole, and nothing of it is lost', t => {
    const seed = printSeed(t)
    const pieces = soup('"', '"', ',', '\n', '\n', '\r', '\r\n', '""', 'a', '\xff', 'a,b\n', '"a"b')
    fc.assert(
      fc.property(pieces, fc.boolean(), cuts, (input, known, places) => {
        const header = known ? false : undefined
        const create = () => new CsvParser({ delimiter: COMMA, header })
        const whole = parsePieces(create, input)
        assert.deepEqual(parsePieces(create, input, places), whole)
        checkPlaces(input, whole, /^[\r\n]*$/)
        if (known) assert.equal(whole.unreadable, undefined)
      }),
      { seed, numRuns: 3000 },
    )
  })

  test('can be gone on with from the state behind any record', t => {
    const seed = printSeed(t)
    const pieces = soup('"', ',', '\n', '\r\n', 'a', '"a\nb"', 'a,b\n', 'key,value\n')
    fc.assert(
      fc.property(pieces, input => {
        const create = () => new CsvParser({ delimiter: COMMA, header: undefined })
        const whole = parsePieces(create, input)
        const parser = create()
        const states: { offset: number; state: unknown; count: number }[] = []
        let count = 0
        const note = (end: number): void => {
          count++
          states.push({ offset: end, state: JSON.parse(JSON.stringify(parser.state())), count })
        }
        const sink: RecordSink = {
          record: (_key, _value, _start, end) => note(end),
          missing: () => assert.fail('CSV has no nulls'),
          malformed: (_problem, _start, end) => note(end),
        }
        if (whole.unreadable !== undefined) return
        parser.parse(input, true, sink)
        for (const { offset, state, count: before } of states) {
          const resumed = new CsvParser({ delimiter: COMMA, state: state as never })
          const rest = parsePieces(() => resumed, Buffer.from(input.subarray(offset)))
          const expected = whole.findings.slice(before)
          assert.deepEqual(brief(rest), brief({ ...whole, findings: expected }))
          assert.deepEqual(
            rest.findings.map(({ at }) => at.line),
            expected.map(({ at }) => at.line),
          )
          const header = parser.header === undefined ? undefined : latin1(parser.header)
          assert.equal(resumed.header && latin1(resumed.header), header)
        }
      }),
      { seed, numRuns: 500 },
    )
  })
})

describe('malformed rows', () => {
  const CLOSING = 'expected the delimiter or the end of the line behind a closing quote'
  const MISTAKES: readonly (readonly [string, string, RegExp | string])[] = [
    ['a column too few', 'a\n', /^expected 2 columns, found 1/],
    ['a column too many', 'a,b,c\n', /^expected 2 columns, found 3/],
    ['text behind a closing quote', '"a"b,c\n', CLOSING],
    ['a carriage return behind a closing quote', '"a"\rb,c\n', CLOSING],
    [
      'a quote that is never closed',
      'a,"b\n',
      'the double quote that opens in line 2 is not closed',
    ],
    ['a quote closed lines later', 'a,"b\nc,"d\n', `${CLOSING} \\(opened in line 2\\)`],
    [
      'a quote that is never closed, behind another',
      '"a\nb","c',
      'the double quote that opens in line 3 is not closed',
    ],
    [
      'a quote that is never closed, at the end',
      'a,"b',
      'the double quote that opens in line 2 is not closed',
    ],
  ]
  for (const [name, mistake, problem] of MISTAKES) {
    test(`${name}: its own row is lost, others are not`, () => {
      const parsed = parse(`k1,v1\n${mistake}${mistake.endsWith('\n') ? 'k2,v2\n' : ''}`)
      const [first, bad, last] = parsed.findings
      assert.equal(first?.kind, 'record')
      assert.ok(bad?.kind === 'malformed')
      assert.match(bad.problem, typeof problem === 'string' ? new RegExp(`^${problem}$`) : problem)
      assert.deepEqual(bad.at, { start: 6, end: 6 + mistake.length, line: 2 })
      if (mistake.endsWith('\n')) assert.equal(last?.kind, 'record')
    })
  }

  test('a first row that may be the header cannot be guessed at', () => {
    const { findings, unreadable } = parse('"value"x,key\nv,k\n', { header: undefined })
    assert.deepEqual(findings, [])
    assert.match(unreadable?.problem ?? '', /closing quote \(this first row may be the header/)
    assert.equal(parse('"value"x,key\nv,k\n', { header: false }).findings.length, 2)
  })

  test('a row longer than a record may be ends the reading', () => {
    const parser = new CsvParser({ delimiter: COMMA, header: false })
    const slab = Buffer.alloc(RECORD_SIZE_MAX + 5, 'a')
    slab.write('a,b\n"')
    const sink: RecordSink = {
      record: () => undefined,
      missing: () => undefined,
      malformed: () => undefined,
    }
    assert.throws(() => parser.parse(slab, false, sink), { line: 2, at: 4 })
  })
})
