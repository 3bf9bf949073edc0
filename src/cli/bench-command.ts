/** bench: how quick is this server, from here? */
import { utf8Encode } from '../bytes.ts'
import type { Command, CommandContext } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { generateLoad, type LoadResult } from './load-generator.ts'
import { countOption, durationOption, flagOption, oneOf } from './option-values.ts'
import { WRITE_OPTIONS, writeOptions } from './point-commands.ts'
import type { RemoteStore } from './remote-store.ts'
import { describeError, formatCount, formatDuration, renderTable } from './render.ts'

const KEY_PREFIX = 'kvcli-bench:'
const CALLERS_STANDARD = 64
const DURATION_STANDARD_MS = 5000
const VALUE_SIZE_STANDARD = 100
const KEYS_STANDARD = 10_000
/** Keys stored or removed by one message around the measurement: so many, and so many bytes. */
const BATCH_COUNT = 500
const BATCH_BYTES = 1024 * 1024

const WORKLOADS = ['put', 'get', 'mixed', 'all'] as const
type Workload = (typeof WORKLOADS)[number]

export const benchCommand: Command = {
  name: 'bench',
  summary: 'measure puts and gets under load',
  details:
    'Callers that each wait for an answer before they ask again: a closed loop. Keys are ' +
    `'${KEY_PREFIX}<number>', chosen at random; they are removed afterwards.`,
  args: [],
  options: [
    {
      flags: '-w, --workload <name>',
      description: 'put, get, mixed, or all',
      standard: 'all',
      choices: WORKLOADS,
    },
    {
      flags: '-c, --concurrency <count>',
      description: 'callers at once, over one connection',
      standard: String(CALLERS_STANDARD),
    },
    { flags: '-d, --duration <duration>', description: 'of each workload', standard: '5s' },
    {
      flags: '-s, --value-size <bytes>',
      description: 'of each value',
      standard: String(VALUE_SIZE_STANDARD),
    },
    {
      flags: '-k, --keys <count>',
      description: 'how many different keys',
      standard: String(KEYS_STANDARD),
    },
    { flags: '--keep', description: 'leave the keys there' },
    ...WRITE_OPTIONS,
  ],
  examples: [
    { line: 'kvcli bench', says: 'puts, gets, then half of each' },
    { line: 'kvcli bench -w put -c 1', says: 'one durable put after the other' },
    { line: 'kvcli bench -c 1000 -s 1024 -d 20s --json', says: 'for programs' },
  ],
  run: runBench,
}

interface BenchPlan {
  readonly workloads: readonly Exclude<Workload, 'all'>[]
  readonly callers: number
  readonly durationMs: number
  readonly valueSize: number
  readonly keyCount: number
}

function planBench({ options }: CommandContext): BenchPlan {
  const workload = oneOf(options, 'workload', WORKLOADS) ?? 'all'
  return {
    workloads: workload === 'all' ? ['put', 'get', 'mixed'] : [workload],
    callers: countOption(options, 'concurrency', { min: 1, max: 100_000 }) ?? CALLERS_STANDARD,
    durationMs: durationOption(options, 'duration') ?? DURATION_STANDARD_MS,
    valueSize: countOption(options, 'valueSize', { min: 0, max: 8_000_000 }) ?? VALUE_SIZE_STANDARD,
    keyCount: countOption(options, 'keys', { min: 1, max: 100_000_000 }) ?? KEYS_STANDARD,
  }
}

async function runBench(context: CommandContext): Promise<ExitCode> {
  const plan = planBench(context)
  const { output, session, signal } = context
  const keep = flagOption(context.options, 'keep')
  const write = writeOptions(context)
  const store = await session.client(signal)
  const value = session.io.random.bytes(plan.valueSize)
  let results: readonly WorkloadResult[]
  try {
    results = await runWorkloads(context, plan, store, value)
  } catch (error) {
    // Why it failed counts for more than that its keys could not be removed either.
    if (!keep) await clear(store, plan).catch(ignore)
    throw error
  }
  if (!keep) await clear(store, plan)
  const json = results.map(([workload, result]) => [workload, toJson(result)] as const)
  const setting = { concurrency: plan.callers, valueSize: plan.valueSize, keys: plan.keyCount }
  const durability = write.durability ?? 'server default'
  await output.print({ ...setting, durability, workloads: Object.fromEntries(json) }, () =>
    renderTable(COLUMNS, results.map(toRow), output.style).trimEnd(),
  )
  for (const [workload, { errors, firstError }] of results) {
    if (errors > 0) output.note(`${workload}: ${describeError(firstError).message}`)
  }
  if (signal.aborted) return ExitCode.interrupted
  return results.every(([, { errors }]) => errors === 0) ? ExitCode.ok : ExitCode.failed
}

