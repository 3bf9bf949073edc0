// Goal: the options that import and export share mean the same to both, and nonsense is refused.
// Method: tables.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RecordFormat } from '../../src/cli/record-format.ts'
import { delimiterOption, isTabular, requireTextual } from '../../src/cli/transfer-options.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

const DELIMITERS: readonly (readonly [RecordFormat, string | undefined, string | undefined])[] = [
  ['csv', undefined, ','],
  ['tsv', undefined, '\t'],
  ['csv', ';', ';'],
  ['csv', '\\t', '\t'],
  ['tsv', '|', '|'],
  ['csv', '\u0001', '\u0001'],
  ['csv', '"', undefined],
  ['csv', '\n', undefined],
  ['csv', '\r', undefined],
  ['csv', '', undefined],
  ['csv', ',,', undefined],
  ['csv', 'é', undefined],
  ['csv', '\u007f', undefined],
  ['json', ',', undefined],
]

for (const [format, delimiter, expected] of DELIMITERS) {
  test(`${format} with delimiter ${JSON.stringify(delimiter)}`, () => {
    const decide = (): number => delimiterOption({ delimiter }, format)
    if (expected === undefined) assert.throws(decide, UsageError)
    else assert.equal(decide(), expected.charCodeAt(0))
  })
}

test('digits are for tables', () => {
  for (const format of ['jsonl', 'json', 'csv', 'tsv'] as const) {
    assert.equal(isTabular(format), format === 'csv' || format === 'tsv')
    requireTextual(format, 'text')
    if (isTabular(format)) requireTextual(format, 'hex')
    else assert.throws(() => requireTextual(format, 'base64'), /--base64 is for csv and tsv/)
  }
})
