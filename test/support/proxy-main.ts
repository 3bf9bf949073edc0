/**
 * `npm run test:proxy`: two proxies before three nodes, all real processes, under the load of 1,000
 * clients that does not wait; one proxy is killed, then one node.
 *
 *   npm run test:proxy -- --seconds 40
 *   npm run test:proxy -- --clients 50 --rate 3000
 *
 * Fails when less than 99.9 % of the calls of a phase succeed, or an acknowledged write is lost.
 * Every client has connections of its own with both proxies. All clients are in this process: the
 * table says how many processors it kept busy, for with more than one to do, calls wait here.
 */
import { rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { delay, systemClock } from '../../src/clock.ts'
import { decodeRoutes } from '../../src/cluster/index.ts'
import { type Client, connect } from '../../src/net/index.ts'
import { type Random, seededRandom, systemRandom } from '../../src/random.ts'
import { DuramenCluster } from './chaos/duramen-cluster.ts'
import { keyText, WriteHistory } from './chaos/history.ts'
import { type ChaosClient, type LoadReport, OpenLoopLoad } from './chaos/load.ts'
import { ProcessCpu } from './chaos/process-cpu.ts'
import { ProgressLine } from './progress-line.ts'
import { ProxyProcess } from './proxy-process.ts'
import { newDirectory } from './temp-directory.ts'

const OPTIONS = {
  seconds: { type: 'string', default: '40' },
  callers: { type: 'string', default: '1000' },
  clients: { type: 'string', default: '1000' },
  rate: { type: 'string', default: '1000' },
  reads: { type: 'string', default: '80' },
  keys: { type: 'string', default: '100000' },
  port: { type: 'string', default: '18700' },
  seed: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const HELP = `npm run test:proxy -- [options]

  --seconds <count>   of all four phases together (default 40)
  --callers <count>   who make the calls (default 1000)
  --clients <count>   SDK clients that they share, each connected with both proxies (default 1000)
  --rate <count>      calls a second, whether others were answered or not (default 1000)
  --reads <percent>   of the calls (default 80)
  --keys <count>      that are read and written (default 100000)
  --port <port>       the first one (default 18700)
  --seed <number>     default random; replays the choices, not the scheduling
`

const NODE_COUNT = 3
const SUCCESS_MIN = 0.999
const TIMEOUT_MS = 3000
const WHOLE_MS_MAX = 60_000
const CHECKED_AT_ONCE = 1000
/** So many clients connect at the same time. */
const CONNECTED_AT_ONCE = 100
/** Of a phase, before something happens. */
const EVENT_AT = 0.25

interface Row {
  readonly phase: string
  readonly load: LoadReport
  /** Processors that the proxies and the nodes kept busy. */
  readonly proxyCpu: number
  readonly nodeCpu: number
}

interface Phase {
  readonly name: string
  readonly event: () => Promise<void>
}

function count(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`'${text}' is not a number above 0`)
}

function successOf({ operations, failures }: LoadReport): number {
  return operations === 0 ? 0 : 1 - failures / operations
}

async function connectAll(url: string, total: number): Promise<Client[]> {
  const clients: Client[] = []
  while (clients.length < total) {
    const length = Math.min(CONNECTED_AT_ONCE, total - clients.length)
    const some = Array.from({ length }, () => connect(url, { timeoutMs: TIMEOUT_MS, decodeRoutes }))
    clients.push(...(await Promise.all(some)))
  }
  return clients
}

function chaosClient(client: Client): ChaosClient {
  return {
    get: async key => {
      const value = await client.get(key)
      return value && Buffer.from(value).toString()
    },
    put: (key, value) => client.put(key, value),
    close: () => client.close(),
  }
}

/** Keys whose acknowledged value is gone. */
async function lostKeys(client: Client, history: WriteHistory): Promise<number> {
  const written = history.written()
  let lost = 0
  for (let at = 0; at < written.length; at += CHECKED_AT_ONCE) {
    const keys = written.slice(at, at + CHECKED_AT_ONCE)
    const values = await client.getMany(keys.map(keyText), {
      consistency: 'all',
      timeoutMs: 30_000,
    })
    for (const [index, key] of keys.entries()) {
      const value = values[index]
      const text = value && Buffer.from(value).toString()
      if (history.judge(key, text) !== 'right') lost++
    }
  }
  return lost
}

async function becomesWhole(cluster: DuramenCluster): Promise<void> {
  const clock = systemClock()
  const endMs = clock.monotonicMs() + WHOLE_MS_MAX
  while (!(await cluster.isWhole())) {
    if (clock.monotonicMs() > endMs) throw new Error('the node that was killed did not come back')
    await delay(clock, 100)
  }
}

function print(rows: readonly Row[]): void {
  const titles = ['phase', 'calls', 'success %', 'p50 ms', 'p99 ms', 'max ms', 'silent ms']
  titles.push('cores: load', 'proxies', 'nodes')
  const lines = rows.map(({ phase, load, proxyCpu, nodeCpu }) => [
    phase,
    String(load.operations),
    (100 * successOf(load)).toFixed(3),
    ...[load.p50Ms, load.p99Ms, load.maxMs, load.longestSilenceMs].map(ms => ms.toFixed(1)),
    ...[load.cpu, proxyCpu, nodeCpu].map(cores => cores.toFixed(2)),
  ])
  const all = [titles, ...lines]
  const widths = titles.map((_, column) => Math.max(...all.map(line => line[column]!.length)))
  for (const line of all) {
    const shown = line.map((cell, column) => {
      return column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
    })
    process.stdout.write(`${shown.join('  ')}\n`)
  }
  for (const { phase, load } of rows) {
    for (const message of load.messages) process.stdout.write(`${phase}: ${message}\n`)
  }
}

async function runPhase(
  { name, event }: Phase,
  seconds: number,
  options: ConstructorParameters<typeof OpenLoopLoad>[0],
  used: { proxyMs(): number; nodeMs(): number },
): Promise<Row> {
  const clock = systemClock()
  const load = new OpenLoopLoad(options)
  const [proxyMs, nodeMs] = [used.proxyMs(), used.nodeMs()]
  load.start()
  await delay(clock, seconds * 1000 * EVENT_AT)
  await event()
  await delay(clock, seconds * 1000 * (1 - EVENT_AT))
  const report = await load.stop()
  const tookMs = report.seconds * 1000
  return {
    ...{ phase: name, load: report },
    proxyCpu: (used.proxyMs() - proxyMs) / tookMs,
    nodeCpu: (used.nodeMs() - nodeMs) / tookMs,
  }
}

async function run(
  values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'],
  directory: string,
  random: Random,
  line: ProgressLine,
): Promise<boolean> {
  const port = count(values.port)
  const cluster = new DuramenCluster({
    ...{ directory, port, network: undefined, timeoutMs: TIMEOUT_MS, nodeCount: NODE_COUNT },
    arguments: ['--memory-budget', '96MiB'],
  })
  const nodes = Array.from({ length: NODE_COUNT }, (_, at) => `127.0.0.1:${port + at}`)
  const startProxy = (number: number): ProxyProcess => new ProxyProcess(port + 50 + number, nodes)
  let proxies: ProxyProcess[] = []
  let clients: Client[] = []
  const proxyCpu = new ProcessCpu()
  const used = {
    nodeMs: () => cluster.cpuMs(),
    proxyMs: () => {
      for (const proxy of proxies) proxy.countTo(proxyCpu)
      return proxyCpu.total([])
    },
  }
  try {
    line.show(() => 'starting the nodes')
    await cluster.start()
    proxies = [startProxy(0), startProxy(1)]
    for (const proxy of proxies) await proxy.answered()
    line.show(() => 'connecting the clients')
    const url = `kv://${proxies.map(({ address }) => address).join(',')}`
    clients = await connectAll(url, count(values.clients))
    const history = new WriteHistory(count(values.keys))
    const phases: Phase[] = [
      { name: 'nothing happens', event: () => Promise.resolve() },
      {
        name: 'a proxy is killed',
        event: () => {
          proxies[0]!.countTo(proxyCpu)
          return proxies[0]!.kill()
        },
      },
      {
        name: 'it comes back',
        event: () => {
          proxies = [startProxy(0), proxies[1]!]
          return proxies[0]!.answered()
        },
      },
      { name: 'a node is killed', event: () => cluster.kill(1) },
    ]
    const rows: Row[] = []
    for (const phase of phases) {
      line.show(() => phase.name)
      const options = {
        clients: clients.map(chaosClient),
        ...{ history, random, rate: count(values.rate), callers: count(values.callers) },
        readPart: count(values.reads) / 100,
      }
      rows.push(await runPhase(phase, count(values.seconds) / phases.length, options, used))
    }
    // What it acknowledged and had not sent on by then, it brings when it is back.
    await cluster.restart(1)
    await becomesWhole(cluster)
    const lost = await lostKeys(clients[0]!, history)
    line.clear()
    print(rows)
    process.stdout.write(`${history.acknowledgedCount} writes acknowledged, ${lost} keys lost\n`)
    return lost === 0 && rows.every(({ load }) => successOf(load) >= SUCCESS_MIN)
  } finally {
    line.clear()
    await Promise.all(clients.map(client => client.close()))
    await Promise.all(proxies.map(proxy => proxy.kill()))
    await cluster.stop()
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const seed = values.seed === undefined ? systemRandom().below(2 ** 31) : Number(values.seed)
  const directory = newDirectory('proxy')
  process.stdout.write(
    `two proxies, three nodes; ${values.callers} callers of ${values.clients} clients, ` +
      `${values.rate} calls a second; seed ${seed}, Node.js ${process.version}, ` +
      `${cpus().length} cores\n`,
  )
  try {
    const isWell = await run(values, directory, seededRandom(seed), new ProgressLine())
    if (!isWell) process.exitCode = 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
