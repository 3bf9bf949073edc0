// Goal: a file's name tells its format and nothing else is guessed; a parser's state from a file is
// taken only when a parser can have written it.
// Method: tables.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  chooseFormat,
  formatOfName,
  isGzipName,
  isParserState,
} from '../../src/cli/record-format.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

const NAMES: readonly (readonly [string, string | undefined])[] = [
  ['a.jsonl', 'jsonl'],
  ['a.NDJSON', 'jsonl'],
  ['a.json.gz', 'json'],
  ['dir.csv/a.TSV.GZ', 'tsv'],
  ['a.tab', 'tsv'],
  ['a.csv.bak', undefined],
  ['csv', undefined],
  ['a.gz', undefined],
  ['dir.csv/a', undefined],
]

for (const [name, format] of NAMES) {
  test(`${name} is ${format ?? 'of no known format'}`, () => {
    assert.equal(formatOfName(name), format)
    assert.equal(isGzipName(name), /\.gz$/i.test(name))
    if (format !== undefined) assert.equal(chooseFormat(undefined, name), format)
    else assert.throws(() => chooseFormat(undefined, name), UsageError)
    assert.equal(chooseFormat('csv', name), 'csv')
  })
}

test('a pipe is JSON lines unless it is named', () => {
  assert.equal(chooseFormat(undefined, undefined), 'jsonl')
  assert.equal(chooseFormat('tsv', undefined), 'tsv')
  assert.throws(() => chooseFormat('xml', undefined), /unknown format 'xml': use one of jsonl,/)
})

describe('a state', () => {
  const columns = { key: 0, value: 1, count: 2 }
  const good: readonly unknown[] = [
    { line: 1 },
    { line: 7, container: 'array' },
    { line: 7, container: 'object', edge: 'closed' },
    { line: 7, columns, header: 'key,value' },
  ]
  for (const state of good) {
    test(`${JSON.stringify(state)} is one`, () => assert.ok(isParserState(state)))
  }
  const bad: readonly unknown[] = [
    null,
    [],
    {},
    { line: 0 },
    { line: '1' },
    { line: 1, container: 'set' },
    { line: 1, edge: 'closed' },
    { line: 1, container: 'array', edge: 'last' },
    { line: 1, columns: null },
    { line: 1, columns: { ...columns, key: -1 } },
    { line: 1, columns: { key: 0, value: 1 } },
    { line: 1, columns, header: 1 },
  ]
  for (const state of bad) {
    test(`${JSON.stringify(state)} is none`, () => assert.ok(!isParserState(state)))
  }
})
