/** export: writes entries to a file or to standard output. */
import type { OutputTarget } from './cli-io.ts'
import { type Command, type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { type ExportCounts, Exporter } from './exporter.ts'
import { flagOption, rangeOption, textOption } from './option-values.ts'
import { ReaderGoneError } from './output.ts'
import { ProgressBar } from './progress-bar.ts'
import { createEncoder, type RecordEncoder } from './record-encoder.ts'
import { chooseFormat } from './record-format.ts'
import { formatBytes, formatCount, formatDuration, formatRate } from './render.ts'
import { readWithLag } from './replica-lag.ts'
import { RANGE_OPTIONS } from './scan-commands.ts'
import type { HelpItem } from './text-wrap.ts'
import { delimiterOption, FORMAT_OPTIONS, isTabular, requireTextual } from './transfer-options.ts'
import { UsageError } from './usage-error.ts'

const DETAILS =
  'The formats are those of import, which reads the file back exactly. A file is written as ' +
  '<file>.partial and gets its name when it is complete; one that exists is kept unless --force ' +
  'is given. A name in .gz is compressed.'

const FORMATS: readonly HelpItem[] = [
  ['.jsonl', '{"key":"k","value":"v"} a line; key64, value64 where not UTF-8'],
  ['.json', 'one object; what is not UTF-8 is lone surrogates, \\udc80 to \\udcff'],
  ['.csv, .tsv', 'bytes as they are, quoted if needed; digits with --base64, --hex'],
]

export const exportCommand: Command = {
  name: 'export',
  summary: 'write entries to a file or to standard output, in key order',
  details: DETAILS,
  lists: [{ title: 'Formats', items: FORMATS }],
  args: [{ name: 'file', description: "the file; '-' or nothing is stdout", required: false }],
  options: [
    ...FORMAT_OPTIONS,
    { flags: '--no-header', description: 'CSV: without the row that names the columns' },
    ...RANGE_OPTIONS,
    { flags: '--unordered', description: 'in the order of storage: quicker' },
    { flags: '--force', description: 'replace the file when it exists' },
  ],
  examples: [
    { line: 'kvcli export backup.jsonl.gz', says: 'everything, compressed' },
    { line: 'kvcli export --prefix user: users.csv', says: 'a part, for a spreadsheet' },
    { line: 'kvcli export | head', says: 'JSON lines to standard output' },
    { line: 'kvcli export | kvcli import -u kv://other:7700', says: 'from one server to another' },
  ],
  completes: 'files',
  run: runExport,
}

async function runExport(context: CommandContext): Promise<ExitCode> {
  const { options, output, session } = context
  const [given] = context.args
  const path = given === '-' ? undefined : given
  const encoder = planEncoder(context, path)
  const range = rangeOption(options, context.encoding)
  const client = await session.client()
  const createExporter = (write: (bytes: Uint8Array) => Promise<void>): Exporter => {
    const order = flagOption(options, 'unordered') ? 'unordered' : 'ordered'
    const scan = client.entries({ ...range, ...callOptions(context), order })
    return new Exporter({ scan, encoder, write, signal: context.signal })
  }
  if (path === undefined) {
    output.reserveStdout()
    return await follow(
      context,
      createExporter(bytes => output.writeBytes(bytes)),
    )
  }
  // Before the scan, which would stay open when the file cannot be made.
  const replace = flagOption(options, 'force')
  const target = await session.io.files.createOutput(path, { replace })
  try {
    return await follow(
      context,
      createExporter(bytes => target.write(bytes)),
      { path, target },
    )
  } finally {
    await target.discard()
  }
}

function planEncoder(context: CommandContext, path: string | undefined): RecordEncoder {
  const { options, encoding } = context
  const format = chooseFormat(textOption(options, 'format'), path)
  requireTextual(format, encoding)
  const header = options['header'] !== false
  if (!header && !isTabular(format)) throw new UsageError(`${format} has no header`)
  return createEncoder(format, { delimiter: delimiterOption(options, format), header, encoding })
}

interface NamedTarget {
  readonly path: string
  readonly target: OutputTarget
}

async function follow(
  context: CommandContext,
  exporter: Exporter,
  file?: NamedTarget,
): Promise<ExitCode> {
  const { output, session } = context
  const { clock, stderr } = session.io
  const startMs = clock.monotonicMs()
  // A bar would run into the data when both go to the same terminal.
  const watched =
    stderr.isTTY === true && !output.json && (file !== undefined || !output.isTerminal)
  const bar = watched ? watch(context, exporter) : undefined
  let complete: boolean
  let replicasBehind: boolean | null
  try {
    const read = await readWithLag(context, 'this', () => exporter.run())
    complete = read.result
    replicasBehind = read.replicasBehind
    if (complete) await file?.target.finish()
  } catch (error) {
    if (error instanceof ReaderGoneError) return ExitCode.ok
    throw error
  } finally {
    bar?.stop()
  }
  const seconds = (clock.monotonicMs() - startMs) / 1000
  const result = {
    ...exporter.counts,
    seconds: Number(seconds.toFixed(3)),
    complete,
    replicasBehind,
    ...(file === undefined ? {} : { file: file.path }),
  }
  await output.print(result, () => summary(context, exporter.counts, complete, seconds, file))
  return complete ? ExitCode.ok : ExitCode.interrupted
}

function watch(context: CommandContext, exporter: Exporter): ProgressBar {
  const { clock, stderr } = context.session.io
  return new ProgressBar({
    title: 'exporting',
    clock,
    terminal: stderr,
    style: context.output.noteStyle,
    sample: () => ({ done: exporter.counts.records, total: undefined, ...exporter.counts }),
  })
}

function summary(
  context: CommandContext,
  counts: ExportCounts,
  complete: boolean,
  seconds: number,
  file: NamedTarget | undefined,
): string {
  const { output } = context
  const style = file === undefined ? output.noteStyle : output.style
  const where = file === undefined ? '' : complete ? ` to ${file.path}` : `; ${file.path} not made`
  const done = complete ? style.good('exported') : style.warn('stopped after')
  const figures = `${formatCount(counts.records)} records (${formatBytes(counts.written)})`
  const rate = formatRate(seconds > 0 ? counts.records / seconds : 0)
  return `${done} ${figures}${where} in ${formatDuration(seconds * 1000)}, ${rate}`
}
