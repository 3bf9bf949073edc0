/**
 * `npm run test:chaos`: real processes, load that does not wait, and faults: what a cluster of kvd
 * promises while nodes are killed, hang, and are cut off from each other, and what Redis Cluster
 * does under the same.
 *
 *   npm run test:chaos -- --nodes 3
 *   npm run test:chaos -- --subjects duramen,redis --scenarios kills --away 20
 *
 * Fails when an acknowledged write is lost by kvd, or a replica never gets one. Cutting the network
 * takes root and iproute2; without them, and with --loopback, that scenario is left out.
 */
import { rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { KvError } from '../../src/errors.ts'
import { seededRandom, systemRandom } from '../../src/random.ts'
import { type ChaosLengths, type ChaosRow, runScenario } from './chaos/chaos-run.ts'
import { DuramenCluster } from './chaos/duramen-cluster.ts'
import { keyText, valueText, WriteHistory } from './chaos/history.ts'
import type { ChaosClient } from './chaos/load.ts'
import { NetworkLab } from './chaos/network-lab.ts'
import { RedisCluster } from './chaos/redis-cluster.ts'
import { chaosTable, comparisonTable } from './chaos/report.ts'
import { SCENARIOS } from './chaos/scenarios.ts'
import type { ChaosSubject } from './chaos/subject.ts'
import { ProgressLine } from './progress-line.ts'
import { newDirectory } from './temp-directory.ts'

const HELP = `npm run test:chaos -- [options]

  --nodes <count>       of kvd, 3 or more (default 3); Redis has three masters and three replicas
  --subjects <list>     duramen, redis (default duramen)
  --scenarios <list>    ${SCENARIOS.map(({ name }) => name).join(', ')} (default all)
  --rate <count>        calls a second, whether others were answered or not (default 5000)
  --callers <count>     who make them (default 1000)
  --clients <count>     SDK clients that they share, each with a connection a node (default 50)
  --reads <percent>     of the calls (default 80)
  --keys <count>        that there are, written before (default 100000)
  --divergent <count>   keys that are written during a cut, or that a node loses behind its back
                        (default 100000)
  --kills <count>       one after the other (default 5)
  --away <seconds>      from a kill to the start of the node (default 10)
  --pause <seconds>     for which a node hangs (default 30)
  --cut <seconds>       for which the network is cut in two (default 60)
  --baseline <seconds>  without any fault (default 60)
  --memory-budget <s>   of each kvd (default 96MiB)
  --port <port>         the first one (default 17700)
  --loopback            all nodes on 127.0.0.1: no partition
  --seed <number>       default random; replays the choices, not the scheduling
  --dir <directory>     where the data goes (default: the system's temporary directory)
  --keep                keeps the directory
  --json                prints one JSON object
  --markdown            prints tables in Markdown
`

const OPTIONS = {
  nodes: { type: 'string', default: '3' },
  subjects: { type: 'string', default: 'duramen' },
  scenarios: { type: 'string', default: SCENARIOS.map(({ name }) => name).join(',') },
  rate: { type: 'string', default: '5000' },
  callers: { type: 'string', default: '1000' },
  clients: { type: 'string', default: '50' },
  reads: { type: 'string', default: '80' },
  keys: { type: 'string', default: '100000' },
  divergent: { type: 'string', default: '100000' },
  kills: { type: 'string', default: '5' },
  away: { type: 'string', default: '10' },
  pause: { type: 'string', default: '30' },
  cut: { type: 'string', default: '60' },
  baseline: { type: 'string', default: '60' },
  'memory-budget': { type: 'string', default: '96MiB' },
  port: { type: 'string', default: '17700' },
  loopback: { type: 'boolean', default: false },
  seed: { type: 'string' },
  dir: { type: 'string' },
  keep: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

const TIMEOUT_MS = 3000
const INTERRUPTED = 130
const PRELOAD_CALLS = 256
const PRELOAD_FAILURES_MAX = 1000

function count(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`'${text}' is not a number above 0`)
}

function lengthsOf(values: Values): ChaosLengths {
  return {
    baseline: count(values.baseline),
    kills: count(values.kills),
    away: count(values.away),
    pause: count(values.pause),
    cut: count(values.cut),
  }
}

function print(text: string): void {
  process.stdout.write(text)
}

async function openNetwork(values: Values): Promise<NetworkLab | undefined> {
  const mayCut = !values.loopback && values.scenarios.includes('partition')
  if (!mayCut || !values.subjects.includes('duramen')) return undefined
  try {
    return await NetworkLab.open(count(values.nodes), process.pid % 10_000)
  } catch (error) {
    process.stderr.write(`no network of namespaces, so no partition: ${String(error)}\n`)
    return undefined
  }
}

function createSubject(
  name: string,
  values: Values,
  directory: string,
  network: NetworkLab | undefined,
): ChaosSubject {
  const port = count(values.port)
  if (name === 'redis') {
    return new RedisCluster({ directory, port: port + 1000, timeoutMs: TIMEOUT_MS })
  }
  if (name !== 'duramen') throw new Error(`'${name}' is no subject: duramen, redis`)
  return new DuramenCluster({
    ...{ directory, port, network, timeoutMs: TIMEOUT_MS },
    nodeCount: count(values.nodes),
    arguments: ['--memory-budget', values['memory-budget']],
  })
}

async function preload(
  clients: readonly ChaosClient[],
  history: WriteHistory,
  progress: (text: string) => void,
): Promise<void> {
  let next = 0
  let failures = 0
  const write = async (key: number): Promise<void> => {
    const number = history.begin(key)
    try {
      await clients[key % clients.length]!.put(keyText(key), valueText(key, number))
      history.acknowledged(key, number)
    } catch (error) {
      if (!(error instanceof KvError) || ++failures > PRELOAD_FAILURES_MAX) throw error
      history.failed(key, number, error.outcome === 'unknown')
      await write(key)
    }
  }
  const caller = async (): Promise<void> => {
    while (next < history.keyCount) {
      const key = next++
      await write(key)
      if (key % 1000 === 0) progress(`${key} keys written, ${failures} failures`)
    }
  }
  await Promise.all(Array.from({ length: PRELOAD_CALLS }, caller))
}

async function runSubject(
  subject: ChaosSubject,
  values: Values,
  seed: number,
  line: ProgressLine,
): Promise<ChaosRow[]> {
  let doing = 'starting'
  const progress = (text: string): void => {
    line.show(() => `${subject.name}, ${doing}: ${text}`)
  }
  progress('')
  await subject.start()
  const random = seededRandom(seed)
  const history = new WriteHistory(count(values.keys))
  const connections = Array.from({ length: count(values.clients) }, () => subject.connect())
  const clients = await Promise.all(connections)
  const rows: ChaosRow[] = []
  try {
    await preload(clients, history, progress)
    for (const scenario of SCENARIOS) {
      if (!values.scenarios.split(',').includes(scenario.name)) continue
      if (!scenario.isPossible(subject)) continue
      doing = scenario.name
      progress('')
      const row = await runScenario(scenario, {
        ...{ subject, clients, history, random, progress },
        callers: count(values.callers),
        rate: count(values.rate),
        readPart: count(values.reads) / 100,
        lengths: lengthsOf(values),
        divergentKeys: count(values.divergent),
      })
      rows.push(row)
      line.clear()
      // What is known must not be lost when a later scenario fails.
      process.stderr.write(`${chaosTable([row])}\n`)
    }
  } finally {
    for (const client of clients) await client.close()
    await subject.stop()
  }
  return rows
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) {
    print(HELP)
    return
  }
  const seed = values.seed === undefined ? systemRandom().below(2 ** 31) : count(values.seed)
  const directory = newDirectory('chaos', values.dir)
  const line = new ProgressLine()
  const network = await openNetwork(values)
  const results: Record<string, readonly ChaosRow[]> = {}
  let running: ChaosSubject | undefined
  const interrupt = async (): Promise<never> => {
    await running?.stop()
    await network?.close()
    line.clear()
    process.stderr.write(`interrupted; the data is in ${directory}\n`)
    process.exit(INTERRUPTED)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void interrupt())
  let isKept = values.keep
  try {
    for (const name of values.subjects.split(',')) {
      const subject = createSubject(name, values, join(directory, name), network)
      running = subject
      const rows = await runSubject(subject, values, seed, line)
      results[name] = rows
      line.clear()
      if (values.json) continue
      print(`${describe(subject, values, seed)}\n\n${chaosTable(rows, values.markdown)}\n`)
    }
    if (!values.json) print(comparisonOf(results))
    const isBroken = (results['duramen'] ?? []).some(({ lost, behind, foreign }) => {
      return lost + behind + foreign > 0
    })
    if (values.json) print(`${JSON.stringify({ seed, options: values, results })}\n`)
    if (isBroken) process.exitCode = 1
    isKept ||= isBroken
  } catch (error) {
    isKept = true
    throw error
  } finally {
    line.clear()
    await network?.close()
    if (isKept) process.stderr.write(`the data is in ${directory}\n`)
    else rmSync(directory, { recursive: true, force: true })
  }
}

/** Of what was done to more than one subject. */
function comparisonOf(results: Readonly<Record<string, readonly ChaosRow[]>>): string {
  const names = Object.keys(results)
  if (names.length < 2) return ''
  const titles = results[names[0]!]!.filter(({ load }) => load !== undefined)
  return titles
    .map(({ scenario }) => {
      const entries = names.map(name => {
        return [name, results[name]!.find(row => row.scenario === scenario)] as const
      })
      return `${comparisonTable(Object.fromEntries(entries), scenario)}\n`
    })
    .join('')
}

function describe({ name, nodeCount }: ChaosSubject, values: Values, seed: number): string {
  const { callers, clients, rate, reads, keys } = values
  return (
    `${name}, ${nodeCount} nodes: ${callers} callers of ${clients} clients, ${rate} calls a ` +
    `second in an open loop, ${reads} % reads, ${keys} keys; seed ${seed}, Node.js ` +
    `${process.version}, ${cpus().length} cores. 'whole', 'owed' and 'equal' count from the end ` +
    'of the last fault.'
  )
}

await main()
