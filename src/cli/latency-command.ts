/**
 * latency: how long one round trip takes, from here, when nothing else is asked: one probe after
 * the other. What many callers at once get is what `bench` measures.
 */
import { utf8Encode } from '../bytes.ts'
import { KvError } from '../errors.ts'
import { pause } from './abortable.ts'
import { type Command, type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { LiveBlock } from './live-block.ts'
import { countOption, durationOption, oneOf, textOption } from './option-values.ts'
import { WRITE_OPTIONS, writeOptions } from './point-commands.ts'
import type { RemoteStore } from './remote-store.ts'
import { describeError, formatDuration } from './render.ts'
import { RoundTrips, renderRoundTrips } from './round-trips.ts'

const OPERATIONS = ['ping', 'get', 'put'] as const
type Operation = (typeof OPERATIONS)[number]

const PREFIX_STANDARD = 'kvcli-latency:'
/** So many keys are asked in turn: of a cluster they are on different nodes. */
const KEY_COUNT = 64
const INTERVAL_STANDARD_MS = 100
const COUNT_STANDARD = 100
const VALUE_SIZE = 100
/** Somebody looks: often enough to seem alive. */
const DRAW_MS = 200

export const latencyCommand: Command = {
  name: 'latency',
  summary: 'measure round trips, one after the other',
  details:
    'A probe that takes longer than the interval puts the next ones off, so a server that ' +
    'hangs counts once. Gets and puts take turns over 64 keys, which begin with the prefix; ' +
    'those of puts are removed at the end, so let none of yours begin with it. Ctrl-C ends it, ' +
    'with the result. Ends with exit code 1 when a probe failed.',
  args: [],
  options: [
    {
      flags: '-o, --operation <name>',
      description: 'ping: the network and the server; get: a read as well; put: a write, durable',
      standard: 'ping',
      choices: OPERATIONS,
    },
    { flags: '-i, --interval <duration>', description: 'between two probes', standard: '100ms' },
    {
      flags: '-n, --count <count>',
      description: 'how many probes',
      standard: `until Ctrl-C on a terminal, else ${COUNT_STANDARD}`,
    },
    {
      flags: '-p, --prefix <text>',
      description: 'of the keys of gets and puts',
      standard: PREFIX_STANDARD,
    },
    ...WRITE_OPTIONS,
  ],
  examples: [
    { line: 'kvcli latency', says: 'how far away is the server?' },
    { line: 'kvcli latency -o put', says: 'what does a durable write take?' },
    { line: 'kvcli latency -n 1000 -i 1ms --json', says: 'for programs' },
  ],
  run: runLatency,
}

interface LatencyPlan {
  readonly operation: Operation
  readonly intervalMs: number
  readonly countMax: number
  readonly prefix: string
}

function planLatency({ options, output }: CommandContext): LatencyPlan {
  const isEndless = output.isTerminal && !output.json
  const standard = isEndless ? Number.POSITIVE_INFINITY : COUNT_STANDARD
  return {
    operation: oneOf(options, 'operation', OPERATIONS) ?? 'ping',
    intervalMs: durationOption(options, 'interval') ?? INTERVAL_STANDARD_MS,
    countMax: countOption(options, 'count', { min: 1, max: 1_000_000_000 }) ?? standard,
    prefix: textOption(options, 'prefix') ?? PREFIX_STANDARD,
  }
}

async function runLatency(context: CommandContext): Promise<ExitCode> {
  const plan = planLatency(context)
  const { output, session } = context
  const store = await session.client(context.signal)
  const trips = new RoundTrips()
  const live = output.isTerminal && !output.json ? new LiveBlock(session.io.stdout) : undefined
  const probe = probeOf(context, plan, store)
  let lastError: unknown
  try {
    lastError = await measure(context, plan, trips, probe, live)
  } finally {
    if (plan.operation === 'put') await clear(context, store, plan)
  }
  const { operation, intervalMs } = plan
  const buckets = trips.buckets()
  const result = { url: session.url, operation, intervalMs, ...rounded(trips), buckets }
  const error = lastError === undefined ? {} : { lastError: describeError(lastError) }
  const text = linesOf(context, plan, trips)
  if (live === undefined) await output.print({ ...result, ...error }, () => text.join('\n'))
  else live.show(text)
  if (lastError !== undefined) output.note(`the last error: ${describeError(lastError).message}`)
  const { count, errors } = trips.summary()
  if (count + errors === 0) return ExitCode.interrupted
  return errors === 0 ? ExitCode.ok : ExitCode.failed
}

/** Resolves, with the last error of a probe, after the last one or at Ctrl-C. */
async function measure(
  context: CommandContext,
  plan: LatencyPlan,
  trips: RoundTrips,
  probe: (index: number) => Promise<unknown>,
  live: LiveBlock | undefined,
): Promise<unknown> {
  const { clock } = context.session.io
  const { signal } = context
  let lastError: unknown
  let drawnMs = Number.NEGATIVE_INFINITY
  for (let dueMs = clock.monotonicMs(); ; ) {
    const sentMs = clock.monotonicMs()
    try {
      await probe(trips.tries)
      trips.record(clock.monotonicMs() - sentMs)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      // The one that Ctrl-C took the answer from.
      if (signal.aborted) return lastError
      trips.fail()
      lastError = error
    }
    const nowMs = clock.monotonicMs()
    if (live !== undefined && nowMs - drawnMs >= DRAW_MS) {
      live.show(linesOf(context, plan, trips))
      drawnMs = nowMs
    }
    if (trips.tries >= plan.countMax) return lastError
    dueMs = Math.max(dueMs + plan.intervalMs, nowMs)
    await pause(clock, dueMs - nowMs, signal)
    if (signal.aborted) return lastError
  }
}

function linesOf({ output, session }: CommandContext, plan: LatencyPlan, trips: RoundTrips) {
  const { operation, intervalMs } = plan
  const title = `${operation} to ${session.url}, one every ${formatDuration(intervalMs)}`
  return [output.style.bold(title), ...renderRoundTrips(trips, output.width - 1, output.style)]
}

/** What a probe asks; `index` counts them. */
function probeOf(
  context: CommandContext,
  plan: LatencyPlan,
  store: RemoteStore,
): (index: number) => Promise<unknown> {
  const call = callOptions(context)
  const write = writeOptions(context)
  const { durability: _, ...read } = write
  const value = context.session.io.random.bytes(VALUE_SIZE)
  const keyAt = (index: number): Uint8Array => keyOf(plan, index % KEY_COUNT)
  switch (plan.operation) {
    case 'ping':
      return () => store.ping(call)
    case 'get':
      return index => store.get(keyAt(index), read)
    case 'put':
      return index => store.put(keyAt(index), value, write)
  }
}

function keyOf({ prefix }: LatencyPlan, number: number): Uint8Array {
  return utf8Encode(`${prefix}${number}`)
}

/** Also after Ctrl-C. What was measured is told even when this fails. */
async function clear(
  { output }: CommandContext,
  store: RemoteStore,
  plan: LatencyPlan,
): Promise<void> {
  const keys = Array.from({ length: KEY_COUNT }, (_, number) => keyOf(plan, number))
  try {
    await store.batch(keys.map(key => ({ type: 'del', key })))
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    const why = describeError(error).message
    output.note(`the keys that begin with '${plan.prefix}' could not be removed: ${why}`)
  }
}

function rounded(trips: RoundTrips): Record<string, number> {
  const figures = Object.entries(trips.summary())
  return Object.fromEntries(figures.map(([name, value]) => [name, Number(value.toFixed(3))]))
}
