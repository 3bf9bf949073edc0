/** Options that import and export share: the format of the file and what belongs to it. */
import type { CommandOption, OptionValues } from './command.ts'
import type { DataEncoding } from './data-encoding.ts'
import { textOption } from './option-values.ts'
import type { RecordFormat } from './record-format.ts'
import { UsageError } from './usage-error.ts'

export const FORMAT_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--format <format>',
    description: 'jsonl, json, csv or tsv',
    standard: "what the file's name says; jsonl for a pipe",
  },
  { flags: '--delimiter <char>', description: 'CSV: between the columns', standard: ',' },
]

const COMMA = 0x2c
const TAB = 0x09
const FORBIDDEN = ['"', '\n', '\r']

/** The byte between columns. Throws UsageError when it makes no sense. */
export function delimiterOption(options: OptionValues, format: RecordFormat): number {
  const text = textOption(options, 'delimiter')
  if (text === undefined) return format === 'tsv' ? TAB : COMMA
  if (!isTabular(format)) throw new UsageError(`--delimiter means nothing for ${format}`)
  const character = text === '\\t' ? '\t' : text
  if (character.length === 1 && character < '\x7f' && !FORBIDDEN.includes(character)) {
    return character.charCodeAt(0)
  }
  throw new UsageError(`--delimiter '${text}' is not one ASCII character (or \\t)`)
}

export function isTabular(format: RecordFormat): boolean {
  return format === 'csv' || format === 'tsv'
}

/** JSON says by itself what is base64, so digits are for tables only. */
export function requireTextual(format: RecordFormat, encoding: DataEncoding): void {
  if (encoding === 'text' || isTabular(format)) return
  throw new UsageError(`--${encoding} is for csv and tsv; ${format} keeps every byte by itself`)
}
