/**
 * `npm run test:errors`: an error at every call of the file system, of every kind, once and for
 * ever, in a scripted life of a database (test/support/error-sweep.ts).
 *
 *   npm run test:errors                              all cases of one seed
 *   npm run test:errors -- --seed 7 --case EIO:120   one of them again
 *
 * Fails when a promise is broken, and says how to replay it; goes on to the others all the same.
 */
import { parseArgs } from 'node:util'
import {
  describeCase,
  ERROR_FAULTS,
  type ErrorCase,
  parseCase,
  planErrors,
  runErrorCase,
} from './error-sweep.ts'
import { ProgressLine } from './progress-line.ts'

const HELP = `npm run test:errors -- [options]

  --seed <number>    of the life and of what a power loss leaves (default 1)
  --seeds <count>    so many seeds from there on (default 1)
  --fault <name>     only this one: ${ERROR_FAULTS.join(', ')}
  --case <case>      only this one, as a failure names it, such as EIO:120 or EIO:120:forever
`

const FAILURES_MAX = 20

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function count(text: string, name: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`--${name} takes a number, got '${text}'`)
}

/** Returns the failures. */
async function sweep(seed: number, chosen: readonly ErrorCase[]): Promise<string[]> {
  const line = new ProgressLine()
  const failures: string[] = []
  const errors = new Map<string, number>()
  let [done, injected, poisonings] = [0, 0, 0]
  for (const errorCase of chosen) {
    line.show(
      () => `seed ${seed}: ${done} of ${chosen.length} cases, at ${describeCase(errorCase)}`,
    )
    try {
      const result = await runErrorCase(errorCase, { seed })
      injected += result.injected
      poisonings += result.poisonings
      for (const [code, times] of result.errors) errors.set(code, (errors.get(code) ?? 0) + times)
    } catch (error) {
      line.clear()
      failures.push(String(error))
      print(`${String(error)}\n  replay: --seed ${seed} --case ${describeCase(errorCase)}`)
    }
    done++
    if (failures.length >= FAILURES_MAX) break
  }
  line.clear()
  const codes = [...errors].map(([code, times]) => `${times} ${code}`).join(', ')
  print(
    `seed ${seed}: ${done} cases, ${injected} errors injected, ${poisonings} poisonings, ` +
      `calls failed with ${codes || 'nothing'}; ${failures.length} broken promises`,
  )
  return failures
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      fault: { type: 'string' },
      case: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return print(HELP)
  const first = count(values.seed, 'seed')
  const startMs = performance.now()
  let failures = 0
  for (let seed = first; seed < first + count(values.seeds, 'seeds'); seed++) {
    const cases = values.case === undefined ? await planErrors({ seed }) : [parseCase(values.case)]
    const chosen = cases.filter(({ fault }) => values.fault === undefined || fault === values.fault)
    failures += (await sweep(seed, chosen)).length
  }
  print(`${Math.round((performance.now() - startMs) / 1000)} s`)
  if (failures > 0) process.exitCode = 1
}

await main()
