/** import: loads the records of a file or of standard input. */
import { UnavailableError } from '../errors.ts'
import type { CliIo, InputSource } from './cli-io.ts'
import type { Command, CommandContext } from './command.ts'
import { ExitCode } from './exit-code.ts'
import type { ImportMark } from './import-batch.ts'
import { type ImportPlan, planImport } from './import-plan.ts'
import { ImportProgressFile } from './import-progress-file.ts'
import { ImportReport } from './import-report.ts'
import { Importer } from './importer.ts'
import { stdinSource } from './input-source.ts'
import { WRITE_OPTIONS, writeOptions } from './point-commands.ts'
import { RejectFile } from './reject-file.ts'
import type { RemoteStore } from './remote-store.ts'
import { formatCount, formatDuration } from './render.ts'
import { waitForReplicas } from './replica-lag.ts'
import type { HelpItem } from './text-wrap.ts'
import { FORMAT_OPTIONS } from './transfer-options.ts'

/**
 * Big enough that the cost of a message disappears, small enough to be encoded in a millisecond.
 */
const BATCH_COUNT_MAX = 1000
const BATCH_BYTES_MAX = 256 * 1024
/** A batch may wait behind a slow disk; the client's own limit is for single keys. */
const BATCH_TIMEOUT_MS = 30_000
const START: ImportMark = { offset: 0, state: { line: 1 } }

const DETAILS = [
  'JSON values that are not strings are stored as their JSON text; nulls are left out.',
  '',
  'Loading may be repeated: the same records lead to the same store. If it stops half way, ' +
    '--resume goes on behind the last acknowledged record, which <file>.import-progress tells. ' +
    'With --on-error skip, bad records are kept as they stood in the input (those of .json as ' +
    'JSON lines), so that they can be mended and imported on their own.',
  '',
  'In a cluster a record is acknowledged once one replica has it, unless --consistency says ' +
    'otherwise. At its end the import waits until the others that are up have all of it, so ' +
    'that a count right after it is right; if it stops waiting before, it says so.',
].join('\n')

const FORMATS: readonly HelpItem[] = [
  ['.jsonl, .ndjson', '{"key":"k","value":"v"} a line; key64, value64: base64'],
  ['.json', '{"k":"v",…}, or an array of ["k","v"] or {"key":…,"value":…}'],
  ['.csv, .tsv', 'RFC 4180; a first row of the names key and value is a header'],
]

export const importCommand: Command = {
  name: 'import',
  summary: 'load records from a file or from standard input',
  details: DETAILS,
  lists: [
    { title: "Formats, told by the file's name (a .gz behind it is decompressed)", items: FORMATS },
  ],
  args: [{ name: 'file', description: "the file; '-' or nothing is stdin", required: false }],
  options: [
    ...FORMAT_OPTIONS,
    { flags: '--header', description: 'CSV: the first row names the columns' },
    { flags: '--no-header', description: 'CSV: the first row is a record' },
    { flags: '--key-column <column>', description: 'CSV: its name or number; JSON: its field' },
    { flags: '--value-column <column>', description: 'the same for the value' },
    { flags: '--null-as <text>', description: 'store this where JSON says null' },
    { flags: '--ttl <duration>', description: 'the keys are gone after 10s, 5m, 2h, 1d' },
    { flags: '--on-error <what>', description: 'stop or skip bad records', standard: 'stop' },
    {
      flags: '--rejects <path>',
      description: 'where skipped records are kept',
      standard: '<name>.rejects.<ext>',
    },
    { flags: '--resume', description: 'go on where the last import of this file stopped' },
    {
      flags: '--resume-file <path>',
      description: 'where progress is kept',
      standard: '<file>.import-progress',
    },
    {
      flags: '--retry-for <duration>',
      description: 'how long to wait for a server that is away',
      standard: '30s',
    },
    {
      flags: '--settle <duration>',
      description: 'how long to wait at the end for all replicas; 0: not',
      standard: '60s',
    },
    { flags: '--window <count>', description: 'batches on their way at once', standard: '8' },
    ...WRITE_OPTIONS,
  ],
  examples: [
    { line: 'kvcli import users.jsonl', says: 'JSON lines' },
    { line: 'kvcli import users.csv.gz --key-column id --value-column name', says: 'two columns' },
    { line: 'zcat dump.gz | kvcli import --format tsv', says: 'from a pipe' },
    { line: 'kvcli import big.json --resume', says: 'after Ctrl-C, or a lost server' },
    { line: 'kvcli import users.csv --on-error skip', says: 'bad rows go to users.rejects.csv' },
  ],
  completes: 'files',
  run: runImport,
}

