/**
 * debug: looks at, checks and repairs the files of a database that no process has open. What a
 * CorruptionError tells the user to run is here. Needs no server.
 */
import type {
  BackupResult,
  Finding,
  MaintenanceOptions,
  OfflineOptions,
  Progress,
  RepairReport,
  VerifyReport,
} from '../engine/index.ts'
import type { Command, CommandContext } from './command.ts'
import { dumpFiles } from './debug-dump.ts'
import { ExitCode } from './exit-code.ts'
import { countOption, textOption } from './option-values.ts'
import { ProgressBar } from './progress-bar.ts'
import { formatBytes, formatCount } from './render.ts'
import type { Style } from './style.ts'
import type { HelpItem } from './text-wrap.ts'
import { unknownChoice } from './unknown-choice.ts'
import { UsageError } from './usage-error.ts'

const ACTIONS = ['verify', 'repair', 'dump', 'backup', 'restore', 'readmit'] as const

const ACTION_ITEMS: readonly HelpItem[] = [
  ['verify', 'read every file of a directory and check it all; changes nothing'],
  ['repair', 'keep what is whole, list what is lost, move the rest to lost/ in it'],
  ['dump', 'show what a file is made of, or the files of a directory'],
  ['backup', 'copy a database to the directory <target>, only what is new to it'],
  ['restore', 'make the database of a backup in <target>, a new or empty directory'],
  ['readmit', 'let a node start from this old copy of its disk, as one behind'],
]

export const debugCommand: Command = {
  name: 'debug',
  summary: 'check, repair, back up or look at the files of a database, without a server',
  details:
    'No server may have the directory open, but for dump. verify and dump end with exit code 1 ' +
    'when something is damaged, backup also when it is made but older ones cannot be removed.',
  lists: [{ title: 'Actions', items: ACTION_ITEMS }],
  args: [
    { name: 'action', description: ACTIONS.join(', '), choices: ACTIONS },
    { name: 'path', description: 'the directory, or for dump a file' },
    { name: 'target', description: 'of backup and restore: where to', required: false },
  ],
  options: [
    { flags: '--entries', description: 'dump of a table or log: also each key and value' },
    { flags: '--keep <n>', description: 'backup: how many stay, this one included', standard: '1' },
    { flags: '--number <n>', description: 'restore: which backup', standard: 'the newest' },
    {
      flags: '--cold-directory <path>',
      description: 'verify, repair: where the tables of the last level are',
      standard: 'as the database says',
    },
    {
      flags: '--cold-directory-lost',
      description: 'verify, repair: go on without those that are nowhere, and give them up',
    },
    { flags: '--limit <n>', description: 'dump: at most so many lines' },
  ],
  examples: [
    { line: 'kvcli debug verify ./duramen-data', says: 'is it sound?' },
    { line: 'kvcli debug repair ./duramen-data', says: 'make it open again' },
    { line: 'kvcli debug dump ./duramen-data', says: 'which files are there?' },
    { line: 'kvcli debug dump --entries 000012.sst', says: 'what is in a table?' },
    { line: 'kvcli debug dump --json 000007.wal', says: 'the log, for programs' },
    { line: 'kvcli debug backup ./data /mnt/backups --keep 7', says: 'one a day, for a week' },
    { line: 'kvcli debug restore /mnt/backups ./data', says: 'and back' },
    { line: 'kvcli debug readmit ./node-3', says: 'its disk is lost: go on from this image' },
  ],
  completes: 'files',
  run: runDebug,
}

async function runDebug(context: CommandContext): Promise<ExitCode> {
  const [action, path, target] = context.args
  const copies = action === 'backup' || action === 'restore'
  if (copies && target === undefined) throw new UsageError(`debug ${action} needs a target`)
  if (!copies && target !== undefined) throw new UsageError(`debug ${action} takes one path`)
  switch (action) {
    case 'verify':
      return await runVerify(context, path!)
    case 'repair':
      return await runRepair(context, path!)
    case 'dump':
      return await dumpFiles(context, path!)
    case 'backup':
      return await runBackup(context, path!, target!)
    case 'restore':
      return await runRestore(context, path!, target!)
    case 'readmit':
      return await runReadmit(context, path!)
    default:
      throw unknownChoice('debug', action, ACTIONS)
  }
}

