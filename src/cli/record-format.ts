/**
 * The file formats of import and export, and what parsers of all of them share.
 *
 * A parser is fed slabs: pieces of the input that begin where the last parse stopped. It hands
 * whole records to a sink and says how far it came. Keys and values are views of the slab where
 * they stand in it as they are, so a slab is never written to again.
 */
import { UsageError } from './usage-error.ts'

export const RECORD_FORMATS = ['jsonl', 'json', 'csv', 'tsv'] as const
export type RecordFormat = (typeof RECORD_FORMATS)[number]

/** One record may be this long in the input; a longer one ends the import. */
export const RECORD_SIZE_MAX = 96 * 1024 * 1024

/** Where something stands in the input, in uncompressed bytes and in lines from 1. */
export interface InputPlace {
  readonly offset: number
  readonly line: number
}

/** Takes what a parser finds. Offsets are in the slab: the record stood at [start, end). */
export interface RecordSink {
  record(key: Uint8Array, value: Uint8Array, start: number, end: number, line: number): void
  /** A record whose value is null: there is a key, but nothing to store. */
  missing(key: Uint8Array, start: number, end: number, line: number): void
  /** A record that makes no sense. Parsing goes on behind it unless this throws. */
  malformed(problem: string, start: number, end: number, line: number): void
}

/** What a parser must remember to go on in the middle of an input. Plain JSON. */
export interface ParserState {
  readonly line: number
  /** JSON: what the records are members of. */
  readonly container?: 'object' | 'array'
  /** JSON: in front of the first of them or behind their end. Undefined: behind one of them. */
  readonly edge?: 'first' | 'closed'
  /** CSV and TSV: the columns, once the first row settled them. */
  readonly columns?: { readonly key: number; readonly value: number; readonly count: number }
  /** CSV and TSV: the row that names the columns, as byte-text.ts shows bytes. */
  readonly header?: string
}

/** True for a state that a parser made, also when somebody edited it since. */
export function isParserState(value: unknown): value is ParserState {
  if (!isObject(value) || !isCount(value['line'], 1)) return false
  const { container, edge, columns, header } = value
  if (container !== undefined && container !== 'object' && container !== 'array') return false
  if (edge !== undefined && edge !== 'first' && edge !== 'closed') return false
  if (edge !== undefined && container === undefined) return false
  if (header !== undefined && typeof header !== 'string') return false
  if (columns === undefined) return true
  if (!isObject(columns)) return false
  return ['key', 'value', 'count'].every(name => isCount(columns[name], 0))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isCount(value: unknown, min: number): boolean {
  return Number.isSafeInteger(value) && Number(value) >= min
}

export interface RecordParser {
  /**
   * Parses the whole records of `slab` and returns how many bytes it is done with. Less than all
   * of them means that the last record is not complete, which with `final` is an error.
   * Throws UnreadableInputError when it cannot go on.
   */
  parse(slab: Buffer, final: boolean, sink: RecordSink): number
  /** The line at the end of the record handed out last, or of the last parse. */
  readonly line: number
  /** Of the same place. */
  state(): ParserState
  /** CSV and TSV: the row that names the columns, once it was read. */
  readonly header?: Uint8Array | undefined
}

/** The input cannot be read on from here: not one bad record, but no way to find the next. */
export class UnreadableInputError extends Error {
  override readonly name = 'UnreadableInputError'
  /** Offset in the slab. */
  readonly at: number
  readonly line: number

  constructor(problem: string, at: number, line: number) {
    super(problem)
    this.at = at
    this.line = line
  }
}

const NEWLINE = 0x0a

/** Newlines in `bytes[start, end)`. */
export function countNewlines(bytes: Uint8Array, start: number, end: number): number {
  let count = 0
  for (let at = start; at < end; at++) if (bytes[at] === NEWLINE) count++
  return count
}

const EXTENSIONS: Readonly<Record<string, RecordFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  csv: 'csv',
  tsv: 'tsv',
  tab: 'tsv',
}

export function isGzipName(path: string): boolean {
  return path.toLowerCase().endsWith('.gz')
}

/** The format that a file's name tells, `.gz` aside. */
export function formatOfName(path: string): RecordFormat | undefined {
  const name = path.toLowerCase().replace(/\.gz$/, '')
  const dot = name.lastIndexOf('.')
  return dot < 0 ? undefined : EXTENSIONS[name.slice(dot + 1)]
}

/** The format to use: as named, else as the file's name tells, else JSON lines for a pipe. */
export function chooseFormat(named: string | undefined, path: string | undefined): RecordFormat {
  if (named !== undefined) {
    const format = RECORD_FORMATS.find(known => known === named)
    if (format !== undefined) return format
    throw new UsageError(`unknown format '${named}': use one of ${RECORD_FORMATS.join(', ')}`)
  }
  if (path === undefined) return 'jsonl'
  const format = formatOfName(path)
  if (format !== undefined) return format
  throw new UsageError(
    `the name ${path} does not tell its format: add --format ${RECORD_FORMATS.join('|')}`,
  )
}