async function runImport(context: CommandContext): Promise<ExitCode> {
  const plan = planImport(context)
  const write = writeOptions(context, BATCH_TIMEOUT_MS)
  const { io } = context.session
  const report = new ImportReport(context, plan)
  let input = await openSource(plan, io, 0)
  try {
    const progressFile = progressFileOf(context, plan, input)
    const start = await startOf(plan, io, progressFile, report)
    if (start.offset > 0) {
      if (plan.path !== undefined) input.close()
      input = await openSource(plan, io, start.offset)
    }
    const store = await connectWithin(context, plan.patienceMs)
    const parser = plan.createParser(start.state)
    const rejects = rejectFileOf(plan, io, start.offset > 0, () => parser.header)
    const importer = new Importer({
      ...plan,
      store,
      write,
      parser,
      input,
      start,
      onReject: reject => {
        rejects?.add(reject)
        report.rejected(reject)
      },
      flushRejects: () => rejects?.flush() ?? Promise.resolve(),
      onAcknowledged: mark => progressFile?.offer(mark),
      onRetry: error => report.retrying(error),
      onSilence: () => report.silent(),
      whyAway: () => context.session.whyAway,
      batchCountMax: BATCH_COUNT_MAX,
      batchBytesMax: BATCH_BYTES_MAX,
      clock: io.clock,
      signal: context.signal,
    })
    report.begin(importer, input)
    return await follow(context, importer, report, progressFile, plan.settleMs)
  } finally {
    input.close()
  }
}

/** The client; a server that takes the connection and says nothing is not waited for for longer. */
function connectWithin(
  { session, signal }: CommandContext,
  patienceMs: number,
): Promise<RemoteStore> {
  return new Promise((resolve, reject) => {
    const cancel = session.io.clock.setTimer(patienceMs, () => {
      reject(new UnavailableError(`no answer for ${formatDuration(patienceMs)}`))
    })
    session.client(signal).then(resolve, reject).finally(cancel)
  })
}

async function follow(
  context: CommandContext,
  importer: Importer,
  report: ImportReport,
  progressFile: ImportProgressFile | undefined,
  settleMs: number,
): Promise<ExitCode> {
  let complete = false
  let resumable = false
  try {
    complete = await importer.run()
    if (complete) await progressFile?.remove()
  } finally {
    if (!complete && importer.mark.offset > 0) {
      resumable = (await progressFile?.keep(importer.mark)) ?? false
    }
    const { failed } = progressFile ?? {}
    if (!complete && failed !== undefined) report.note(`no progress was kept: ${failed.message}`)
    report.stop()
    const isWaiting = complete && settleMs > 0 && importer.counts.records > 0
    const settling = isWaiting ? await waitForReplicas(context, settleMs) : undefined
    await report.end(importer.counts, { complete, resumable, settling })
  }
  return complete ? ExitCode.ok : ExitCode.interrupted
}

function progressFileOf(
  context: CommandContext,
  plan: ImportPlan,
  input: InputSource,
): ImportProgressFile | undefined {
  const { io, url } = context.session
  const { progressPath } = plan
  if (progressPath === undefined) return undefined
  const identity = {
    url,
    source: plan.sourceName,
    size: input.size ?? null,
    modifiedMs: input.modifiedMs ?? null,
    format: plan.formatText,
  }
  return new ImportProgressFile(progressPath, identity, io.files, io.clock)
}

/** The beginning, or where the progress file says that an earlier import stopped. */
async function startOf(
  plan: ImportPlan,
  io: CliIo,
  progressFile: ImportProgressFile | undefined,
  report: ImportReport,
): Promise<ImportMark> {
  if (progressFile === undefined) return START
  const { path } = progressFile
  if (!plan.resume) {
    if ((await io.files.readText(path)) !== undefined) {
      report.note(`starting over; ${path} of an earlier import would go on with --resume`)
    }
    return START
  }
  const start = await progressFile.load()
  if (start === undefined) report.note(`there is no ${path}: starting at the beginning`)
  else report.note(`going on at line ${formatCount(start.state.line)}`)
  return start ?? START
}

async function openSource(plan: ImportPlan, io: CliIo, offset: number): Promise<InputSource> {
  if (plan.path === undefined) return stdinSource(io.stdin, offset)
  return await io.files.openInput(plan.path, offset)
}

function rejectFileOf(
  plan: ImportPlan,
  io: CliIo,
  resume: boolean,
  header: () => Uint8Array | undefined,
): RejectFile | undefined {
  const { rejectsPath: path, showReject: show } = plan
  if (path === undefined) return undefined
  return new RejectFile({ path, files: io.files, resume, header, show })
}
