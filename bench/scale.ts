/**
 * `npm run bench:scale`: one store with many records, from load to compaction, and what it costs
 * the process that holds it: memory and the delay of its event loop in every phase, the time to
 * open after a crash.
 */
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Child } from './child.ts'
import { readRecords } from './import/records.ts'
import type { PhaseResult, ScaleArgument, SpaceResult } from './long/scale-process.ts'
import { describeMachine, machineLines } from './machine.ts'
import { formatCount, formatDigits, note, parseCount, print, textTable } from './report.ts'
import { SEED, VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:scale -- [options]

  --keys <count>       random keys of 16 bytes (default 10m)
  --value-size <bytes> default ${VALUE_SIZE}
  --file <path>        records to load instead: .jsonl of {"key", "value"}, or one .json object
  --dir <directory>    where the database goes (default: the system's temporary directory)
  --json <file>        also writes the result as JSON; - for standard output
`

const OPTIONS = {
  keys: { type: 'string', default: '10m' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  file: { type: 'string' },
  dir: { type: 'string' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const MIB = 1024 * 1024
const MEMORY_BUDGET = 256 * MIB
const MEMORY_MIB_MAX = MEMORY_BUDGET / MIB + 120
const DELAY_P99_MS_MAX = 5
const OPEN_MS_MAX = 1500
const SPACE_MAX = 1.15
const LINES_PER_WRITE = 10_000

interface Phase {
  readonly name: string
  /** What one of `count` is, or undefined when the whole is one. */
  readonly unit: string | undefined
  readonly result: PhaseResult
}

/** The store reads JSON lines one at a time: a whole JSON object would count as its memory. */
function toLines(path: string, target: string): number {
  const fd = openSync(target, 'w')
  let lines = ''
  let count = 0
  for (const record of readRecords(path)) {
    lines += `${JSON.stringify(record)}\n`
    if (++count % LINES_PER_WRITE !== 0) continue
    writeSync(fd, lines)
    lines = ''
  }
  writeSync(fd, lines)
  return count
}

class ScaleRun {
  readonly phases: Phase[] = []
  readonly #argument: ScaleArgument
  #child = new Child('long/scale-process')

  constructor(argument: ScaleArgument) {
    this.#argument = argument
  }

  /** Loads, crashes, reads, scans, deletes half, compacts. Returns the space before and after. */
  async run(): Promise<{ readonly loaded: SpaceResult; readonly compacted: SpaceResult }> {
    try {
      await this.#child.call('open', this.#argument)
      await this.#phase('load', 'record', 'load')
      await this.#child.kill()
      this.#child = new Child('long/scale-process')
      await this.#phase('open after kill -9', undefined, 'open', this.#argument)
      await this.#phase('settle', undefined, 'settle')
      await this.#phase('random get, checked', 'read', 'read')
      await this.#phase('the same again, warm', 'read', 'read')
      await this.#phase('scan in order', 'record', 'scan')
      const loaded = await this.#child.call<SpaceResult>('space')
      await this.#phase('delete half', 'delete', 'deleteHalf')
      await this.#phase('compact', undefined, 'compact')
      await this.#phase('scan what is left', 'record', 'scan')
      const compacted = await this.#child.call<SpaceResult>('space')
      await this.#child.call('close')
      return { loaded, compacted }
    } finally {
      await this.#child.kill()
    }
  }

  async #phase(name: string, unit: string | undefined, command: string, argument?: unknown) {
    const result = await this.#child.call<PhaseResult>(command, argument)
    note(`${name}: ${(result.elapsedMs / 1000).toFixed(1)} s`)
    this.phases.push({ name, unit, result })
  }
}

function phaseTable(phases: readonly Phase[]): string[][] {
  const rows = phases.map(({ name, unit, result }) => [
    name,
    `${formatDigits(result.elapsedMs / 1000)} s`,
    unit === undefined ? '' : `${formatCount((result.count / result.elapsedMs) * 1000)} ${unit}s/s`,
    `${result.residentMiB.toFixed(0)} MiB`,
    `${formatDigits(result.delayP99Ms)} ms`,
    `${formatDigits(result.delayMaxMs)} ms`,
  ])
  return [['Phase', 'Took', 'Rate', 'Memory, peak', 'Loop delay p99', 'max'], ...rows]
}

function verdictTable(
  phases: readonly Phase[],
  space: { readonly loaded: SpaceResult; readonly compacted: SpaceResult },
): string[][] {
  const row = (name: string, value: number, max: number, unit: string) => [
    name,
    `${formatDigits(value)}${unit}`,
    `at most ${max}${unit}`,
    value <= max ? 'met' : 'NOT MET',
  ]
  const most = (of: (result: PhaseResult) => number) =>
    Math.max(...phases.map(({ result }) => of(result)))
  const opening = phases.find(({ name }) => name.startsWith('open'))?.result.elapsedMs ?? 0
  const ratio = ({ diskBytes, liveBytes }: SpaceResult) => diskBytes / liveBytes
  return [
    ['Figure', 'Measured', 'Target', 'Result'],
    row(
      'memory, all phases',
      most(result => result.residentMiB),
      MEMORY_MIB_MAX,
      ' MiB',
    ),
    row(
      'event loop delay p99, worst phase',
      most(r => r.delayP99Ms),
      DELAY_P99_MS_MAX,
      ' ms',
    ),
    row('open after kill -9', opening, OPEN_MS_MAX, ' ms'),
    row('space, loaded and settled', ratio(space.loaded), SPACE_MAX, 'x'),
    row('space, half deleted and compacted', ratio(space.compacted), SPACE_MAX, 'x'),
  ]
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  try {
    const machine = describeMachine(directory)
    const file = values.file === undefined ? undefined : join(directory, 'records.jsonl')
    const keyCount =
      file === undefined ? parseCount(values.keys) : toLines(resolve(values.file ?? ''), file)
    const run = new ScaleRun({
      directory: join(directory, 'db'),
      memoryBudget: MEMORY_BUDGET,
      keyCount,
      valueSize: parseCount(values['value-size']),
      seed: SEED,
      file,
    })
    const space = await run.run()
    const head = machineLines(machine, SEED)
    head.push(`records  ${keyCount}, memoryBudget ${MEMORY_BUDGET / MIB} MiB`)
    const tables = [phaseTable(run.phases), verdictTable(run.phases, space)].map(textTable)
    print(`${head.join('\n')}\n\n${tables.join('\n\n')}`)
    const result = { machine, seed: SEED, options: values, keyCount, phases: run.phases, space }
    const json = JSON.stringify(result, null, 2)
    if (values.json === '-') print(json)
    else if (values.json !== undefined) writeFileSync(values.json, `${json}\n`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
