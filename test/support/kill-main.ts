/**
 * `npm run test:kill`: kill -9 in earnest, with an oracle outside of the process that dies.
 *
 *   npm run test:kill -- --kills 30                       a kvd, loaded over TCP
 *   npm run test:kill -- --file package/data/packages.json
 *   npm run test:kill -- --embedded --kills 1000          a process with the engine in it
 *   npm run test:kill -- --plants                         stores with bugs, each to be caught
 *
 * Fails, and keeps the directory, when a promise is broken or a recovery takes too long.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { durationValue } from '../../src/cli/setting-values.ts'
import { seededRandom, systemRandom } from '../../src/random.ts'
import { OracleError } from './crash-oracle.ts'
import { type EmbeddedKillsResult, runEmbeddedKills } from './embedded-kills.ts'
import { PLANTS } from './embedded-script.ts'
import { type KillLoopResult, type KillRow, runKillLoop } from './kill-loop.ts'
import { loadRecords } from './kill-records.ts'
import { KILL_HEADER, killLine, killSummary, recoveryTimes } from './kill-report.ts'
import { ProgressLine } from './progress-line.ts'
import { newDirectory } from './temp-directory.ts'

/** A planted bug that so many kills do not show is not caught. */
const PLANT_KILLS = 40

const HELP = `npm run test:kill -- [options]

  --kills <count>         default 30
  --seed <number>         default random; replays the choices, though not the scheduling
  --file <path>           records to load: .jsonl of {"key", "value"}, or one .json object
  --finish                loads what is left of them after the last kill, and checks that too
  --duration <time>       mean time of load before a kill (default 800ms, embedded 60ms)
  --durability <level>    sync (default) or interval: what survives a kill
  --recovery-max <time>   longest time from start to first answer (default 2s)
  --memory-budget <size>  of kvd (default 16MiB, so that it flushes and compacts all the time)
  --callers <count>       calls in flight (default 200)
  --dir <directory>       where the data goes (default: the system's temporary directory)
  --embedded              kills a process that has the engine in it, instead of a kvd
  --plants                runs every planted bug instead, and fails when one is not caught
  --keep                  keeps the directory also when nothing is wrong
  --json                  prints one JSON object
`

const OPTIONS = {
  kills: { type: 'string', default: '30' },
  seed: { type: 'string' },
  file: { type: 'string' },
  finish: { type: 'boolean', default: false },
  duration: { type: 'string' },
  durability: { type: 'string', default: 'sync' },
  'recovery-max': { type: 'string', default: '2s' },
  'memory-budget': { type: 'string', default: '16MiB' },
  callers: { type: 'string', default: '200' },
  dir: { type: 'string' },
  embedded: { type: 'boolean', default: false },
  plants: { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

interface Run {
  readonly values: Values
  readonly seed: number
  readonly directory: string
  readonly recoveryMaxMs: number
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function milliseconds(text: string): number {
  const kind = durationValue(1, 3_600_000)
  const value = kind.parse(text)
  if (value === undefined) throw new Error(`'${text}' is not ${kind.expected}`)
  return value
}

function count(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`'${text}' is not a number`)
}

async function killServer({ values, seed, directory }: Run): Promise<KillLoopResult> {
  const line = new ProgressLine()
  if (!values.json) print(KILL_HEADER)
  let last: KillRow | undefined
  return await runKillLoop({
    seed,
    directory,
    kills: count(values.kills),
    records: loadRecords(values.file, seededRandom(seed + 1)),
    finish: values.finish,
    form: 'dist',
    meanMs: milliseconds(values.duration ?? '800ms'),
    callers: count(values.callers),
    args: ['--durability', values.durability, '--memory-budget', values['memory-budget']],
    onKill: row => {
      last = row
      line.clear()
      if (!values.json) print(killLine(row))
    },
    onProgress: text => line.show(() => `after kill ${last?.number ?? 0}: ${text}`),
  })
}

async function killEmbedded({ values, seed, directory }: Run): Promise<EmbeddedKillsResult> {
  const line = new ProgressLine()
  const kills = count(values.kills)
  return await runEmbeddedKills({
    seed,
    directory,
    kills,
    form: 'dist',
    meanMs: milliseconds(values.duration ?? '60ms'),
    durability: values.durability === 'interval' ? 'interval' : 'sync',
    onKill: (number, acknowledged) =>
      line.show(() => `kill ${number} of ${kills}, ${acknowledged} operations acknowledged`),
  })
}

/** Each bug of an embedded store, and whether the oracle caught it. */
async function killPlants({ seed, directory }: Run): Promise<boolean> {
  let areCaught = true
  for (const plant of PLANTS) {
    const caught = await runEmbeddedKills({
      seed,
      directory: join(directory, plant),
      kills: PLANT_KILLS,
      form: 'dist',
      meanMs: 60,
      durability: 'sync',
      keyCount: 300,
      plant,
    }).then(
      () => undefined,
      (error: unknown) => error,
    )
    const isCaught = caught instanceof OracleError
    areCaught &&= isCaught
    print(`${plant}: ${isCaught ? 'caught' : 'NOT CAUGHT'}: ${String(caught)}`)
  }
  return areCaught
}

async function run(given: Run): Promise<boolean> {
  const { values, seed, recoveryMaxMs } = given
  if (values.plants) return await killPlants(given)
  const result = await (values.embedded ? killEmbedded(given) : killServer(given))
  const slow = recoveryTimes(result).filter(ms => ms > recoveryMaxMs)
  if (values.json) print(JSON.stringify({ seed, ...result }, null, 2))
  else print(`\n${killSummary(result)}`)
  if (slow.length === 0) return true
  const worst = Math.round(Math.max(...slow))
  process.stderr.write(
    `TOO SLOW: ${slow.length} recoveries took over ${recoveryMaxMs} ms, up to ${worst}\n`,
  )
  return false
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const seed = values.seed === undefined ? systemRandom().below(2 ** 31) : count(values.seed)
  const directory = newDirectory('kill', values.dir)
  const recoveryMaxMs = milliseconds(values['recovery-max'])
  if (!values.json) {
    print(`seed ${seed}, durability ${values.durability}, node ${process.version}, ${directory}`)
  }
  let isGood = false
  try {
    isGood = await run({ values, seed, directory, recoveryMaxMs })
  } catch (error) {
    process.stderr.write(`FAILED: ${error instanceof Error ? error.stack : String(error)}\n`)
  }
  if (isGood && !values.keep) rmSync(directory, { recursive: true, force: true })
  else process.stderr.write(`the data is kept in ${directory}; seed ${seed}\n`)
  if (!isGood) process.exitCode = 1
}

await main()