type WorkloadResult = readonly [workload: string, result: LoadResult]

function ignore(): void {}

async function runWorkloads(
  context: CommandContext,
  plan: BenchPlan,
  store: RemoteStore,
  value: Uint8Array,
): Promise<WorkloadResult[]> {
  const { output, signal } = context
  const results: WorkloadResult[] = []
  // What is read must be there.
  if (!plan.workloads.includes('put')) await fill(store, plan, value, signal)
  for (const workload of plan.workloads) {
    if (signal.aborted) break
    output.note(output.noteStyle.dim(`${workload}: ${formatDuration(plan.durationMs)} …`))
    results.push([workload, await run(context, plan, workload, store, value)])
  }
  return results
}

async function run(
  context: CommandContext,
  plan: BenchPlan,
  workload: Exclude<Workload, 'all'>,
  store: RemoteStore,
  value: Uint8Array,
): Promise<LoadResult> {
  const { random, clock } = context.session.io
  const { signal: _, ...write } = writeOptions(context)
  const put = (): Promise<unknown> => store.put(keyOf(random.below(plan.keyCount)), value, write)
  const get = (): Promise<unknown> => store.get(keyOf(random.below(plan.keyCount)))
  const mixed = (): Promise<unknown> => (random.next() < 0.5 ? put() : get())
  const request = { put, get, mixed }[workload]
  const { callers, durationMs } = plan
  return await generateLoad({ callers, durationMs, clock, signal: context.signal, request })
}

function keyOf(index: number): Uint8Array {
  return utf8Encode(KEY_PREFIX + String(index).padStart(8, '0'))
}

async function fill(
  store: RemoteStore,
  plan: BenchPlan,
  value: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const fitting = Math.floor(BATCH_BYTES / (keyOf(0).length + value.length))
  const batchCount = Math.max(1, Math.min(BATCH_COUNT, fitting))
  for (let from = 0; from < plan.keyCount && !signal.aborted; from += batchCount) {
    const count = Math.min(batchCount, plan.keyCount - from)
    const keys = Array.from({ length: count }, (_, index) => keyOf(from + index))
    await store.batch(keys.map(key => ({ type: 'put', key, value })))
  }
}

async function clear(store: RemoteStore, plan: BenchPlan): Promise<void> {
  const keys = store.keys({ gte: keyOf(0), lte: keyOf(plan.keyCount - 1) })
  for (;;) {
    const page = await keys.nextBatch(BATCH_COUNT)
    if (page.length === 0) return
    await store.batch(page.map(key => ({ type: 'del', key })))
  }
}

const COLUMNS = [
  { title: 'workload' },
  { title: 'requests', align: 'right' },
  { title: 'errors', align: 'right' },
  { title: 'per second', align: 'right' },
  { title: 'mean', align: 'right' },
  { title: 'p50', align: 'right' },
  { title: 'p95', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'p99.9', align: 'right' },
  { title: 'max', align: 'right' },
] as const

const TIMES = ['meanMs', 'p50Ms', 'p95Ms', 'p99Ms', 'p999Ms', 'maxMs'] as const

function toRow([workload, result]: WorkloadResult): string[] {
  const counts = [result.requests, result.errors, result.perSecond].map(formatCount)
  return [workload, ...counts, ...TIMES.map(name => formatDuration(result[name]))]
}

function toJson({ firstError, ...result }: LoadResult): Record<string, unknown> {
  const rounded = Object.entries(result).map(([name, value]) => [name, Number(value.toFixed(3))])
  const error = firstError === undefined ? {} : { firstError: describeError(firstError) }
  return { ...Object.fromEntries(rounded), ...error }
}
