/**
 * `npm run bench:import`: the same file of records loaded by `kvcli import` into `kvd` and by
 * ioredis with auto-pipelining into Redis with the same durability, in one run.
 *
 * Timed from the start of the loading program to its exit, when everything is acknowledged and so
 * on disk. Rounds take turns, each with fresh servers. Records are generated unless --file names a
 * file; README.md of this directory says what the generated ones look like.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { builtPath, PROGRAMS } from './built.ts'
import { generateRecords, readRecords } from './import/records.ts'
import { describeMachine, machineLines } from './machine.ts'
import { installPeers, peerVersion } from './peers.ts'
import { formatCount, formatDigits, median, note, parseCount, print, textTable } from './report.ts'
import {
  duramenPlan,
  HOST,
  redisPlan,
  type ServerPlan,
  ServerProcess,
} from './server/server-process.ts'
import { SEED } from './workloads.ts'

const HELP = `npm run bench:import -- [options]

  --file <path>      records to load: .jsonl of {"key", "value"}, or one .json object
  --records <count>  generated ones otherwise (default 500k)
  --rounds <count>   default 3; the median counts
  --servers <names>  only these of duramen, redis
  --dir <directory>  where the servers keep their data
  --json <file>      also writes the result as JSON; - for standard output
`

const OPTIONS = {
  file: { type: 'string' },
  records: { type: 'string', default: '500k' },
  rounds: { type: 'string', default: '3' },
  servers: { type: 'string', default: 'duramen,redis' },
  dir: { type: 'string' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const OUTPUT_KEPT = 2000

/** A server and the program arguments that load a file into it and count what is there. */
interface Contestant {
  readonly plan: ServerPlan
  readonly loader: (port: number, path: string) => readonly string[]
  readonly counter: (port: number) => readonly string[]
}

function contestants(wanted: readonly string[]): Contestant[] {
  const found: Contestant[] = []
  const duramen = duramenPlan()
  const kvcli = builtPath('cli', 'kvcli.cjs')
  if (wanted.includes('duramen')) {
    if (duramen === undefined || !existsSync(kvcli)) note('SKIPPED: duramen is not built')
    else {
      found.push({
        plan: duramen,
        loader: (port, path) => [kvcli, '--url', `kv://${HOST}:${port}`, 'import', path],
        counter: port => [kvcli, '--url', `kv://${HOST}:${port}`, 'count'],
      })
    }
  }
  if (wanted.includes('redis')) {
    const redis = redisPlan()
    if (redis === undefined) note('SKIPPED: redis-server is not on this machine')
    else if (installPeers().has('ioredis')) {
      const program = join(PROGRAMS, 'import', 'redis-loader.js')
      found.push({
        plan: redis,
        loader: (port, path) => [program, HOST, String(port), path],
        counter: port => [program, HOST, String(port)],
      })
    }
  }
  return found
}

interface Ended {
  /** From start to exit. */
  readonly elapsedMs: number
  readonly output: string
}

/** Rejects when the program fails. */
function runProgram(args: readonly string[]): Promise<Ended> {
  return new Promise((resolvePromise, reject) => {
    const startMs = performance.now()
    const program = spawn(process.execPath, [...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    program.stdout.on('data', chunk => {
      output = `${output}${chunk}`.slice(-OUTPUT_KEPT)
    })
    program.stderr.on('data', chunk => {
      errors = `${errors}${chunk}`.slice(-OUTPUT_KEPT)
    })
    program.once('error', reject)
    program.once('close', code => {
      if (code === 0) resolvePromise({ elapsedMs: performance.now() - startMs, output })
      else reject(new Error(`${args[0]} failed with code ${code}: ${errors}`))
    })
  })
}

/** Milliseconds of one load into a fresh server. Throws unless every record arrived. */
async function loadOnce(
  contestant: Contestant,
  path: string,
  records: number,
  parent: string,
): Promise<number> {
  const directory = mkdtempSync(join(parent, 'round-'))
  const server = await ServerProcess.start(contestant.plan, directory)
  try {
    const { elapsedMs } = await runProgram(contestant.loader(server.port, path))
    const { output } = await runProgram(contestant.counter(server.port))
    const counted = Number(output)
    if (counted === records) return elapsedMs
    throw new Error(`${contestant.plan.name} has ${output.trim()} of ${records} records`)
  } finally {
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Records a second, by the median round. */
function rate(elapsedMs: readonly number[] | undefined, records: number): number | undefined {
  return elapsedMs === undefined ? undefined : (records / median(elapsedMs)) * 1000
}

function resultTable(own: number | undefined, other: number | undefined): string[][] {
  const cell = (value: number | undefined) =>
    value === undefined ? 'not measured' : `${formatCount(value)}/s`
  const ratio = own === undefined || other === undefined ? undefined : own / other
  const verdict = ratio === undefined ? 'not measured' : ratio >= 1 ? 'met' : 'NOT MET'
  const ratioText = ratio === undefined ? '' : `${formatDigits(ratio)}x`
  return [
    ['Path', 'Duramen', 'Redis', 'Ratio', 'Target', 'Result'],
    ['import, durable, start to exit', cell(own), cell(other), ratioText, '1x Redis', verdict],
  ]
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  try {
    const path = values.file === undefined ? join(directory, 'records.jsonl') : resolve(values.file)
    if (values.file === undefined) generateRecords(path, parseCount(values.records))
    let records = 0
    for (const _record of readRecords(path)) records++
    const machine = describeMachine(directory)
    const head = [
      ...machineLines(machine, SEED),
      `records  ${records} from ${values.file ?? 'the generator'}, ${statSync(path).size} bytes`,
    ]
    const taking = contestants(values.servers.split(','))
    const elapsed = new Map<string, number[]>()
    for (let round = 0; round < parseCount(values.rounds); round++) {
      for (const contestant of taking) {
        const { name } = contestant.plan
        const elapsedMs = await loadOnce(contestant, path, records, directory)
        note(`${name}: ${formatCount((records / elapsedMs) * 1000)} records/s`)
        elapsed.set(name, [...(elapsed.get(name) ?? []), elapsedMs])
      }
    }
    const [own, other] = ['duramen', 'redis'].map(name => rate(elapsed.get(name), records))
    const table = resultTable(own, other)
    const settings = taking.map(({ plan }) => `${plan.name}: ${plan.settings}`)
    if (other !== undefined) settings.push(`${peerVersion('ioredis')}: enableAutoPipelining`)
    print(`${head.join('\n')}\n\n${textTable(table)}\n\n${settings.join('\n')}`)
    const json = JSON.stringify({ machine, seed: SEED, records, elapsedMs: [...elapsed] }, null, 2)
    if (values.json === '-') print(json)
    else if (values.json !== undefined) writeFileSync(values.json, `${json}\n`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