async function runVerify(context: CommandContext, directory: string): Promise<ExitCode> {
  const files = context.session.io.databaseFiles
  const report = await watched(context, 'verifying', options =>
    files.verify(directory, { ...options, ...offlineOptions(context) }),
  )
  const { output } = context
  await output.print({ directory, ...report }, () => renderVerify(directory, report, output.style))
  return report.ok ? ExitCode.ok : ExitCode.failed
}

async function runRepair(context: CommandContext, directory: string): Promise<ExitCode> {
  const files = context.session.io.databaseFiles
  const report = await watched(context, 'repairing', options =>
    files.repair(directory, { ...options, ...offlineOptions(context) }),
  )
  const { output } = context
  await output.print({ directory, ...report }, () => renderRepair(directory, report, output.style))
  return ExitCode.ok
}

function offlineOptions({ options }: CommandContext): OfflineOptions {
  const coldDirectory = textOption(options, 'coldDirectory')
  const coldDirectoryLost = options['coldDirectoryLost'] === true
  return {
    ...(coldDirectory !== undefined && { coldDirectory }),
    ...(coldDirectoryLost && { coldDirectoryLost }),
  }
}

const COUNT_BOUNDS = { min: 1, max: Number.MAX_SAFE_INTEGER }

async function runBackup(
  context: CommandContext,
  directory: string,
  target: string,
): Promise<ExitCode> {
  const files = context.session.io.databaseFiles
  const keep = countOption(context.options, 'keep', COUNT_BOUNDS) ?? 1
  const result = await watched(context, 'copying', options =>
    files.backup(directory, target, { ...options, keep }),
  )
  const { output } = context
  await output.print({ ...result }, () => renderBackup(result, output.style))
  return result.findings.length === 0 ? ExitCode.ok : ExitCode.failed
}

async function runRestore(
  context: CommandContext,
  directory: string,
  target: string,
): Promise<ExitCode> {
  const files = context.session.io.databaseFiles
  const backup = countOption(context.options, 'number', COUNT_BOUNDS)
  const which = backup === undefined ? {} : { backup }
  const result = await watched(context, 'restoring', options =>
    files.restore(directory, target, { ...options, ...which }),
  )
  await context.output.print({ ...result }, () => {
    const { backup: number, tableBytes } = result
    return `backup ${number} is restored in ${result.directory}: ${formatBytes(tableBytes)}`
  })
  return ExitCode.ok
}

async function runReadmit(context: CommandContext, directory: string): Promise<ExitCode> {
  const result = await context.session.io.databaseFiles.readmit(directory)
  await context.output.print({ directory, ...result }, () =>
    [
      `taken back: ${directory}, node ${result.node}`,
      ...(result.why === '' ? [] : [`  it was refused: ${result.why}`]),
      `  It may start now. ${counted(result.partitions, 'partition')} will be compared with the ` +
        'other nodes, all of which have to be up for that; until then it answers no quorum',
      '  for them, and kvcli cluster status says how many are left. What only the lost disk had ' +
        'is lost.',
    ].join('\n'),
  )
  return ExitCode.ok
}

/** With a bar on a terminal. */
async function watched<Result>(
  { output, session, signal }: CommandContext,
  title: string,
  work: (options: MaintenanceOptions) => Promise<Result>,
): Promise<Result> {
  const { clock, stderr } = session.io
  let progress: Progress = { doneBytes: 0, totalBytes: 0 }
  const bar =
    stderr.isTTY === true && !output.json
      ? new ProgressBar({
          title,
          clock,
          terminal: stderr,
          style: output.noteStyle,
          sample: () => ({
            done: progress.doneBytes,
            total: progress.totalBytes > 0 ? progress.totalBytes : undefined,
            records: undefined,
            bytes: progress.doneBytes,
          }),
        })
      : undefined
  try {
    return await work({
      signal,
      onProgress: now => {
        progress = now
      },
    })
  } finally {
    bar?.stop()
  }
}

function isDamage({ severity }: Finding): boolean {
  return severity === 'damage'
}

