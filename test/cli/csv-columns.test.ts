// Goal: the first row and the options settle which columns count, the same way for every table;
// what cannot be is a mistake in the command.
// Method: a table of rows and options.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CsvColumnOptions, settleColumns } from '../../src/cli/csv-columns.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

const column = (keyColumn?: string, valueColumn?: string, header?: boolean): CsvColumnOptions => {
  return { keyColumn, valueColumn, header }
}

/** [first row, options, key, value, fields of a row, whether the first row is the header] */
const SETTLED: readonly (readonly [string, CsvColumnOptions, number, number, number, boolean])[] = [
  ['a,b', column(), 0, 1, 2, false],
  ['a,b,c', column(), 0, 1, 2, false],
  ['key,value', column(), 0, 1, 2, true],
  ['x, Value ,KEY', column(), 2, 1, 3, true],
  ['key,value', column(undefined, undefined, false), 0, 1, 2, false],
  ['key,text', column(), 0, 1, 2, false],
  ['key,text', column(undefined, undefined, true), 0, 1, 2, true],
  ['text,key', column(undefined, undefined, true), 1, 0, 2, true],
  ['id,name', column('name'), 1, 0, 2, true],
  ['id,name', column('ID', 'name'), 0, 1, 2, true],
  ['Id,id,x', column('id', 'x'), 1, 2, 3, true],
  ['a,b,c', column('3', '1'), 2, 0, 0, false],
  ['a,b,c', column(undefined, '3'), 0, 2, 0, false],
  ['a,b,c', column('3'), 2, 1, 0, false],
  ['value,x,key', column('2', '1'), 1, 0, 3, true],
  ['a,b,c', column('2', '3', true), 1, 2, 3, true],
  ['id,b,c', column('id', '3'), 0, 2, 3, true],
]

for (const [row, options, key, value, count, isHeader] of SETTLED) {
  test(`${row} with ${JSON.stringify(options)}`, () => {
    const settled = settleColumns(row.split(','), options)
    assert.deepEqual(settled, { columns: { key, value, count }, isHeader })
  })
}

const MISTAKES: readonly (readonly [string, CsvColumnOptions, RegExp])[] = [
  ['a,b', column('id'), /no column 'id', only: a, b; name one with --key-column/],
  ['a,b', column('a', 'id'), /no column 'id', only: a, b; name one with --value-column/],
  ['a,b,c', column('a'), /no column 'value', only: a, b, c/],
  ['a,b', column(undefined, undefined, true), /no column 'key'/],
  ['a,b', column('a', '3'), /--value-column 3: the header has columns 1 to 2: a, b/],
  ['a,b', column('0', 'b'), /--key-column 0: the header has columns 1 to 2/],
  ['a,b', column('id', undefined, false), /--key-column id: it names a column, but there is no/],
  ['a,b', column(undefined, '0'), /--value-column 0: columns are counted from 1/],
]

for (const [row, options, message] of MISTAKES) {
  test(`${row} with ${JSON.stringify(options)} cannot be`, () => {
    assert.throws(
      () => settleColumns(row.split(','), options),
      (error: unknown) => error instanceof UsageError && message.test(error.message),
    )
  })
}
