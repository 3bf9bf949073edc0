// Goal: a JSON document is read record by record as it streams by, as JSON.parse would read it
// whole; what is wrong with it is told with its place, behind all records before that place.
// Method: random documents in random white space and pieces against what they were made of; every
// single-character change of a document against JSON.parse; every state of one as a place to go on.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { JsonParser, recordLine } from '../../src/cli/json-parser.ts'
import { JsonlParser } from '../../src/cli/jsonl-parser.ts'
import { type ParserState, RECORD_SIZE_MAX, type RecordSink } from '../../src/cli/record-format.ts'
import { jsonStored, jsonString, jsonValue, space, storedBytes } from '../support/json-texts.ts'
import {
  checkPlaces,
  cuts,
  latin1,
  lineAt,
  type Parsed,
  parsePieces,
} from '../support/record-parsing.ts'
import { printSeed } from '../support/seed.ts'

const FILLER = /^[\s,[\]{}]*$/
const IGNORE: RecordSink = {
  record: () => undefined,
  missing: () => undefined,
  malformed: () => undefined,
}

function parse(text: string, places: readonly number[] = []): Parsed {
  return parsePieces(() => new JsonParser(), Buffer.from(text), places)
}

/** [key, value] of the records, [key, null] of the nulls. */
function pairs(parsed: Parsed): [string, string | null][] {
  return parsed.findings.map(finding => {
    assert.notEqual(finding.kind, 'malformed')
    return finding.kind === 'record' ? [finding.key, finding.value] : [key(finding), null]
  })
}

function key(finding: Parsed['findings'][number]): string {
  return finding.kind === 'malformed' ? '' : finding.key
}

function expectedPair([name, value]: readonly [string, string]): [string, string | null] {
  const stored = JSON.parse(value) === null ? null : latin1(storedBytes(value))
  return [latin1(storedBytes(name)), stored]
}

const member = fc.tuple(jsonString, jsonValue)
const members = fc.array(member, { maxLength: 6 })

describe('documents', () => {
  test('an object: its members, however written and cut', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(members, space, space, cuts, (entries, outer, inner, places) => {
        const texts = entries.map(([name, value]) => `${name}${inner}:${inner}${value}`)
        const text = `${outer}{${inner}${texts.join(`${inner},${outer}`)}${inner}}${outer}`
        JSON.parse(text)
        const parsed = parse(text, places)
        assert.deepEqual(pairs(parsed), entries.map(expectedPair))
        checkPlaces(Buffer.from(text), parsed, FILLER)
      }),
      { seed, numRuns: 500 },
    )
  })

  test('an array: pairs and record objects, however written and cut', t => {
    const seed = printSeed(t)
    const element = fc.tuple(member, space, fc.constantFrom('pair', 'object', 'reversed'))
    fc.assert(
      fc.property(fc.array(element, { maxLength: 6 }), space, cuts, (elements, outer, places) => {
        const texts = elements.map(([[name, value], gap, form]) => {
          if (form === 'pair') return `[${gap}${name}${gap},${gap}${value}${gap}]`
          const parts = [`"key":${gap}${name}`, `"value"${gap}:${value}`]
          if (form === 'reversed') parts.reverse()
          return `{"else":[{}],${gap}${parts.join(`${gap},`)}${gap}}`
        })
        const text = `${outer}[${outer}${texts.join(`${outer},${outer}`)}${outer}]`
        JSON.parse(text)
        const parsed = parse(text, places)
        assert.deepEqual(
          pairs(parsed),
          elements.map(([each]) => expectedPair(each)),
        )
        checkPlaces(Buffer.from(text), parsed, FILLER)
      }),
      { seed, numRuns: 500 },
    )
  })

  test('can be gone on with from the state behind any element, and at its end', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(members, space, (entries, gap) => {
        const texts = entries.map(([name, value]) => `${name}:${gap}${value}`)
        const input = Buffer.from(`${gap}{${gap}${texts.join(`${gap},`)}${gap}}${gap}`)
        const parser = new JsonParser()
        const marks: { offset: number; line: number; state: ParserState }[] = []
        const mark = (offset: number): void => {
          const state = JSON.parse(JSON.stringify(parser.state())) as ParserState
          marks.push({ offset, line: parser.line, state })
        }
        const opened = parser.parse(input.subarray(0, input.indexOf('{') + 1), false, IGNORE)
        mark(opened)
        parser.parse(input.subarray(opened), false, {
          ...IGNORE,
          record: (_key, _value, _start, end) => mark(opened + end),
          missing: (_key, _start, end) => mark(opened + end),
        })
        mark(input.length)
        for (const [index, { offset, line, state }] of marks.entries()) {
          assert.equal(line, lineAt(input, offset))
          const rest = Buffer.from(input.subarray(offset))
          const resumed = parsePieces(() => new JsonParser({ state }), rest)
          assert.equal(resumed.unreadable, undefined)
          assert.deepEqual(pairs(resumed), entries.slice(index).map(expectedPair))
        }
      }),
      { seed, numRuns: 300 },
    )
  })
})

