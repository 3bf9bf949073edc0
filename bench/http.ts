/**
 * `npm run bench:http`: the HTTP door of kvd beside a bare node:http server that answers everything
 * with a constant of the same size, in one run: GET and PUT by several connections. Rounds
 * alternate between the servers; the median counts.
 *
 * Two ratios: of requests a second, and of processor time that a server takes for a request, which
 * does not depend on what else the machine does.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { builtPath, PROGRAMS } from './built.ts'
import { type Figures, runLoad } from './http/http-load.ts'
import { describeMachine, machineLines } from './machine.ts'
import { markdownTable, median, note, parseCount, print, textTable } from './report.ts'
import { HOST, type ServerPlan, ServerProcess } from './server/server-process.ts'
import { SEED } from './workloads.ts'

const HELP = `npm run bench:http -- [options]

  --keys <count>       keys loaded first, and drawn from: 10k (default), 100k
  --value-size <bytes> default 100
  --requests <count>   of a round, default 50k (--quick 10k); a tenth by one connection
  --rounds <count>     rounds a row, the median counts (default 5; --quick 3)
  --quick              a look, not a figure to quote
  --connections <list> default 1,50,1000
  --methods <list>     default GET,PUT
  --dir <directory>    where kvd keeps its data (default: the temporary directory)
  --markdown           prints the table as Markdown
`

const OPTIONS = {
  keys: { type: 'string', default: '10k' },
  'value-size': { type: 'string', default: '100' },
  requests: { type: 'string' },
  rounds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  connections: { type: 'string', default: '1,50,1000' },
  methods: { type: 'string', default: 'GET,PUT' },
  dir: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** Of a bare node:http server: what GETs must reach. */
const FLOOR = 0.8
/** A generator that is busier than this may be what is measured. */
const GENERATOR_SHARE_MAX = 0.9
const KEY_DIGITS = 12
const LINES_PER_BATCH = 1000

interface Workload {
  readonly keys: number
  readonly valueSize: number
}

interface Measured extends Figures {
  /** Processor time of the server for a request, in microseconds. */
  readonly cpuUs: number
}

function duramenPlan(): ServerPlan {
  return {
    name: 'duramen',
    driver: 'http',
    settings: "kvd serve --http-port with its defaults: durability 'sync'",
    command: process.execPath,
    args: (port, directory) => [
      ...[builtPath('cli', 'kvd.cjs'), 'serve', '--port', '0', '--http-port', String(port)],
      ...['--dir', join(directory, 'data')],
    ],
  }
}

function constantPlan(size: number): ServerPlan {
  return {
    name: 'constant',
    driver: 'http',
    settings: `a node:http server that answers everything with the same ${size} bytes`,
    command: process.execPath,
    args: port => [join(PROGRAMS, 'http', 'constant-server.js'), String(port), String(size)],
  }
}

function keyAt(at: number): string {
  return `key:${String(at).padStart(KEY_DIGITS, '0')}`
}

async function load(port: number, { keys, valueSize }: Workload): Promise<void> {
  const value = 'x'.repeat(valueSize)
  for (let at = 0; at < keys; at += LINES_PER_BATCH) {
    const count = Math.min(LINES_PER_BATCH, keys - at)
    const lines = Array.from({ length: count }, (_, offset) => {
      return JSON.stringify({ key: keyAt(at + offset), value })
    })
    const answer = await fetch(`http://${HOST}:${port}/v1/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.join('\n'),
    })
    if (!answer.ok) throw new Error(`loading failed: ${await answer.text()}`)
  }
}

/** Made before, and drawn in turn: a stride that is prime to any count visits them all. */
function requests(method: string, { keys, valueSize }: Workload): () => Buffer {
  const value = 'x'.repeat(valueSize)
  const body = method === 'PUT' ? `Content-Length: ${valueSize}\r\n\r\n${value}` : '\r\n'
  const made = Array.from({ length: Math.min(keys, 10_000) }, (_, at) => {
    const path = `/v1/kv/${keyAt((at * 7919) % keys)}`
    return Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${body}`)
  })
  let next = 0
  return () => made[next++ % made.length]!
}

