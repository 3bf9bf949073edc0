/**
 * `npm run bench:cluster`: what a cluster costs: the same calls to one node alone and to three
 * nodes that hold three copies, all on this machine. Processor time is that of all nodes, and
 * counted until every replica has every write; the client is a process of its own beside them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { REPOSITORY } from './built.ts'
import { Nodes } from './cluster/nodes.ts'
import {
  CLUSTER_ROWS,
  type ClusterRound,
  type ClusterRow,
  preload,
  type RoundOptions,
  runRow,
} from './cluster/rows.ts'
import { describeMachine, machineLines } from './machine.ts'
import {
  formatCount,
  formatDigits,
  markdownTable,
  median,
  note,
  parseCount,
  print,
  replaceBetweenMarkers,
  textTable,
} from './report.ts'
import { SEED, VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:cluster -- [options]

  --nodes <count>      of the cluster, with as many copies up to 3 (default 3)
  --keys <count>       loaded first (default 50k)
  --value-size <bytes> default ${VALUE_SIZE}
  --callers <count>    concurrent callers of one client (default 256)
  --seconds <count>    of each row in each round (default 4)
  --rounds <count>     the median counts (default 3)
  --dir <directory>    where the nodes keep their data (default: the temporary directory)
  --json <file>        also writes every round as JSON; - for standard output
  --markdown           replaces the table between the markers in README.md
`

const OPTIONS = {
  nodes: { type: 'string', default: '3' },
  keys: { type: 'string', default: '50k' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  callers: { type: 'string', default: '256' },
  seconds: { type: 'string', default: '4' },
  rounds: { type: 'string', default: '3' },
  dir: { type: 'string' },
  json: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** Rounds by the row's id. */
type Measured = Map<string, ClusterRound[]>

async function measure(
  count: number,
  rows: readonly ClusterRow[],
  options: RoundOptions,
  round: number,
  directory: string,
  into: Measured,
): Promise<void> {
  const nodes = await Nodes.start(count, directory)
  try {
    await preload(nodes, options)
    for (const row of rows) {
      const measured = await runRow(row, nodes, options, round)
      note(`round ${round + 1}, ${count} node(s), ${row.id}: ${cellText(measured)}`)
      into.set(row.id, [...(into.get(row.id) ?? []), measured])
    }
  } finally {
    await nodes.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

type Figure = 'perSecond' | 'p50Ms' | 'p99Ms' | 'cpuUs' | 'sentPerByte' | 'sentPerOperation'

/** The median round; undefined when it was not measured. */
function figureOf(rounds: readonly ClusterRound[] | undefined, name: Figure): number | undefined {
  const values = rounds?.flatMap(round => round[name] ?? []) ?? []
  return values.length === 0 ? undefined : median(values)
}

function cellText(round: ClusterRound): string {
  const { perSecond, p50Ms, p99Ms, cpuUs } = round
  const parts = [
    `${formatCount(perSecond)}/s`,
    `p50 ${formatDigits(p50Ms)}`,
    `p99 ${formatDigits(p99Ms)} ms`,
  ]
  if (cpuUs !== undefined) parts.push(`${formatDigits(cpuUs)} us`)
  return parts.join(', ')
}

function medianCell(rounds: readonly ClusterRound[] | undefined): string {
  if (rounds === undefined) return ''
  const of = (name: Figure): number => figureOf(rounds, name) ?? Number.NaN
  const cpuUs = figureOf(rounds, 'cpuUs')
  const figures = { perSecond: of('perSecond'), p50Ms: of('p50Ms'), p99Ms: of('p99Ms') }
  return cellText({
    ...figures,
    ...(cpuUs === undefined ? {} : { cpuUs }),
    sentPerOperation: of('sentPerOperation'),
  })
}

function ratioText(a: number | undefined, b: number | undefined): string {
  return a === undefined || b === undefined ? '' : `${formatDigits(a / b)}x`
}

function resultTable(count: number, alone: Measured, together: Measured): string[][] {
  const head = ['Path', 'One node', `${count} nodes`, 'Throughput', 'CPU', 'Sent', 'Sent per byte']
  const rows = CLUSTER_ROWS.map(({ id, title, baseline }) => {
    const [one, many] = [alone.get(baseline), together.get(id)]
    const sent = figureOf(many, 'sentPerOperation')
    const perByte = figureOf(many, 'sentPerByte')
    return [
      title,
      medianCell(one),
      medianCell(many),
      ratioText(figureOf(many, 'perSecond'), figureOf(one, 'perSecond')),
      ratioText(figureOf(many, 'cpuUs'), figureOf(one, 'cpuUs')),
      sent === undefined ? '' : `${formatDigits(sent)} B`,
      perByte === undefined ? '' : formatDigits(perByte),
    ]
  })
  return [head, ...rows]
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  try {
    const durationMs = Number(values.seconds) * 1000
    const options: RoundOptions = {
      keyCount: parseCount(values.keys),
      valueSize: parseCount(values['value-size']),
      callers: parseCount(values.callers),
      warmupMs: Math.min(1000, durationMs),
      durationMs,
    }
    const count = parseCount(values.nodes)
    const machine = describeMachine(directory)
    const head = [
      ...machineLines(machine, SEED),
      `load     ${machine.load.toFixed(1)} before the start`,
      `keys     ${options.keyCount}, values of ${options.valueSize} B`,
      `client   ${options.callers} callers, beside all nodes on this machine`,
      'cells    operations a second, latency, processor time of all nodes for one; what nodes',
      '         send each other for one, and for each byte of key and value that is copied',
    ]
    const alone: Measured = new Map()
    const together: Measured = new Map()
    const baselines = CLUSTER_ROWS.filter(({ id, baseline }) => id === baseline)
    for (let round = 0; round < parseCount(values.rounds); round++) {
      const place = (name: string) => join(directory, `${name}-${round}`)
      await measure(1, baselines, options, round, place('one'), alone)
      await measure(count, CLUSTER_ROWS, options, round, place('cluster'), together)
    }
    const table = resultTable(count, alone, together)
    print(`${head.join('\n')}\n\n${textTable(table)}`)
    if (values.json !== undefined) {
      const rounds = { one: Object.fromEntries(alone), cluster: Object.fromEntries(together) }
      const json = JSON.stringify({ machine, seed: SEED, nodes: count, options, rounds }, null, 2)
      if (values.json === '-') print(json)
      else writeFileSync(values.json, `${json}\n`)
    }
    if (values.markdown) {
      const path = join(REPOSITORY, 'README.md')
      const text = [markdownTable(table), '', '```text', ...head, '```'].join('\n')
      writeFileSync(path, replaceBetweenMarkers(readFileSync(path, 'utf8'), 'bench:cluster', text))
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