export function renderVerify(directory: string, report: VerifyReport, style: Style): string {
  const verdict = report.ok
    ? `${style.good('sound')}: ${directory}`
    : `${style.bad('damaged')}: ${directory}, ${counted(report.damages, 'finding')}`
  const looked = [
    counted(report.tables, 'table'),
    counted(report.blocks, 'block'),
    `${counted(report.entries, 'entry', 'entries')} in tables`,
    counted(report.walSegments, 'log segment'),
    `${counted(report.walEntries, 'entry', 'entries')} in the log`,
    formatBytes(report.bytes),
  ]
  const lines = [verdict, `  looked at ${looked.join(', ')}`, ...renderFindings(report, style)]
  if (!report.ok) {
    lines.push(
      `${style.dim('  ->')} restore it from a backup or replica, or save what is whole with: ` +
        `kvcli debug repair ${directory}`,
    )
  }
  return lines.join('\n')
}

export function renderRepair(directory: string, report: RepairReport, style: Style): string {
  if (!report.changed) return `${style.good('sound')}: ${directory}; nothing was changed`
  const lines = [`${style.good('repaired')}: ${directory}`, ...renderFindings(report, style)]
  const rows: [number, string][] = [
    [report.tablesWhole, 'whole'],
    [report.tablesSalvaged, 'saved in part or as a copy'],
    [report.tablesLost, 'lost'],
  ]
  const tables = rows.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  if (tables.length > 0) lines.push(`  tables: ${tables.join(', ')}`)
  if (report.blocksLost > 0) lines.push(`  stretches of tables lost: ${report.blocksLost}`)
  if (report.logEntries > 0 || report.logGaps > 0) {
    lines.push(
      `  from the log: ${counted(report.logEntries, 'entry', 'entries')} saved, ` +
        `${counted(report.logGaps, 'stretch', 'stretches')} lost`,
    )
  }
  if (report.manifest === 'rebuilt') {
    lines.push('  the MANIFEST was of no use: the database was put together from its tables')
  }
  lines.push(
    `  originals: ${counted(report.movedFiles.length, 'file')} in ${report.lostDirectory}`,
    `${style.dim('  ->')} where a newer value or a deletion is lost, the value before it is back`,
  )
  return lines.join('\n')
}

export function renderBackup(result: BackupResult, style: Style): string {
  const { backup, directory, tableBytes, copiedBytes, findings } = result
  const made =
    `backup ${backup} in ${directory}: ${formatBytes(tableBytes)}, ` +
    `of which ${formatBytes(copiedBytes)} were copied`
  if (findings.length === 0) return made
  const told = renderFindings({ findings, findingsOmitted: 0 }, style)
  return [`${made}; it is whole, but not all that is over could be removed`, ...told].join('\n')
}

function renderFindings(
  { findings, findingsOmitted }: Pick<VerifyReport, 'findings' | 'findingsOmitted'>,
  style: Style,
): string[] {
  const lines = findings.map(finding => {
    const { path, offset, what, expected, actual } = finding
    const mark = isDamage(finding) ? style.bad('damage') : style.dim('notice')
    const sums = expected === undefined ? '' : ` (expected ${expected}, found ${actual})`
    return `  ${mark} ${path}@${offset}: ${withUserKeys(what)}${sums}`
  })
  if (findingsOmitted > 0) lines.push(`  and ${formatCount(findingsOmitted)} more`)
  return lines
}

/**
 * Keys of a server's database begin with two bytes that no user has given; what follows them is
 * what he knows. An embedded database may have such keys of its own, so both are shown.
 */
function withUserKeys(what: string): string {
  return what.replaceAll(/\b0x([0-9a-f]{6,})(…?)/g, (hex, digits: string, cut: string) => {
    const bytes = Buffer.from(digits, 'hex')
    const userKey = bytes.subarray(2)
    if (!userKey.every(byte => byte >= 0x20 && byte < 0x7f)) return hex
    const text = `"${userKey.toString('latin1')}"${cut}`
    return `${hex} (of a server: ${text} in partition ${bytes.readUInt16BE(0)})`
  })
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}
