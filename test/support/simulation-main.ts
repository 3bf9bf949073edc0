/**
 * `npm run test:sim`: simulates a cluster from one seed after another, several at a time.
 *
 *   npm run test:sim -- --seeds 1000                  so many seeds, the first one random
 *   npm run test:sim -- --seeds 1 --from 42 --trace   one that failed, again, line by line
 *
 * Prints a summary as JSON. Fails when a seed does.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { systemRandom } from '../../src/random.ts'
import { ProgressLine } from './progress-line.ts'
import { countValue, printLine } from './seed-run.ts'
import { find, PLANTED, withoutBug } from './simulation/planted-bugs.ts'
import { type SimulationResult, simulate } from './simulation/simulation.ts'
import { unrepaired } from './simulation/without-repair.ts'

const HELP = `npm run test:sim -- [options]

  --seeds <count>    so many seeds (default 100)
  --from <number>    the first of them (default random)
  --nodes <count>    nodes of the cluster (default drawn from the seed: 3 in 72 of 100, else 1 to 5)
  --seconds <count>  simulated seconds with faults (default 60)
  --calls <percent>  of a hundred usual calls of clients, so many (default 100)
  --processes <n>    so many at a time (default one a processor)
  --leaps            all is suspended for hours now and then (default in one of five seeds)
  --without-repair   no anti-entropy, purge, read repair, joins: each owner of a key must hold what
                     was acknowledged, or something later; in the rest the owners may differ
  --trace            prints what happens, line by line; one process
  --controls         no seeds: each planted bug is found, and its seed breaks nothing without it

Simulated are clocks (wrong, drifting, set), the network (latency, loss, slow, cut one way or both,
reset, hanging), disks (slow, stalling, full, cut off by a power loss), programs (kill -9, power
loss at any moment or within a file call, pause, stop, restart elsewhere), the forming of the
cluster (amid faults and writes, too), and clients (all calls, consistencies, sessions, with and
without routes); see simulation/simulation.ts.
`
/** After so many failures more of them tell nothing new. */
const FAILURES_MAX = 5
/**
 * Most functions of a node run a few times a second here: code that is compiled at once, if not as
 * well, and a young generation that holds all that a seed needs for a while, save a quarter.
 */
const WORKER_FLAGS = ['--always-sparkplug', '--max-semi-space-size=32']

interface Settings {
  readonly from: number
  readonly seeds: number
  readonly nodes: number | undefined
  readonly seconds: number | undefined
  readonly callPercent: number | undefined
  /** Undefined: the seed says. */
  readonly leaps: boolean | undefined
  readonly mayDiffer: boolean
}

interface Given {
  readonly settings: Settings
  readonly processes: number
  readonly trace: boolean
  readonly controls: boolean
}

