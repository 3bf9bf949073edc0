/**
 * `npm run bench:sustained`: random writes at full speed for minutes, every second counted and
 * drawn. What averages hide: the seconds in which compaction is behind and writers wait.
 *
 * Two promises are held against it: the slowest second is at least a third of the median, and no
 * slow second is without a reason in the stats of the store.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { REPOSITORY } from './built.ts'
import { Child } from './child.ts'
import { type ChartSpan, lineChart } from './long/line-chart.ts'
import type { SustainedArgument, SustainedSecond } from './long/sustained-process.ts'
import { describeMachine, machineLines } from './machine.ts'
import { formatCount, formatDigits, median, note, parseCount, print, textTable } from './report.ts'
import { SEED, VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:sustained -- [options]

  --minutes <minutes>     how long to write (default 10)
  --keys <count>          keys to choose from, each as likely (default 20m)
  --callers <count>       callers, each waits for its own write (default 1000)
  --durability <how>      sync (default), interval or none
  --value-size <bytes>    default ${VALUE_SIZE}
  --dir <directory>       where the database goes (default: the system's temporary directory)
  --json <file>           also writes every second as JSON; - for standard output

The picture goes to bench/output/sustained.svg.
`

const OPTIONS = {
  minutes: { type: 'string', default: '10' },
  keys: { type: 'string', default: '20m' },
  callers: { type: 'string', default: '1000' },
  durability: { type: 'string', default: 'sync' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  dir: { type: 'string' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const MIB = 1024 * 1024
const MEMORY_BUDGET = 256 * MIB
/** The slowest second against the median. */
const SLOWEST_SHARE_MIN = 1 / 3
/** The first second opens files and compiles code. */
const WARMUP_SECONDS = 1
const NOTE_EVERY_SECONDS = 10
/** Of a second: writers held back for less are not what made it slow. */
const STALL_SHARE_MIN = 0.1
const DELAY_P99_MS_MAX = 5
const MEMORY_OVER_MIB_MAX = 120

async function measure(argument: SustainedArgument, seconds: number): Promise<SustainedSecond[]> {
  const child = new Child('long/sustained-process')
  try {
    await child.call('start', argument)
    for (let second = 0; second < WARMUP_SECONDS; second++) await child.call('second')
    const measured: SustainedSecond[] = []
    while (measured.length < seconds) {
      const second = await child.call<SustainedSecond>('second')
      measured.push(second)
      if (measured.length % NOTE_EVERY_SECONDS !== 0) continue
      const stall = second.stalledMs > 0 ? `, held back ${Math.round(second.stalledMs)} ms` : ''
      note(`${measured.length}/${seconds} s: ${formatCount(second.writes)}/s${stall}`)
    }
    await child.call('stop')
    return measured
  } finally {
    await child.kill()
  }
}

/** Whether stats explain why a second was slow. */
function isExplained(second: SustainedSecond): boolean {
  return second.reasons.length > 0 && second.stalledMs >= STALL_SHARE_MIN * 1000
}

function summary(seconds: readonly SustainedSecond[]): string[][] {
  const rates = seconds.map(second => second.writes)
  const middle = median(rates)
  const slowest = Math.min(...rates)
  const slow = seconds.filter(second => second.writes < middle * SLOWEST_SHARE_MIN)
  const unexplained = slow.filter(second => !isExplained(second)).length
  const delays = seconds.map(second => second.delayP99Ms).toSorted((a, b) => a - b)
  const delay = delays[Math.ceil(delays.length * 0.99) - 1] ?? 0
  const memory = Math.max(...seconds.map(second => second.residentMiB))
  const memoryMax = MEMORY_BUDGET / MIB + MEMORY_OVER_MIB_MAX
  const met = (holds: boolean) => (holds ? 'met' : 'NOT MET')
  return [
    ['Figure', 'Measured', 'Target', 'Result'],
    ['median second', `${formatCount(middle)}/s`, '', ''],
    [
      'slowest second',
      `${formatCount(slowest)}/s (${formatDigits(slowest / middle)} of the median)`,
      '0.33 of the median',
      met(slowest >= middle * SLOWEST_SHARE_MIN),
    ],
    ['slow seconds without a reason', String(unexplained), '0', met(unexplained === 0)],
    ['seconds with writers held back', String(seconds.filter(isExplained).length), '', ''],
    [
      'event loop delay, p99 of a second',
      `${formatDigits(delay)} ms (99 % of the seconds)`,
      `< ${DELAY_P99_MS_MAX} ms`,
      met(delay < DELAY_P99_MS_MAX),
    ],
    ['memory', `${memory.toFixed(0)} MiB`, `${memoryMax} MiB`, met(memory <= memoryMax)],
  ]
}

function picture(seconds: readonly SustainedSecond[], title: string): string {
  const rates = seconds.map(second => second.writes)
  const middle = median(rates)
  const spans: ChartSpan[] = seconds.flatMap((second, at) =>
    isExplained(second) ? [{ from: at, to: at + 1 }] : [],
  )
  return lineChart({
    title,
    xLabel: 'seconds',
    yLabel: 'acknowledged writes a second',
    values: rates,
    levels: [
      { value: middle, label: 'median' },
      { value: middle * SLOWEST_SHARE_MIN, label: 'a third of it' },
    ],
    spans,
    spanLabel: 'writers held back',
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const { durability } = values
  if (durability !== 'sync' && durability !== 'interval' && durability !== 'none') {
    throw new Error(`unknown durability ${durability}; known: sync, interval, none`)
  }
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  try {
    const machine = describeMachine(directory)
    const head = machineLines(machine, SEED)
    const callers = parseCount(values.callers)
    const seconds = await measure(
      {
        directory: join(directory, 'db'),
        memoryBudget: MEMORY_BUDGET,
        keyCount: parseCount(values.keys),
        valueSize: parseCount(values['value-size']),
        seed: SEED,
        callers,
        durability,
      },
      Math.max(1, Math.round(Number(values.minutes) * 60)),
    )
    const title = `Random writes, durability ${durability}, ${callers} callers`
    const path = join(REPOSITORY, 'bench', 'output', 'sustained.svg')
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, picture(seconds, title))
    print(`${head.join('\n')}\n\n${title}\n\n${textTable(summary(seconds))}`)
    print(`\nthe picture: ${relative(REPOSITORY, path)}`)
    const json = JSON.stringify({ machine, seed: SEED, options: values, seconds }, null, 2)
    if (values.json === '-') print(json)
    else if (values.json !== undefined) writeFileSync(values.json, `${json}\n`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
