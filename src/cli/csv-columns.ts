/** Which columns of a CSV file hold key and value, settled by the first row. Pure. */
import { UsageError } from './usage-error.ts'

export interface CsvColumnOptions {
  /**
   * True: the first row names the columns. Undefined: it does when columns are chosen by name, or
   * when it says `key` and `value`.
   */
  readonly header?: boolean | undefined
  /**
   * A column by its name in the header, or by its number from 1. Undefined: `key`, or the first.
   */
  readonly keyColumn?: string | undefined
  /** Undefined: `value`, or the other one of two, or the second. */
  readonly valueColumn?: string | undefined
}

export interface CsvColumns {
  /** From 0. */
  readonly key: number
  readonly value: number
  /** How many fields every row has; 0 when it does not matter. */
  readonly count: number
}

const NUMBER = /^\d+$/
/** So many columns are named in an error. */
const SHOWN_MAX = 20

/** The columns, and whether the row was a header. Throws UsageError for columns that are not. */
export function settleColumns(
  row: readonly string[],
  options: CsvColumnOptions,
): { columns: CsvColumns; isHeader: boolean } {
  if (options.header ?? namesColumns(row, options)) {
    const key = columnOf(row, options.keyColumn, 'key')
    const value = valueColumnOf(row, options, key)
    return { columns: { key, value, count: row.length }, isHeader: true }
  }
  const key = numberedColumn(options.keyColumn, '--key-column', 1)
  const value = numberedColumn(options.valueColumn, '--value-column', 2)
  const chosen = options.keyColumn !== undefined || options.valueColumn !== undefined
  return { columns: { key, value, count: chosen ? 0 : 2 }, isHeader: false }
}

/** True when the row must be a header for the options to make sense, or plainly is one. */
function namesColumns(row: readonly string[], options: CsvColumnOptions): boolean {
  const { keyColumn, valueColumn } = options
  const byName = [keyColumn, valueColumn].some(
    column => column !== undefined && !NUMBER.test(column),
  )
  return byName || (indexOfName(row, 'key') >= 0 && indexOfName(row, 'value') >= 0)
}

function valueColumnOf(row: readonly string[], options: CsvColumnOptions, key: number): number {
  const plain = options.valueColumn === undefined && indexOfName(row, 'value') < 0
  if (plain && row.length === 2) return 1 - key
  return columnOf(row, options.valueColumn, 'value')
}

function columnOf(row: readonly string[], column: string | undefined, standard: string): number {
  const numbered = column !== undefined && NUMBER.test(column)
  const index = numbered ? Number(column) - 1 : indexOfName(row, column ?? standard)
  if (index >= 0 && index < row.length) return index
  const shown = row.slice(0, SHOWN_MAX).join(', ')
  if (numbered) {
    throw new UsageError(
      `--${standard}-column ${column}: the header has columns 1 to ${row.length}: ${shown}`,
    )
  }
  throw new UsageError(
    `the header has no column '${column ?? standard}', only: ${shown}; ` +
      `name one with --${standard}-column`,
  )
}

function indexOfName(row: readonly string[], name: string): number {
  const exact = row.indexOf(name)
  if (exact >= 0) return exact
  return row.findIndex(field => field.trim().toLowerCase() === name.toLowerCase())
}

function numberedColumn(column: string | undefined, option: string, standard: number): number {
  if (column === undefined) return standard - 1
  if (NUMBER.test(column) && Number(column) >= 1) return Number(column) - 1
  const why = NUMBER.test(column)
    ? 'columns are counted from 1'
    : 'it names a column, but there is no header: use a number'
  throw new UsageError(`${option} ${column}: ${why}`)
}
