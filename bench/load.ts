/**
 * `npm run bench:load`: the load generator against a server that already runs: Duramen, anything
 * that speaks RESP, or an echo. Real sockets, open or closed loop, percentiles that count the time
 * from when a request was due.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isDistribution } from './key-chooser.ts'
import { isDriverName } from './load/driver.ts'
import { LoadGenerator } from './load/load-generator.ts'
import type { LoadSummary, Percentiles } from './load/load-tally.ts'
import { formatCount, formatDigits, note, parseCount, print, textTable } from './report.ts'
import { VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:load -- [options]

  --driver <name>        duramen (default), resp or echo
  --host, --port         default 127.0.0.1; the port has no default
  --connections <count>  default 1000, each a socket
  --processes <count>    of the generator, default 1
  --mode <mode>          closed (default): --depth requests in flight on each connection
                         open: --rate requests a second, whatever the server does
  --rate <count>         default 5000
  --depth <count>        default 1
  --read-ratio <0..1>    default 0.5
  --distribution <name>  uniform (default), zipfian or latest
  --keys <count>         default 1m
  --value-size <bytes>   default ${VALUE_SIZE}
  --preload              writes every key first
  --warmup <ms>          default 1000, not counted
  --duration <ms>        default 10000
  --json <file>          also writes the result as JSON; - for standard output
`

const OPTIONS = {
  driver: { type: 'string', default: 'duramen' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string' },
  connections: { type: 'string', default: '1000' },
  processes: { type: 'string', default: '1' },
  mode: { type: 'string', default: 'closed' },
  rate: { type: 'string', default: '5000' },
  depth: { type: 'string', default: '1' },
  'read-ratio': { type: 'string', default: '0.5' },
  distribution: { type: 'string', default: 'uniform' },
  keys: { type: 'string', default: '1m' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  preload: { type: 'boolean', default: false },
  warmup: { type: 'string', default: '1000' },
  duration: { type: 'string', default: '10000' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

function line(name: string, part: Percentiles): string[] {
  const latencies = [part.p50Ms, part.p90Ms, part.p99Ms, part.p999Ms, part.maxMs]
  return [name, String(part.count), ...latencies.map(formatDigits)]
}

function report(summary: LoadSummary): string {
  const table = textTable([
    ['latency in ms', 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'],
    line('read', summary.read),
    line('write', summary.write),
    line('all', summary.all),
  ])
  const errors = Object.entries(summary.errors).map(([error, count]) => `${error}: ${count}`)
  return [
    `${formatCount(summary.perSecond)} requests a second`,
    table,
    `errors: ${errors.length === 0 ? 'none' : errors.join(', ')}`,
    `generator: ${Math.round(summary.busy * 100)} % of a core, ` +
      `sent at most ${formatDigits(summary.lagMaxMs)} ms late`,
  ].join('\n')
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const { driver, mode, distribution } = values
  if (!isDriverName(driver)) throw new Error(`unknown driver ${driver}`)
  if (mode !== 'open' && mode !== 'closed') throw new Error(`unknown mode ${mode}`)
  if (!isDistribution(distribution)) throw new Error(`unknown distribution ${distribution}`)
  if (values.port === undefined) throw new Error('--port is missing')
  const generator = await LoadGenerator.start({
    driver,
    host: values.host,
    port: parseCount(values.port),
    connections: parseCount(values.connections),
    processes: parseCount(values.processes),
    keyCount: parseCount(values.keys),
    valueSize: parseCount(values['value-size']),
  })
  try {
    if (values.preload) {
      note(`writing ${values.keys} keys`)
      await generator.preload()
    }
    const summary = await generator.run({
      mode,
      rate: parseCount(values.rate),
      depth: parseCount(values.depth),
      readRatio: Number(values['read-ratio']),
      distribution,
      warmupMs: parseCount(values.warmup),
      durationMs: parseCount(values.duration),
    })
    print(report(summary))
    const json = JSON.stringify({ options: values, ...summary }, null, 2)
    if (values.json === '-') print(json)
    else if (values.json !== undefined) writeFileSync(values.json, `${json}\n`)
  } finally {
    await generator.stop()
  }
}

await main()