function read(): Given | undefined {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      from: { type: 'string' },
      nodes: { type: 'string' },
      seconds: { type: 'string' },
      calls: { type: 'string' },
      processes: { type: 'string' },
      leaps: { type: 'boolean' },
      'without-repair': { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      controls: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const number = (text: string | undefined, name: string) =>
    text === undefined ? undefined : countValue(text, name)
  return {
    settings: {
      from: number(values.from, 'from') ?? systemRandom().below(2 ** 31),
      seeds: countValue(values.seeds, 'seeds'),
      nodes: number(values.nodes, 'nodes'),
      seconds: number(values.seconds, 'seconds'),
      callPercent: number(values.calls, 'calls'),
      leaps: values.leaps,
      mayDiffer: values['without-repair'],
    },
    processes: number(values.processes, 'processes') ?? availableParallelism(),
    trace: values.trace,
    controls: values.controls,
  }
}

/** What many seeds came to. */
class Totals {
  readonly #line = new ProgressLine()
  readonly #startMs = performance.now()
  readonly #settings: Settings
  readonly #sums: Record<string, Record<string, number>> = {
    traits: {},
    calls: {},
    errors: {},
    faults: {},
  }
  readonly failed: number[] = []
  #done = 0
  #events = 0
  #simulatedMs = 0
  #slowestMs = 0

  constructor(settings: Settings) {
    this.#settings = settings
  }

  add(result: SimulationResult): void {
    this.#done++
    this.#events += result.events
    this.#simulatedMs += result.simulatedMs
    this.#slowestMs = Math.max(this.#slowestMs, result.convergedMs ?? 0)
    for (const trait of result.traits) this.#count('traits', trait, 1)
    for (const kind of ['calls', 'errors', 'faults'] as const) {
      for (const [name, count] of Object.entries(result[kind])) {
        this.#count(kind, name, count)
      }
    }
    if (result.violations.length > 0) this.#report(result)
    const { seeds } = this.#settings
    const { length } = this.failed
    this.#line.show(() => `${this.#done} of ${seeds} seeds, ${length} failed, ${this.#rate()}`)
  }

  #count(kind: string, name: string, by: number): void {
    const sums = this.#sums[kind]!
    sums[name] = (sums[name] ?? 0) + by
  }

  #report({ seed, nodes, violations, tail }: SimulationResult): void {
    const { seconds, callPercent, leaps, mayDiffer } = this.#settings
    this.failed.push(seed)
    this.#line.clear()
    const more = [
      seconds === undefined ? '' : ` --seconds ${seconds}`,
      callPercent === undefined ? '' : ` --calls ${callPercent}`,
      leaps ? ' --leaps' : '',
      mayDiffer ? ' --without-repair' : '',
    ].join('')
    printLine(`\nFAILED seed ${seed}: ${violations.join('\n  ')}`)
    printLine(`the end of its trace:\n  ${tail.join('\n  ')}`)
    printLine(`again: npm run test:sim -- --seeds 1 --from ${seed} --nodes ${nodes}${more} --trace`)
  }

  #rate(): string {
    const minutes = (performance.now() - this.#startMs) / 60_000
    return `${Math.round(this.#done / minutes)} a minute`
  }

  print(): void {
    this.#line.clear()
    const summary = {
      from: this.#settings.from,
      seeds: this.#done,
      failed: this.failed,
      minutes: Number(((performance.now() - this.#startMs) / 60_000).toFixed(1)),
      seedsPerMinute: Math.round((this.#done * 60_000) / (performance.now() - this.#startMs)),
      simulatedHours: Number((this.#simulatedMs / 3_600_000).toFixed(2)),
      events: this.#events,
      slowestConvergenceMs: Math.round(this.#slowestMs),
      ...this.#sums,
    }
    printLine(JSON.stringify(summary, undefined, 2))
  }
}

/** Keeps a process busy until no seed is left. Resolves then; rejects when it dies. */
function work(next: () => number | undefined, settings: Settings, totals: Totals): Promise<void> {
  const file = new URL('../support/simulation-worker.ts', import.meta.url)
  const worker: ChildProcess = fork(file, { execArgv: [...process.execArgv, ...WORKER_FLAGS] })
  return new Promise((resolve, reject) => {
    let seed: number | undefined
    const feed = () => {
      seed = next()
      if (seed === undefined) worker.disconnect()
      else
        worker.send({
          seed,
          nodes: settings.nodes,
          seconds: settings.seconds,
          callPercent: settings.callPercent,
          leaps: settings.leaps,
          mayDiffer: settings.mayDiffer,
        })
    }
    worker.on('message', message => {
      totals.add(message as SimulationResult)
      feed()
    })
    worker.on('exit', code => {
      if (seed === undefined) resolve()
      else reject(new Error(`the process that simulated seed ${seed} ended with code ${code}`))
    })
    feed()
  })
}

/** That it is the bug that breaks the promise, and not the world. */
async function runControls(): Promise<void> {
  for (const planted of PLANTED) {
    const { seed } = await find(planted)
    const broken = seed === undefined ? ['nothing was found'] : await withoutBug(planted, seed)
    printLine(`${broken.length === 0 ? 'ok' : 'FAILED'} seed ${seed}: ${planted.what}`)
    for (const violation of broken) printLine(`  ${violation}`)
    if (broken.length > 0) process.exitCode = 1
  }
}

async function main(): Promise<void> {
  const given = read()
  if (given === undefined) {
    printLine(HELP)
    return
  }
  const { settings, processes, trace, controls } = given
  if (controls) return runControls()
  const { from, seeds, nodes, seconds, callPercent, leaps, mayDiffer } = settings
  printLine(`from seed ${from} on, node ${process.version}`)
  const totals = new Totals(settings)
  let seed = from
  const next = () => {
    const isOver = seed >= from + seeds || totals.failed.length >= FAILURES_MAX
    return isOver ? undefined : seed++
  }
  if (trace) {
    for (let one = next(); one !== undefined; one = next()) {
      const options = { seed: one, nodes, seconds, callPercent, leaps, print: printLine }
      totals.add(await simulate(mayDiffer ? unrepaired(options) : options))
    }
  } else {
    const count = Math.min(processes, seeds)
    await Promise.all(Array.from({ length: count }, () => work(next, settings, totals)))
  }
  totals.print()
  if (totals.failed.length > 0) process.exitCode = 1
}

await main()
