/** top: how a server and its cluster are doing, every second, until somebody has seen enough. */
import { InvalidArgumentError, KvError } from '../errors.ts'
import { orAborted, pause } from './abortable.ts'
import { type Command, type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { LiveBlock } from './live-block.ts'
import { countOption, durationOption } from './option-values.ts'
import type { RemoteStore } from './remote-store.ts'
import { describeError } from './render.ts'
import { type TopFigures, type TopSample, topFigures } from './top-figures.ts'
import { renderTop, renderTopLine } from './top-screen.ts'

const INTERVAL_STANDARD_MS = 1000

export const topCommand: Command = {
  name: 'top',
  summary: 'watch a server and its cluster: load, latencies, memory, compaction',
  details:
    'One screen, drawn anew, on a terminal; elsewhere a line each time. Rates are of the time ' +
    'since the last look, but for those of reads and writes, which are of the last full second ' +
    'on the server. What is said of other nodes is what the server was told: some seconds old. ' +
    'A server that does not answer is waited for. Ctrl-C ends it.',
  args: [],
  options: [
    { flags: '-i, --interval <duration>', description: 'between two looks', standard: '1s' },
    { flags: '-n, --count <count>', description: 'how many looks', standard: 'until Ctrl-C' },
  ],
  examples: [
    { line: 'kvcli top', says: 'what is going on?' },
    { line: 'kvcli top -n 1', says: 'one look, also for scripts' },
    { line: 'kvcli top -i 10s --json >> top.jsonl', says: 'for programs, a line each' },
  ],
  run: runTop,
}

async function runTop(context: CommandContext): Promise<ExitCode> {
  const { session, signal } = context
  // Figures of one node, look by look: those of a client that has several change between them.
  const client = await orAborted(session.connectToOne(), signal)
  try {
    return await watchServer(context, client)
  } finally {
    await client.close()
  }
}

async function watchServer(context: CommandContext, client: RemoteStore): Promise<ExitCode> {
  const { options, output, session, signal } = context
  const { clock, stdout } = session.io
  const intervalMs = durationOption(options, 'interval') ?? INTERVAL_STANDARD_MS
  const bounds = { min: 1, max: 1_000_000_000 }
  const countMax = countOption(options, 'count', bounds) ?? Number.POSITIVE_INFINITY
  const live = output.isTerminal && !output.json ? new LiveBlock(stdout) : undefined
  let before: TopSample | undefined
  let shown: TopFigures | undefined
  let why: string | undefined
  for (let count = 1, dueMs = clock.monotonicMs(); ; count++) {
    try {
      const sample = await takeSample(context, client)
      shown = topFigures(sample, before)
      before = sample
      why = undefined
    } catch (error) {
      // One that was never there is no server to watch.
      if (!(error instanceof KvError) || before === undefined || signal.aborted) throw error
      why = describeError(error).message
    }
    if (live !== undefined) live.show(renderTop(shown!, why, session.url, output.style))
    else if (why === undefined) await output.print({ ...shown! }, () => renderTopLine(shown!))
    else output.note(`no answer: ${why}`)
    if (count >= countMax) break
    dueMs = Math.max(dueMs + intervalMs, clock.monotonicMs())
    await pause(clock, dueMs - clock.monotonicMs(), signal)
    if (signal.aborted) break
  }
  return why === undefined ? ExitCode.ok : ExitCode.failed
}

async function takeSample(context: CommandContext, client: RemoteStore): Promise<TopSample> {
  const { session } = context
  const call = callOptions(context)
  const status = client.admin({ command: 'status' }, call).catch((error: unknown) => {
    // A server that knows no cluster, such as a proxy of an older one.
    if (error instanceof InvalidArgumentError) return undefined
    throw error
  })
  const [stats, cluster] = await Promise.all([client.stats(call), status])
  const { clock } = session.io
  return { monotonicMs: clock.monotonicMs(), atMs: Math.round(clock.wallMs()), stats, cluster }
}
