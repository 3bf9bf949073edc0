/** What an import is asked to do, read from its options before anything is opened. */
import { normalize } from 'node:path'
import { asBuffer, textToBytes } from './byte-text.ts'
import type { CommandContext, OptionValues } from './command.ts'
import { CsvParser } from './csv-parser.ts'
import type { DataEncoding } from './data-encoding.ts'
import { DecodingParser } from './decoding-parser.ts'
import { JsonParser, recordLine } from './json-parser.ts'
import { JsonlParser } from './jsonl-parser.ts'
import { countOption, durationOption, flagOption, oneOf, textOption } from './option-values.ts'
import {
  chooseFormat,
  type ParserState,
  type RecordFormat,
  type RecordParser,
} from './record-format.ts'
import { DEFAULT_FIELD_NAMES, type RecordFieldNames } from './record-reader.ts'
import { rejectPath } from './reject-file.ts'
import { delimiterOption, isTabular, requireTextual } from './transfer-options.ts'
import { UsageError } from './usage-error.ts'

export interface ImportPlan {
  /** Undefined for standard input. */
  readonly path: string | undefined
  /** What messages call the input. */
  readonly sourceName: string
  readonly createParser: (state: ParserState) => RecordParser
  /** Everything that decides what a record is, as text to compare. */
  readonly formatText: string
  readonly nullValue: Uint8Array | undefined
  readonly ttlMs: number | undefined
  readonly onError: 'stop' | 'skip'
  /** Where bad records are kept; undefined when they end the import. */
  readonly rejectsPath: string | undefined
  /** A bad record as it is kept. */
  readonly showReject: (source: Uint8Array) => Uint8Array
  readonly resume: boolean
  /** Undefined: no progress is kept. */
  readonly progressPath: string | undefined
  readonly patienceMs: number
  /** How long to wait at the end until replicas have all of it; 0: not at all. */
  readonly settleMs: number
  readonly windowCount: number
}

/** Batches on their way: while some are being synced, others travel and are being parsed. */
const WINDOW_STANDARD = 8
const WINDOW_MAX = 256
const PATIENCE_MS = 30_000
const SETTLE_MS = 60_000

/** Throws UsageError. */
export function planImport(context: CommandContext): ImportPlan {
  const { options, encoding } = context
  const path = inputPath(context)
  const format = chooseFormat(textOption(options, 'format'), path)
  requireTextual(format, encoding)
  const onError = oneOf(options, 'onError', ['stop', 'skip'] as const, 'on-error') ?? 'stop'
  const createParser = parserFactory(options, format, encoding)
  const nullAs = textOption(options, 'nullAs')
  const resume = flagOption(options, 'resume')
  const progressPath = textOption(options, 'resumeFile') ?? pathWith(path, '.import-progress')
  if (resume && progressPath === undefined) {
    throw new UsageError('standard input has no progress of its own: add --resume-file <path>')
  }
  const rejects = textOption(options, 'rejects')
  if (rejects !== undefined && onError === 'stop') {
    throw new UsageError('--rejects means nothing without --on-error skip')
  }
  const rejectsPath = onError === 'skip' ? (rejects ?? standardRejects(path, format)) : undefined
  refuseOverlap(path, progressPath, rejectsPath)
  // Made once here, so that options that contradict each other are told before anything else.
  createParser({ line: 1 })
  return {
    path,
    sourceName: path ?? 'stdin',
    createParser,
    formatText: formatText(format, options, encoding),
    nullValue: nullAs === undefined ? undefined : textToBytes(nullAs),
    ttlMs: durationOption(options, 'ttl'),
    onError,
    rejectsPath,
    showReject: format === 'json' ? jsonShower(fieldNames(options)) : source => source,
    resume,
    progressPath,
    patienceMs: durationOption(options, 'retryFor', 'retry-for') ?? PATIENCE_MS,
    settleMs: settleOption(options),
    windowCount: countOption(options, 'window', { min: 1, max: WINDOW_MAX }) ?? WINDOW_STANDARD,
  }
}

function settleOption(options: OptionValues): number {
  const text = textOption(options, 'settle')
  return text === '0' || text === '0s' ? 0 : (durationOption(options, 'settle') ?? SETTLE_MS)
}

function inputPath(context: CommandContext): string | undefined {
  const [path] = context.args
  const { mode, io } = context.session
  if (path !== undefined && path !== '-') return path
  if (mode !== 'once') {
    throw new UsageError('name the file to import: standard input holds the commands here')
  }
  if (path === undefined && io.stdin.isTTY === true) {
    throw new UsageError("name the file to import, or '-' to type records in")
  }
  return undefined
}

function pathWith(path: string | undefined, extension: string): string | undefined {
  return path === undefined ? undefined : `${path}${extension}`
}

function standardRejects(path: string | undefined, format: RecordFormat): string {
  if (path !== undefined) return rejectPath(path, format)
  throw new UsageError(
    'bad records of standard input cannot be read again: add --rejects <path> to keep them',
  )
}

/** One file for two things would lose one of them. */
function refuseOverlap(...paths: readonly (string | undefined)[]): void {
  const given = paths.filter(path => path !== undefined).map(path => normalize(path))
  const twice = given.find((path, index) => given.indexOf(path) !== index)
  if (twice === undefined) return
  throw new UsageError(
    `the input, --rejects and --resume-file must differ: ${twice} is named twice`,
  )
}

function jsonShower(names: RecordFieldNames): (source: Uint8Array) => Uint8Array {
  return source => recordLine(asBuffer(source), names)
}

function fieldNames(options: OptionValues): RecordFieldNames {
  return {
    key: textOption(options, 'keyColumn') ?? DEFAULT_FIELD_NAMES.key,
    value: textOption(options, 'valueColumn') ?? DEFAULT_FIELD_NAMES.value,
  }
}

function parserFactory(
  options: OptionValues,
  format: RecordFormat,
  encoding: DataEncoding,
): (state: ParserState) => RecordParser {
  const delimiter = delimiterOption(options, format)
  const header = options['header']
  if (isTabular(format)) {
    const csv = {
      delimiter,
      header: typeof header === 'boolean' ? header : undefined,
      keyColumn: textOption(options, 'keyColumn'),
      valueColumn: textOption(options, 'valueColumn'),
    }
    if (encoding === 'text') return state => new CsvParser({ ...csv, state })
    return state => new DecodingParser(new CsvParser({ ...csv, state }), encoding)
  }
  if (header !== undefined) throw new UsageError(`${format} has no header`)
  const names = fieldNames(options)
  if (format === 'json') return state => new JsonParser({ names, state })
  return state => new JsonlParser({ names, state })
}

const FORMAT_OPTION_NAMES = ['delimiter', 'header', 'keyColumn', 'valueColumn', 'nullAs'] as const

function formatText(format: RecordFormat, options: OptionValues, encoding: DataEncoding): string {
  const given = FORMAT_OPTION_NAMES.filter(name => options[name] !== undefined)
  const details = given.map(name => `${name}=${JSON.stringify(options[name])}`)
  return [format, ...(encoding === 'text' ? [] : [encoding]), ...details].join(' ')
}