async function measure(
  server: ServerProcess,
  method: string,
  connections: number,
  count: number,
  workload: Workload,
): Promise<Measured> {
  const isConstant = server.plan.name === 'constant'
  const beforeMs = server.cpuMs() ?? Number.NaN
  const figures = await runLoad({
    ...{ host: HOST, port: server.port, connections, requests: count },
    request: requests(method, workload),
    status: method === 'PUT' && !isConstant ? 204 : 200,
  })
  const cpuMs = (server.cpuMs() ?? Number.NaN) - beforeMs
  return { ...figures, cpuUs: (cpuMs * 1000) / count }
}

function medians(rounds: readonly Measured[]): Measured {
  const of = (value: (figures: Measured) => number): number => median(rounds.map(value))
  return {
    rate: of(({ rate }) => rate),
    p50Ms: of(({ p50Ms }) => p50Ms),
    p99Ms: of(({ p99Ms }) => p99Ms),
    generatorShare: of(({ generatorShare }) => generatorShare),
    cpuUs: of(({ cpuUs }) => cpuUs),
  }
}

function cellsOf({ rate, p50Ms, p99Ms, cpuUs }: Measured): string[] {
  const times = `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(1)}`
  return [Math.round(rate).toLocaleString('en'), times, cpuUs.toFixed(1)]
}

function verdict(method: string, ratio: number, generatorShare: number): string {
  const busy = generatorShare > GENERATOR_SHARE_MAX ? 'the generator was busy' : ''
  return method === 'GET' && ratio < FLOOR ? `BELOW ${FLOOR}x ${busy}` : busy
}

const HEAD = ['', 'duramen /s', 'p50 / p99 ms', 'cpu us', 'bare /s', 'p50 / p99 ms', 'cpu us']

async function compare(
  servers: readonly ServerProcess[],
  values: ReturnType<typeof parseValues>,
): Promise<string[][]> {
  const table = [[...HEAD, 'rate', 'cpu', '']]
  for (const method of values.methods) {
    for (const connections of values.connections) {
      const figures: Measured[][] = servers.map(() => [])
      const { requests, rounds, workload } = values
      const count = connections === 1 ? requests / 10 : requests
      // The first round warms up.
      for (let round = -1; round < rounds; round++) {
        for (const [index, server] of servers.entries()) {
          const measured = await measure(server, method, connections, count, workload)
          if (round >= 0) figures[index]!.push(measured)
          if (method === 'PUT') await server.settle()
        }
      }
      const [ours, bare] = figures.map(medians) as [Measured, Measured]
      const ratio = ours.rate / bare.rate
      const name = `${method}, ${connections} connections`
      const ratios = [`${ratio.toFixed(2)}x`, `${(bare.cpuUs / ours.cpuUs).toFixed(2)}x`]
      const share = Math.max(ours.generatorShare, bare.generatorShare)
      table.push([
        name,
        ...cellsOf(ours),
        ...cellsOf(bare),
        ...ratios,
        verdict(method, ratio, share),
      ])
      note(table.at(-1)!.join('  '))
    }
  }
  return table
}

function parseValues() {
  const { values } = parseArgs({ options: OPTIONS })
  return {
    ...values,
    workload: { keys: parseCount(values.keys), valueSize: parseCount(values['value-size']) },
    rounds: parseCount(values.rounds ?? (values.quick ? '3' : '5')),
    requests: parseCount(values.requests ?? (values.quick ? '10k' : '50k')),
    connections: values.connections.split(',').map(parseCount),
    methods: values.methods.split(','),
  }
}

async function main(): Promise<void> {
  const values = parseValues()
  if (values.help) return print(HELP)
  const { workload } = values
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  const servers: ServerProcess[] = []
  try {
    const head = machineLines(describeMachine(directory), SEED)
    for (const plan of [duramenPlan(), constantPlan(workload.valueSize)]) {
      servers.push(await ServerProcess.start(plan, directory))
    }
    await load(servers[0]!.port, workload)
    const table = await compare(servers, values)
    const lines = servers.map(({ plan }) => `${plan.name}: ${plan.settings}`)
    const shape =
      `${workload.keys} keys, values of ${workload.valueSize} B, ` +
      `${values.rounds} rounds of ${values.requests} requests`
    const rows = values.markdown ? markdownTable(table) : textTable(table)
    print(`${[...head, shape].join('\n')}\n\n${rows}\n\n${lines.join('\n')}`)
  } finally {
    for (const server of servers) await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