describe('documents that are wrong', () => {
  const DOCUMENT = `{"a": "b\\n",\n "c":[1,{"d":null}],\n "e": null, "f": -1.5e3,\n "g":true}\n`
  const CHARACTERS = [
    '',
    ' ',
    '\n',
    '"',
    '\\',
    ',',
    ':',
    '{',
    '}',
    '[',
    ']',
    'n',
    '0',
    '-',
    '\u0001',
  ]

  test('are refused where JSON.parse refuses them, and told with their line', () => {
    let refused = 0
    for (let at = 0; at <= DOCUMENT.length; at++) {
      for (const insert of CHARACTERS) {
        for (const removed of insert === '' ? [1] : [0, 1]) {
          const text = DOCUMENT.slice(0, at) + insert + DOCUMENT.slice(at + removed)
          if (checkAgainstJson(text)) refused++
        }
      }
    }
    assert.ok(refused > 1000)
  })

  test('are refused wherever they break off', () => {
    const end = DOCUMENT.lastIndexOf('}')
    for (let size = 0; size <= end; size++) assert.ok(checkAgainstJson(DOCUMENT.slice(0, size)))
  })

  /** True when the document is refused. */
  function checkAgainstJson(text: string): boolean {
    const input = Buffer.from(text)
    const whole = parse(text)
    checkPlaces(input, whole, FILLER)
    const cut = parse(text, [text.length >> 1, text.length >> 2, text.length >> 3])
    assert.deepEqual(cut.findings, whole.findings)
    assert.equal(cut.unreadable === undefined, whole.unreadable === undefined)
    let document: unknown
    try {
      document = JSON.parse(text)
    } catch {
      assert.notEqual(whole.unreadable, undefined, `accepted ${JSON.stringify(text)}`)
      return true
    }
    if (typeof document !== 'object' || Array.isArray(document)) return true
    assert.equal(whole.unreadable, undefined, `refused ${JSON.stringify(text)}`)
    // Where a name occurs twice, the last one counts, here as there.
    const found = new Map(pairs(whole))
    const meant = Object.entries(document as Record<string, unknown>)
    assert.equal(found.size, meant.length)
    for (const [name, value] of meant) {
      const stored = found.get(latin1(Buffer.from(name)))
      if (typeof value === 'string') assert.equal(stored, latin1(Buffer.from(value)))
      else assert.deepEqual(JSON.parse(stored ?? 'null'), value)
    }
    return false
  }

  const EXPECTATIONS: readonly (readonly [string, RegExp])[] = [
    ['', /^there is no JSON document in the input$/],
    ['"a"', /^expected a JSON document that starts with '\{' or '\[', found '"'$/],
    ['{a:1}', /^expected a key in quotes, found 'a'$/],
    ['{"a" 1}', /^expected ':' behind a key, found '1'$/],
    ['{"a":1 "b":2}', /^expected ',' or '\}' behind an element, found '"'$/],
    ['{"a":1,}', /^expected a key in quotes, found '\}'$/],
    ['{"a":}', /^expected a JSON value, found '\}'$/],
    ['{"a":01}', /^expected a JSON value$/],
    ['{"a":"\\x"}', /^a string holds an unknown escape$/],
    ['{"a":"\t"}', /^a string holds the raw control character byte 0x09$/],
    ['{"a":"\\ud800"}', /^a string holds half of a surrogate pair/],
    ['{"a":1', /^the input ends inside the JSON document$/],
    ['[["a" 1]]', /^expected ',' behind the key of a pair, found '1'$/],
    ['[["a",1,2]]', /^expected '\]' behind the value of a pair, found ','$/],
    ['[1]', /^expected an object like \{"key":"…"\}, found '1'$/],
    ['[{"key":"k"}]', /^the object has no "value" and no "value64"$/],
    ['[{"key":"k","value64":"!"}]', /^expected base64 in quotes$/],
    ['{"key":"k","value":"v"}\n{', /^expected nothing behind the JSON document .*--format jsonl/],
    [`{"a":${'['.repeat(1001)}`, /^nested deeper than 1000$/],
  ]
  for (const [text, problem] of EXPECTATIONS) {
    test(`${text.slice(0, 30)}: ${problem.source}`, () => {
      assert.match(parse(text).unreadable?.problem ?? 'nothing', problem)
    })
  }

  test('text that is not UTF-8 is refused', () => {
    const input = Buffer.from('{"a":"\xff"}', 'latin1')
    const parsed = parsePieces(() => new JsonParser(), input)
    assert.deepEqual(parsed.unreadable, { problem: 'a string is not UTF-8', at: 6, line: 1 })
  })

  test('a record longer than one may be ends the reading', () => {
    const slab = Buffer.alloc(RECORD_SIZE_MAX + 20, 'a')
    slab.write('{"a":"b",\n"')
    const parser = new JsonParser()
    const isIt = { message: /^a record is longer than/, line: 1, at: 8 }
    assert.throws(() => parser.parse(slab, false, IGNORE), isIt)
  })
})

test('an escaped byte is that byte', () => {
  assert.deepEqual(pairs(parse('{"\\udcff\\u00e9":"\\udc80"}')), [['\xff\xc3\xa9', '\x80']])
})

test('an element as a line of JSON lines is the same record', t => {
  const seed = printSeed(t)
  const names = { key: 'na"me', value: 'v' }
  const form = fc.constantFrom('member', 'pair', 'object')
  fc.assert(
    fc.property(jsonString, jsonStored, space, form, (name, value, gap, shape) => {
      const element = {
        member: `${name}${gap}:${gap}${value}`,
        pair: `[${gap}${name}${gap},${gap}${value}${gap}]`,
        object: `{${gap}"na\\"me"${gap}:${name},${gap}"v":${gap}${value}${gap}}`,
      }[shape]
      const line = recordLine(Buffer.from(element), names)
      assert.equal(line.indexOf('\n'), line.length - 1, 'it is one line')
      const [found, ...others] = parsePieces(() => new JsonlParser({ names }), line).findings
      assert.equal(others.length, 0)
      assert.ok(found?.kind === 'record')
      assert.equal(found.key, latin1(storedBytes(name)))
      const stored = latin1(storedBytes(value))
      // White space between the tokens of a value that is no string becomes blanks.
      if (value.startsWith('"')) assert.equal(found.value, stored)
      else assert.equal(found.value, stored.replace(/[\r\n]/g, ' '))
    }),
    { seed, numRuns: 500 },
  )
})
