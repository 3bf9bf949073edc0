/**
 * `npm run bench:compare`: the embedded rows of the speed table, Duramen beside classic-level,
 * lmdb and the limits of the machine, in one run.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { REPOSITORY } from './built.ts'
import { Comparison, type ComparisonOptions, type ComparisonResult } from './comparison.ts'
import { comparisonTable, verdicts } from './comparison-table.ts'
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
import { ROWS, type RowId } from './rows.ts'
import { SUBJECT_NAMES, type SubjectName } from './subject.ts'
import { SEED, VALUE_SIZE } from './workloads.ts'

const HELP = `npm run bench:compare -- [options]

  --keys <count>       keys loaded first: 100k, 1m (default), 10m
  --value-size <bytes> default ${VALUE_SIZE}
  --rounds <count>     rounds a row, the median counts (default 5; --quick 3)
  --quick              fewer rounds and operations: a look, not a figure to quote
  --rows <ids>         only these, for example readrandom,fillsync-1000
  --subjects <names>   only these of ${SUBJECT_NAMES.join(', ')}
  --dir <directory>    where the databases go (default: the system's temporary directory)
  --json <file>        also writes every round as JSON; - for standard output
  --markdown           replaces the table between the markers in README.md
`

const OPTIONS = {
  keys: { type: 'string', default: '1m' },
  'value-size': { type: 'string', default: String(VALUE_SIZE) },
  rounds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  rows: { type: 'string' },
  subjects: { type: 'string' },
  dir: { type: 'string' },
  json: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

function chosen<Name extends string>(text: string | undefined, known: readonly Name[]): Name[] {
  if (text === undefined) return [...known]
  return text.split(',').map(part => {
    const name = known.find(candidate => candidate === part.trim())
    if (name === undefined) throw new Error(`unknown name ${part}; known: ${known.join(', ')}`)
    return name
  })
}

function availableSubjects(wanted: readonly SubjectName[]): SubjectName[] {
  const installed = installPeers()
  return wanted.filter(name => (name !== 'classic-level' && name !== 'lmdb') || installed.has(name))
}

function settingsLines(result: ComparisonResult): string[] {
  return Object.entries(result.settings).map(([name, settings]) => {
    const isPeer = name === 'classic-level' || name === 'lmdb'
    return `${isPeer ? peerVersion(name) : name}: ${settings}`
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return print(HELP)
  const directory = mkdtempSync(join(values.dir ?? tmpdir(), 'duramen-bench-'))
  try {
    const options: ComparisonOptions = {
      directory,
      subjects: availableSubjects(chosen(values.subjects, SUBJECT_NAMES)),
      rows: chosen<RowId>(
        values.rows,
        ROWS.map(row => row.id),
      ),
      keyCount: parseCount(values.keys),
      valueSize: parseCount(values['value-size']),
      rounds: parseCount(values.rounds ?? (values.quick ? '3' : '5')),
      recoveryRounds: 3,
      operations: values.quick ? 50_000 : 200_000,
      durationMs: values.quick ? 700 : 2000,
    }
    const machine = describeMachine(directory)
    const head = machineLines(machine, SEED)
    for (const line of head) note(line)
    const result = await new Comparison(options).run()
    const table = comparisonTable(result)
    print(`${head.join('\n')}\nkeys     ${options.keyCount}, values of ${options.valueSize} B`)
    print(`\n${textTable(table)}\n\n${settingsLines(result).join('\n')}`)
    if (values.json !== undefined) {
      const findings = result.rows.flatMap(verdicts)
      const json = JSON.stringify({ machine, seed: SEED, options, ...result, findings }, null, 2)
      if (values.json === '-') print(json)
      else writeFileSync(values.json, `${json}\n`)
    }
    if (values.markdown) {
      const path = join(REPOSITORY, 'README.md')
      const text = [markdownTable(table), '', '```text', ...head, '```'].join('\n')
      writeFileSync(path, replaceBetweenMarkers(readFileSync(path, 'utf8'), 'bench', text))
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

await main()
