/**
 * `npm run bench:resp`: redis-benchmark against Duramen's door for Redis clients and against Redis
 * with the same durability, in one run: SET and GET, with and without pipelining, at 1, 50 and
 * 1,000 connections. Rounds alternate between the servers; the median counts.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { builtPath } from './built.ts'
import { describeMachine, machineLines } from './machine.ts'
import { markdownTable, median, note, parseCount, print, textTable } from './report.ts'
import { HOST, redisPlan, type ServerPlan, ServerProcess } from './server/server-process.ts'
import { SEED } from './workloads.ts'

const HELP = `npm run bench:resp -- [options]

  --keys <count>       keys loaded first, and drawn from: 100k, 1m (default)
  --value-size <bytes> default 100
  --rounds <count>     rounds a row, the median counts (default 3; --quick 1)
  --quick              a tenth of the requests, one round: a look, not a figure to quote
  --connections <list> default 1,50,1000
  --pipelines <list>   commands sent at once by a connection, default 1,16
  --dir <directory>    where the servers keep their data (default: the temporary directory)
  --markdown           prints the table as Markdown
`

const OPTIONS = {
  keys: { type: 'string', default: '1m' },
  'value-size': { type: 'string', default: '100' },
  rounds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  connections: { type: 'string', default: '1,50,1000' },
  pipelines: { type: 'string', default: '1,16' },
  dir: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

const COMMANDS = ['set', 'get'] as const
const PAIRS_PER_MSET = 500
const KEY_DIGITS = 12
/** Of Redis: what must be reached, and what is aimed at. */
const FLOOR = 0.7
const GOAL = 1

interface Row {
  readonly command: (typeof COMMANDS)[number]
  readonly connections: number
  readonly pipeline: number
  readonly requests: number
}

interface Figures {
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
}

interface Workload {
  readonly keys: number
  readonly valueSize: number
}

/** kvd with its defaults and a door for Redis clients. */
function duramenPlan(): ServerPlan {
  return {
    name: 'duramen',
    driver: 'resp',
    settings: "kvd serve --resp-port with its defaults: durability 'sync'",
    command: process.execPath,
    args: (port, directory) => [
      ...[builtPath('cli', 'kvd.cjs'), 'serve', '--port', '0', '--resp-port', String(port)],
      ...['--dir', join(directory, 'data')],
    ],
  }
}

/** So many that a row takes seconds. */
function requestsOf(connections: number, pipeline: number, isQuick: boolean): number {
  const perConnection = connections === 1 ? 5000 : 100_000
  return Math.ceil((perConnection * (pipeline === 1 ? 1 : 4)) / (isQuick ? 10 : 1))
}

/** Every key that redis-benchmark may draw. */
function load(port: number, { keys, valueSize }: Workload): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: HOST, port })
    const value = 'x'.repeat(valueSize)
    const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`
    let next = 0
    const send = (): void => {
      if (next >= keys) {
        socket.end()
        resolve()
        return
      }
      const count = Math.min(PAIRS_PER_MSET, keys - next)
      const parts = [`*${1 + 2 * count}\r\n${bulk('MSET')}`]
      for (let at = 0; at < count; at++, next++) {
        parts.push(bulk(`key:${String(next).padStart(KEY_DIGITS, '0')}`), bulk(value))
      }
      socket.write(parts.join(''))
    }
    socket.on('data', reply => {
      if (reply.toString() === '+OK\r\n') send()
      else reject(new Error(`loading failed: ${reply.toString()}`))
    })
    socket.on('error', reject)
    socket.on('connect', send)
  })
}

async function measure(port: number, row: Row, { keys, valueSize }: Workload): Promise<Figures> {
  const output = await outputOf('redis-benchmark', [
    ...['-h', HOST, '-p', String(port), '-t', row.command, '-n', String(row.requests)],
    ...['-c', String(row.connections), '-P', String(row.pipeline), '-r', String(keys)],
    ...['-d', String(valueSize), '--csv'],
  ])
  const line = output.split('\n').find(text => text.startsWith(`"${row.command.toUpperCase()}"`))
  if (line === undefined) throw new Error(`redis-benchmark failed: ${output}`)
  const [, rate, , , p50Ms, , p99Ms] = line.replaceAll('"', '').split(',').map(Number)
  return { rate: rate!, p50Ms: p50Ms!, p99Ms: p99Ms! }
}

function outputOf(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', chunk => {
        output += String(chunk)
      })
    }
    child.once('error', reject)
    child.once('close', () => resolve(output))
  })
}

function numbers(list: string): number[] {
  return list.split(',').map(parseCount)
}

function medians(rounds: readonly Figures[]): Figures {
  return {
    rate: median(rounds.map(({ rate }) => rate)),
    p50Ms: median(rounds.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(rounds.map(({ p99Ms }) => p99Ms)),
  }
}

function cellsOf({ rate, p50Ms, p99Ms }: Figures): string[] {
  return [Math.round(rate).toLocaleString('en'), `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(1)}`]
}

function verdict(ratio: number): string {
  if (ratio >= GOAL) return ''
  return ratio >= FLOOR ? `below ${GOAL}x` : `BELOW ${FLOOR}x`
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const redis = redisPlan()
  if (redis === undefined || spawnSync('redis-benchmark', ['--version']).status !== 0) {
    return note('SKIPPED: redis-server and redis-benchmark are not on this machine')
  }
  const workload = { keys: parseCount(values.keys), valueSize: parseCount(values['value-size']) }
  const rounds = parseCount(values.rounds ?? (values.quick ? '1' : '3'))
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  const servers: ServerProcess[] = []
  try {
    const head = machineLines(describeMachine(directory), SEED)
    for (const plan of [duramenPlan(), redis]) {
      const server = await ServerProcess.start(plan, directory)
      servers.push(server)
      note(`loading ${workload.keys} keys into ${plan.name}`)
      await load(server.port, workload)
      await server.settle()
    }
    const table = [['', 'duramen /s', 'p50 / p99 ms', 'redis /s', 'p50 / p99 ms', 'ratio', '']]
    for (const pipeline of numbers(values.pipelines)) {
      for (const connections of numbers(values.connections)) {
        for (const command of COMMANDS) {
          const requests = requestsOf(connections, pipeline, values.quick)
          const row: Row = { command, connections, pipeline, requests }
          const figures: Figures[][] = servers.map(() => [])
          for (let round = 0; round < rounds; round++) {
            for (const [index, server] of servers.entries()) {
              figures[index]!.push(await measure(server.port, row, workload))
              await server.settle()
            }
          }
          const [ours, theirs] = figures.map(medians)
          const ratio = ours!.rate / theirs!.rate
          const name = `${command.toUpperCase()}, ${connections} connections, -P ${pipeline}`
          const cells = [name, ...cellsOf(ours!), ...cellsOf(theirs!)]
          table.push([...cells, `${ratio.toFixed(2)}x`, verdict(ratio)])
          note(table.at(-1)!.join('  '))
        }
      }
    }
    const lines = servers.map(({ plan }) => `${plan.name}: ${plan.settings}`)
    const shape = `${workload.keys} keys, values of ${workload.valueSize} B, rounds: ${rounds}`
    const rows = values.markdown ? markdownTable(table) : textTable(table)
    print(`${[...head, shape].join('\n')}\n\n${rows}\n\n${lines.join('\n')}`)
  } finally {
    for (const server of servers) await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
