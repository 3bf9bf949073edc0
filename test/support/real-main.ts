/**
 * `npm run test:real`: real records through the whole product, as a user would load them, and every
 * one of them compared with the file.
 *
 *   npm run test:real -- --file package/data/packages.json
 *   npm run test:real                                         with generated records
 *
 *   kvcli import --> kvd --> every record read, counted, scanned both ways, exported
 *                     `--> kill -9, restart --> the same again
 *
 * Fails, and keeps the directory, at the first difference.
 */
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { generateRecords, readRecords } from '../../bench/import/records.ts'
import { freePort } from '../../bench/server/server-process.ts'
import { formatCount, formatDuration } from '../../src/cli/render.ts'
import { connect } from '../../src/net/index.ts'
import { text } from './crash-oracle.ts'
import { KvdProcess, programArguments } from './kvd-process.ts'
import { ProgressLine } from './progress-line.ts'
import { ROOT } from './project-root.ts'
import { checkExport, checkReads, checkScan, DifferenceError, type Records } from './real-check.ts'
import { newDirectory } from './temp-directory.ts'

const HELP = `npm run test:real -- [options]

  --file <path>     records to load: .jsonl of {"key", "value"}, or one .json object
  --records <count> how many to generate without a file (default 200000)
  --dir <directory> where the data goes (default: the system's temporary directory)
  --keep            keeps the directory also when nothing is wrong
`

const OPTIONS = {
  file: { type: 'string' },
  records: { type: 'string', default: '200000' },
  dir: { type: 'string' },
  keep: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

interface Run {
  readonly directory: string
  readonly file: string
  readonly records: Records
}

const line = new ProgressLine()

function print(text: string): void {
  line.clear()
  process.stdout.write(`${text}\n`)
}

/** Runs kvcli and returns what it prints. */
function kvcli(args: readonly string[]): Promise<string> {
  const program = [...programArguments('kvcli', 'dist'), ...args]
  const child = spawn(process.execPath, program, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', chunk => {
    output += String(chunk)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output)
      else reject(new Error(`kvcli ${args.join(' ')} ended with ${signal ?? code}: ${output}`))
    })
  })
}

/** Times a step and says what it did. */
async function step(name: string, work: () => Promise<number>): Promise<void> {
  const startMs = performance.now()
  const count = await work()
  const elapsedMs = performance.now() - startMs
  const rate = formatCount(Math.round((count * 1000) / elapsedMs))
  print(`${name}: ${formatCount(count)} records in ${formatDuration(elapsedMs)}, ${rate}/s`)
}

async function compareAll({ directory, records }: Run, url: string): Promise<void> {
  const progress = (what: string) => (count: number) =>
    line.show(() => `${what}: ${formatCount(count)} of ${formatCount(records.size)}`)
  const store = await connect(url)
  try {
    await step('read back', () => checkReads(store, records, progress('read back')))
    await step('count', async () => {
      const counted = JSON.parse(await kvcli(['count', '--url', url, '--timeout', '5m', '--json']))
      if (counted.count === records.size) return records.size
      throw new DifferenceError(`count: ${counted.count}, and ${records.size} were loaded`)
    })
    await step('scan', () => checkScan(store, records, false, progress('scan')))
    await step('reverse scan', () => checkScan(store, records, true, progress('reverse scan')))
  } finally {
    await store.close()
  }
  await step('export', async () => {
    const path = join(directory, 'export.jsonl')
    await kvcli(['export', path, '--url', url])
    const count = await checkExport(path, records)
    rmSync(path)
    return count
  })
}

async function run(given: Run): Promise<void> {
  const { directory, file, records } = given
  const place = {
    directory: join(directory, 'data'),
    port: await freePort(),
    form: 'dist',
  } as const
  let kvd = new KvdProcess(place)
  try {
    await kvd.answered()
    await step('import', async () => {
      const progress = join(directory, 'import-progress')
      await kvcli(['import', file, '--url', kvd.url, '--resume-file', progress])
      return records.size
    })
    await compareAll(given, kvd.url)
    await kvd.kill()
    kvd = new KvdProcess(place)
    print(`after kill -9 it answers in ${formatDuration(await kvd.answered())}`)
    await compareAll(given, kvd.url)
    await kvd.stop()
  } finally {
    await kvd.discard()
  }
}

function load(file: string): Records {
  const records = new Map<string, string>()
  for (const { key, value } of readRecords(file)) records.set(text(key), text(value))
  return records
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const directory = newDirectory('real', values.dir)
  const file = values.file ?? join(directory, 'records.jsonl')
  let isGood = false
  try {
    if (values.file === undefined) generateRecords(file, Number(values.records))
    await run({ directory, file, records: load(file) })
    print('every record is as it was loaded')
    isGood = true
  } catch (error) {
    process.stderr.write(`FAILED: ${error instanceof Error ? error.stack : String(error)}\n`)
  }
  if (isGood && !values.keep) rmSync(directory, { recursive: true, force: true })
  else process.stderr.write(`the data is kept in ${directory}\n`)
  if (!isGood) process.exitCode = 1
}

await main()
