/**
 * The long runs that try one seed after another: their arguments, their progress, what they print
 * of a seed that failed, and their exit code.
 */
import { durationValue } from '../../src/cli/setting-values.ts'
import { systemRandom } from '../../src/random.ts'
import { ProgressLine } from './progress-line.ts'

/** For parseArgs. */
export const seedRunOptions = {
  seeds: { type: 'string' },
  seed: { type: 'string' },
  duration: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

export interface SeedRunValues {
  readonly seeds?: string | undefined
  readonly seed?: string | undefined
  readonly duration?: string | undefined
}

const SEEDS = 100
/** After so many failures more of them tell nothing new. */
const FAILURES_MAX = 10

export function seedRunHelp(script: string): string {
  return `npm run ${script} -- [options]

  --seeds <count>      so many seeds, one after another (default ${SEEDS})
  --seed <number>      the first of them (default random)
  --duration <time>    for so long instead, such as 10m
`
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function countValue(text: string, name: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`--${name} takes a number, got '${text}'`)
}

function durationMs(text: string): number {
  const kind = durationValue(1, 7 * 86_400_000)
  const value = kind.parse(text)
  if (value === undefined) throw new Error(`'${text}' is not ${kind.expected}`)
  return value
}

/** Calls `run` with each seed; what it throws is printed, counted, and sets the exit code. */
export async function seedRun(
  values: SeedRunValues,
  run: (seed: number) => Promise<void>,
): Promise<void> {
  const first =
    values.seed === undefined ? systemRandom().below(2 ** 31) : countValue(values.seed, 'seed')
  const endMs =
    values.duration === undefined ? Number.POSITIVE_INFINITY : durationMs(values.duration)
  const countDefault = values.duration === undefined ? SEEDS : Number.POSITIVE_INFINITY
  const count = values.seeds === undefined ? countDefault : countValue(values.seeds, 'seeds')
  const line = new ProgressLine()
  const startMs = performance.now()
  const elapsedMs = () => performance.now() - startMs
  printLine(`from seed ${first} on, node ${process.version}`)
  let [done, failures] = [0, 0]
  for (; done < count && elapsedMs() < endMs && failures < FAILURES_MAX; done++) {
    const seed = first + done
    line.show(() => `seed ${seed}: ${done} done, ${failures} failed`)
    try {
      await run(seed)
    } catch (error) {
      failures++
      line.clear()
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      printLine(`FAILED, replay with --seed ${seed} --seeds 1: ${text}`)
    }
  }
  line.clear()
  printLine(`${done} seeds, ${failures} failed, ${Math.round(elapsedMs() / 1000)} s`)
  if (failures > 0) process.exitCode = 1
}
