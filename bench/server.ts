/**
 * `npm run bench:server`: the rows of the speed table that go over TCP, Duramen beside Redis with
 * the same durability and a bare echo, in one run with one load generator.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { REPOSITORY } from './built.ts'
import { describeMachine, machineLines } from './machine.ts'
import { installPeers, peerVersion } from './peers.ts'
import {
  markdownTable,
  note,
  parseCount,
  print,
  replaceBetweenMarkers,
  textTable,
} from './report.ts'
import { ServerComparison, type ServerComparisonOptions } from './server/server-comparison.ts'
import {
  duramenPlan,
  echoPlan,
  redisPlan,
  type ServerPlan,
  ServerProcess,
} from './server/server-process.ts'
import { SERVER_ROWS } from './server/server-rows.ts'
import { serverTable, serverVerdicts } from './server/server-table.ts'
import { SEED, VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:server -- [options]

  --keys <count>       keys loaded first: 100k, 1m (default)
  --value-size <bytes> default ${VALUE_SIZE}
  --rounds <count>     rounds a row, the median counts (default 3; --quick 1)
  --quick              one short round: a look, not a figure to quote
  --rows <ids>         only these of ${SERVER_ROWS.map(row => row.id).join(', ')}
  --servers <names>    only these of duramen, redis, echo
  --processes <count>  processes of the load generator (default 1)
  --dir <directory>    where the servers keep their data (default: the temporary directory)
  --json <file>        also writes every round as JSON; - for standard output
  --markdown           replaces the table between the markers in README.md
`

const OPTIONS = {
  keys: { type: 'string', default: '1m' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  rounds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  rows: { type: 'string' },
  servers: { type: 'string', default: 'duramen,redis,echo' },
  processes: { type: 'string', default: '1' },
  dir: { type: 'string' },
  json: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

function availablePlans(wanted: readonly string[]): ServerPlan[] {
  const plans: ServerPlan[] = []
  const add = (name: string, plan: ServerPlan | undefined, missing: string): void => {
    if (!wanted.includes(name)) return
    if (plan === undefined) note(`SKIPPED: ${name}, ${missing}`)
    else plans.push(plan)
  }
  add('duramen', duramenPlan(), 'dist/cli/kvd.cjs is not built')
  add('redis', redisPlan(), 'redis-server is not on this machine')
  add('echo', echoPlan(), '')
  return plans
}

function chosenRows(text: string | undefined) {
  if (text === undefined) return SERVER_ROWS
  const ids = text.split(',')
  return SERVER_ROWS.filter(row => ids.includes(row.id))
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const hasIoredis = installPeers().has('ioredis')
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  const servers: ServerProcess[] = []
  try {
    const options: ServerComparisonOptions = {
      rows: chosenRows(values.rows),
      keyCount: parseCount(values.keys),
      valueSize: parseCount(values['value-size']),
      rounds: parseCount(values.rounds ?? (values.quick ? '1' : '3')),
      warmupMs: values.quick ? 500 : 1000,
      durationMs: values.quick ? 2000 : 5000,
      processes: parseCount(values.processes),
    }
    const machine = describeMachine(directory)
    const head = [
      ...machineLines(machine, SEED),
      `keys     ${options.keyCount}, values of ${options.valueSize} B, ` +
        `load generator of ${options.processes} process(es) on the same machine`,
      'cells    requests a second, latency, processor time of the server per request, ratio',
    ]
    for (const plan of availablePlans(values.servers.split(','))) {
      servers.push(await ServerProcess.start(plan, directory))
    }
    const results = await new ServerComparison(servers, hasIoredis, options).run()
    const table = serverTable(results)
    const settings = servers.map(({ plan }) => `${plan.name}: ${plan.settings}`)
    if (hasIoredis) settings.push(`${peerVersion('ioredis')}: enableAutoPipelining`)
    print(`${head.join('\n')}\n\n${textTable(table)}\n\n${settings.join('\n')}`)
    if (values.json !== undefined) {
      const findings = results.flatMap(serverVerdicts)
      const json = JSON.stringify({ machine, seed: SEED, options, results, findings }, null, 2)
      if (values.json === '-') print(json)
      else writeFileSync(values.json, `${json}\n`)
    }
    if (values.markdown) {
      const path = join(REPOSITORY, 'README.md')
      const text = [markdownTable(table), '', '```text', ...head, '```'].join('\n')
      writeFileSync(path, replaceBetweenMarkers(readFileSync(path, 'utf8'), 'bench:server', text))
    }
  } finally {
    for (const server of servers) await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
